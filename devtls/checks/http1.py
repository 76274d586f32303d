"""HTTP/1.1 answers: read within bounds, whatever the server sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.checks.observation import SWITCHING, Fault, ProbeError, printable

if TYPE_CHECKING:
    from devtls.checks.wire import Stream

LONGEST_LINE = 65536  # bytes; nginx itself passes headers of up to its proxy_buffer_size
MOST_HEADERS = 500
MOST_BODY = 256 * 1024  # bytes; pages name their WebSocket early, error pages are short
BODYLESS = {204, 304}
# A reason is optional: RFC 9112 §4, and browsers take an answer without one.
STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9][0-9])(?: (.*))?")
BEGINNING = b"HTTP/1."
# Chromium 156 and Firefox 140 send these for a page; compression is left out so that a body can be read as it comes.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) devtls-check"


class Head(Struct, frozen=True):
    """The start of an answer; header names in lower case, values as Latin-1."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The first header of this (lower-case) name, or nothing."""
        return next((value for key, value in self.headers if key == name), "")


def render_get(path: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return the bytes of a GET request; whatever could split it is taken out."""
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "".join(re.sub(r"[\r\n\0]", "", line) + "\r\n" for line in [*lines, ""]).encode("latin-1", "replace")


def read_head(stream: Stream) -> Head:
    """Read the head of the final answer; interim ones (100, 103) are skipped.

    Raises:
        ProbeError: no answer in time, none at all, or something that is not HTTP/1.
    """
    try:
        head = _read_one(stream)
        while head.status < 200 and head.status != SWITCHING:  # noqa: PLR2004 - RFC 9110 §15.2
            head = _read_one(stream)
    except TimeoutError as error:
        fact = f"no answer within {stream.deadline.seconds:.0f} s"
        cure = ("The app accepts connections and does not answer; look at its output:", "  devtls logs")
        raise ProbeError(Fault("service", "no-answer", fact, cure)) from error
    return head


def read_body(stream: Stream, head: Head, most: int = MOST_BODY) -> bytes:
    """Return at most `most` bytes of the body, or what had come when time was up or the framing broke."""
    if head.status in BODYLESS or head.status == SWITCHING:
        return b""
    body = bytearray()
    try:
        if "chunked" in head.header("transfer-encoding").lower():
            _read_chunks(stream, body, most)
        else:
            length = head.header("content-length")
            _read_exactly(stream, body, min(most, int(length)) if _is_number(length) else most)
    except TimeoutError:
        pass  # a page that streams for ever has shown enough
    return bytes(body[:most])


def closed_early(fact: str) -> Fault:
    """A connection that was accepted and then closed."""
    cure = ("The app may have crashed on this request; look at its output:", "  devtls logs")
    return Fault("service", "closed-early", fact, cure)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19  # noqa: PLR2004 - an exabyte is plenty


def _read_one(stream: Stream) -> Head:
    # A bare word may come without a line end on a connection that stays open (nginx passes it on as HTTP/0.9).
    while len(stream.buffer) < len(BEGINNING) and BEGINNING.startswith(stream.buffer) and stream.fill():
        pass
    line = stream.read_line(LONGEST_LINE) if stream.buffer.startswith(BEGINNING) else b""
    found = STATUS_LINE.fullmatch(line)
    if found is None:
        raise ProbeError(_not_http(bytes(line) + bytes(stream.buffer[:200])))
    headers: list[tuple[str, str]] = []
    while (line := stream.read_line(LONGEST_LINE)) and len(headers) < MOST_HEADERS:
        name, colon, value = line.partition(b":")
        if colon and not name[:1].isspace():  # an odd line is passed over, as browsers do
            headers.append((name.decode("latin-1").lower(), value.strip().decode("latin-1")))
    return Head(int(found[2]), (found[3] or b"").decode("latin-1").strip(), tuple(headers))


def _not_http(data: bytes) -> Fault:
    if not data:
        return closed_early("the connection was closed before an answer came")
    fact = f"the answer is not HTTP: {printable(data.decode('utf-8', 'replace').strip())}"
    cure = ("An HTTP server must listen there; look at what the app says:", "  devtls logs")
    return Fault("service", "not-http", fact, cure)


def _read_exactly(stream: Stream, body: bytearray, size: int) -> bool:
    while size > 0:
        if not stream.buffer and not stream.fill():
            return False
        taken = stream.take(size)
        body += taken
        size -= len(taken)
    return True


def _read_chunks(stream: Stream, body: bytearray, most: int) -> None:
    while len(body) < most:
        size = stream.read_line(LONGEST_LINE).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", size) or int(size, 16) == 0:
            return
        if not _read_exactly(stream, body, min(int(size, 16), most)):
            return
        stream.read_line(2)
