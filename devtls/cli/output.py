"""Where words go: standard output for what was asked for, standard error for errors."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from devtls import report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devtls.errors import DevtlsError
    from devtls.report import Style


def style_of(stream: TextIO) -> Style:
    """How lines look on this stream."""
    return report.style_for(os.environ, is_terminal=stream.isatty(), encoding=stream.encoding)


def is_interactive() -> bool:
    """Whether a person can be asked for a password."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def say(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Print lines in the characters that the stream has."""
    out = stream or sys.stdout
    style = style_of(out)
    for line in lines:
        out.write(style.spell(line) + "\n")
    out.flush()


def say_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Print one document."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def show_error(error: DevtlsError, *, as_json: bool) -> None:
    """Print a user's mistake, and its cure; for scripts as a document, too."""
    if as_json:
        say_json(report.error_facts(error))
    say(report.render_error(error, style_of(sys.stderr)), sys.stderr)
