"""Text as nginx reads it: one parameter, whatever is in it."""

from __future__ import annotations

import re

from devtls.errors import DevtlsError

UNSPEAKABLE = re.compile(r"[$\x00-\x1f\x7f]")  # nginx has no way to write a literal $ in a path
DOLLAR = "${devtls_dollar}"  # what stands for it where variables are read: a geo block of gateway.conf


def quote(text: str) -> str:
    """Return text as one quoted nginx parameter.

    Raises:
        DevtlsError: nginx cannot say it.
    """
    if UNSPEAKABLE.search(text):
        raise DevtlsError(
            f"nginx cannot read the path {text!r}: it has a $ or a control character",
            "Keep devtls elsewhere:",
            "  export XDG_DATA_HOME=/some/plain/path XDG_STATE_HOME=/some/plain/path",
        )
    return _quoted(text)


def quote_literal(text: str) -> str:
    """Return text as one parameter of a directive that reads variables, so that it comes out as it is.

    Raises:
        DevtlsError: it has a control character.
    """
    if UNSPEAKABLE.search(text.replace("$", "")):
        raise DevtlsError(f"nginx cannot say {text!r}: it has a control character", "Take that out.")
    return _quoted(text).replace("$", DOLLAR)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
