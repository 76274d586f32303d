"""The answer for a name that no project serves: those that are, as HTML, JSON and plain text. Pure.

It is given to who asks for localhost, a name below it, 127.0.0.1 or [::1]. A stranger's name that was pointed at this
machine (DNS rebinding) gets a bare 421, or its pages could read what runs here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from devtls.model import authority_of
from devtls.system.templates import fill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from devtls.system.channel import Message

NAMES = ("localhost", "*.localhost", "127.0.0.1", "[::1]")  # who asks by one of these is at this machine
ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})  # html costs 0.6 MB
FACT = "no project serves this name"


def render_unknown(projects: Sequence[Message], port: int, templates: Path) -> dict[str, str]:
    """Return the page by the ending of its file.

    Args:
        projects: the facts of each registration.
        port: that https is served on.
        templates: the folder of templates.
    """
    # A folder's name that is no UTF-8, or came through a locale that is none, has surrogates, which no file can hold.
    projects = [{**each, "directory": _printable(each["directory"])} for each in projects]
    urls = [[f"https://{authority_of(host, port)}" for host in each["domains"]] for each in projects]
    return {
        "html": _render_html(projects, urls, templates),
        "json": json.dumps(_facts(projects, urls)) + "\n",
        "txt": "\n".join([f"devtls: {FACT}; these are served:", *(f"  {url}" for each in urls for url in each)]) + "\n",
    }


def _printable(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _facts(projects: Sequence[Message], urls: Sequence[Sequence[str]]) -> Message:
    known = [{"directory": each["directory"], "urls": list(own)} for each, own in zip(projects, urls, strict=True)]
    return {"schema": "devtls.unknown/1", "message": FACT, "projects": known}


def _render_html(projects: Sequence[Message], urls: Sequence[Sequence[str]], templates: Path) -> str:
    items = "\n".join(
        f"<li>{' · '.join(map(_link, own))}<span>{each['directory'].translate(ESCAPED)}</span>"
        for each, own in zip(projects, urls, strict=True)
    )
    return fill(templates, "pages/unknown.html", projects=items, example="love.test")


def _link(url: str) -> str:
    shown = url.removeprefix("https://").translate(ESCAPED)
    return shown if "*" in url else f'<a href="{url.translate(ESCAPED)}">{shown}</a>'
