"""The answer of a service that does not answer, as HTML, JSON or plain text: whatever was asked for. Pure.

It is a 503 with Retry-After, never a bare 502, and says by its header X-Devtls that it is not the app's. Log lines are
somebody else's text: they are escaped, and the page may load and run nothing but its own script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.system.templates import fill

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEADER = "X-Devtls"  # of every answer made here; the page asks for it until it is gone
RETRY_AFTER = 1  # s
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")  # CSI, OSC, and what is cut off
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


# What is said of a service in each state.
HEADLINES = {
    "starting": "is starting",
    "restarting": "is restarting",
    "crashed": "has crashed",
    "ended": "has ended",
    "stopped": "is stopped",
    "blocked": "cannot start",
    "unreachable": "does not answer",
}


class Down(Struct, frozen=True):
    """A service that cannot answer now.

    Attributes:
        service: its name, "web"; or where somebody else should listen, "127.0.0.1:8080".
        state: one of HEADLINES.
        fact: what happened, in a sentence without a full stop.
        cure: lines to do; one that begins with two spaces is to be typed.
        lines: the last that it printed, oldest first.
    """

    service: str
    state: str
    fact: str
    cure: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


class Request(Struct, frozen=True):
    """What was asked: the method, and the headers with their names in lower case."""

    method: str
    headers: Mapping[str, str]


def clean_line(line: bytes) -> str:
    """A line that a service printed, without what only a terminal understands."""
    return CONTROLS.sub("", ESCAPES.sub("", line.decode("utf-8", "replace"))).rstrip()


def render_down(down: Down, request: Request, templates: Path) -> bytes:
    """Return the whole HTTP answer."""
    accept = request.headers.get("accept", "")
    policy = "default-src 'none'"
    if "text/html" in accept:
        kind, body = "text/html; charset=utf-8", _render_html(down, templates)
        policy = _policy(body)
    elif "json" in accept:
        kind, body = "application/json", json.dumps(_facts(down)) + "\n"
    else:
        kind, body = "text/plain; charset=utf-8", _render_text(down)
    data = body.encode("utf-8", "replace")
    head = "\r\n".join(
        (
            "HTTP/1.0 503 Service Unavailable",
            f"Content-Type: {kind}",
            f"Content-Length: {len(data)}",
            f"Retry-After: {RETRY_AFTER}",
            "Cache-Control: no-store",
            f"{HEADER}: {down.state}",
            f"Content-Security-Policy: {policy}",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        )
    )
    return f"{head}\r\n\r\n".encode() + (b"" if request.method == "HEAD" else data)


def _policy(page: str) -> str:
    """The page's own script, which is its last, may run and ask the site; nothing else may run, load or be sent."""
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'"
    )


def _facts(down: Down) -> dict[str, object]:
    facts = {"service": down.service, "state": down.state, "message": down.fact}
    return {"schema": "devtls.down/1", **facts, "cure": list(down.cure), "last_lines": list(down.lines)}


def _render_text(down: Down) -> str:
    cure = [f"  {line}" for line in down.cure]
    lines = ["", f"The last lines of {down.service}:", *(f"  {line}" for line in down.lines)] if down.lines else []
    return "\n".join([f"devtls: {down.fact}", *cure, *lines]) + "\n"


def _render_html(down: Down, templates: Path) -> str:
    cure = "\n".join(
        f"<pre class=do>{html.escape(line.strip())}</pre>" if line.startswith("  ") else f"<p>{html.escape(line)}</p>"
        for line in down.cure
    )
    log = f"<pre class=log>{html.escape(chr(10).join(down.lines))}</pre>" if down.lines else ""
    return fill(
        templates,
        "pages/down.html",
        service=html.escape(down.service),
        headline=HEADLINES[down.state],
        fact=html.escape(down.fact),
        cure=cure,
        log=log,
    )
