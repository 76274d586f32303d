from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtls.pages.down import HEADLINES, Down, Request, clean_line, render_down
from devtls.system.templates import find_templates

TEMPLATES = find_templates({})
CRASHED = Down(
    "web", "crashed", "web exited with status 1", ("Mend it, then:", "  devtls restart web"), ("one", "two <b>")
)


def ask(down: Down, accept: str, method: str = "GET") -> tuple[dict[str, str], str]:
    """The headers of the answer, and its body."""
    head, body = render_down(down, Request(method, {"accept": accept}), TEMPLATES).decode().split("\r\n\r\n", 1)
    first, *lines = head.split("\r\n")
    assert first == "HTTP/1.0 503 Service Unavailable"
    return dict(line.split(": ", 1) for line in lines), body


def test_a_browser_gets_a_page_with_the_state_the_cure_and_the_last_lines() -> None:
    headers, body = ask(CRASHED, "text/html,application/xhtml+xml,*/*;q=0.8")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert (headers["Retry-After"], headers["Cache-Control"], headers["X-Devtls"]) == ("1", "no-store", "crashed")
    assert "<h1>web <span>has crashed</span></h1>" in body
    assert "web exited with status 1." in body
    assert "<pre class=do>devtls restart web</pre>" in body
    assert "<pre class=log>one\ntwo &lt;b&gt;</pre>" in body


def test_a_program_gets_json_and_curl_gets_text() -> None:
    headers, body = ask(CRASHED, "application/json")
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "schema": "devtls.down/1",
        "service": "web",
        "state": "crashed",
        "message": "web exited with status 1",
        "cure": ["Mend it, then:", "  devtls restart web"],
        "last_lines": ["one", "two <b>"],
    }
    _headers, body = ask(CRASHED, "*/*")
    assert body.splitlines()[:3] == ["devtls: web exited with status 1", "  Mend it, then:", "    devtls restart web"]
    assert ask(CRASHED, "text/html", "HEAD")[1] == ""


@given(text=st.text())
def test_whatever_a_service_printed_adds_no_markup(text: str) -> None:
    plain, dirty = (ask(Down("web", "crashed", "it ended", (), (line,)), "text/html")[1] for line in ("x", text))
    assert re.findall(r"<[a-z!/]+", dirty) == re.findall(r"<[a-z!/]+", plain)


def test_only_the_pages_own_script_may_run() -> None:
    headers, body = ask(CRASHED, "text/html")
    (script,) = re.findall(r"<script>(.*?)</script>", body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http" not in body.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"\x1b[31mred\x1b[0m end", "red end"),
        (b"\x1b]52;c;c2VjcmV0\x07copied", "copied"),
        (b"half\x1b[3", "half"),
        (b"bell\x07 \xff\r", "bell \ufffd"),
        ("été".encode(), "été"),
    ],
)
def test_a_line_is_shown_without_what_a_terminal_would_obey(line: bytes, text: str) -> None:
    assert clean_line(line) == text


@pytest.mark.parametrize("state", HEADLINES)
def test_every_state_has_a_page(state: str) -> None:
    assert f"<span>{HEADLINES[state]}</span>" in ask(Down("web", state, "so it is"), "text/html")[1]
