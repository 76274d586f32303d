"""What one probe saw: an answer, or the fault that kept it from getting one."""

from __future__ import annotations

from msgspec import Struct

from devtls.errors import DevtlsError

SWITCHING = 101
CLOSED_WITHOUT_WORD = 1006  # RFC 6455 §7.1.5: the connection went away without a close frame
SERVER_ERRORS = 500  # and above: the server says that it failed
LONGEST_ERROR = 8192  # bytes of a body that are searched for a first line
LONGEST_QUOTE = 160  # characters of a body that are worth a line of evidence


class Fault(Struct, frozen=True):
    """Why no HTTP answer came, in the words of a red check (see model.Check)."""

    layer: str
    code: str
    fact: str
    cure: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


class ProbeError(DevtlsError):
    """A probe ended before an answer came."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.fact, *fault.cure)
        self.fault = fault


class Observation(Struct, frozen=True):
    """One request and what came of it; for a WebSocket also what happened in the moment after the handshake.

    Attributes:
        status: None when no HTTP answer came; `fault` then says why.
        headers: as received, names in lower case.
        body: bounded; empty for a 101.
        seconds: from the first packet to the whole head of the answer.
        valid_until: the served certificate's last day, "2026-12-22"; empty without TLS.
        fault: no answer, or one that a browser refuses (a wrong Sec-WebSocket-Accept).
        ping: seconds from ping to pong.
        close_code: the server closed in the moment after 101; 1006 when it did so without a close frame.
        message: the first text message received.
    """

    status: int | None = None
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    seconds: float = 0.0
    valid_until: str = ""
    fault: Fault | None = None
    ping: float | None = None
    close_code: int | None = None
    close_reason: str = ""
    message: str = ""

    def header(self, name: str) -> str:
        """The first header of this (lower-case) name, or nothing."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def is_switched(self) -> bool:
        """Whether the handshake succeeded, whatever happened later."""
        return self.status == SWITCHING and self.fault is None

    @property
    def is_open(self) -> bool:
        """Whether the WebSocket opened and stayed open."""
        return self.is_switched and self.close_code is None

    @property
    def is_answered(self) -> bool:
        """Whether a server answered, and not that it failed."""
        return self.status is not None and self.status < SERVER_ERRORS and self.fault is None

    @property
    def quote(self) -> str:
        """The first line of the body that says something, without markup."""
        import re

        body = self.body[:LONGEST_ERROR].decode("utf-8", "replace")
        text = re.sub(r"<(script|style|title)\b.*?</\1>|<[^>]*>", " ", body, flags=re.DOTALL)
        lines = (" ".join(line.split()) for line in text.splitlines())
        return printable(next((line for line in lines if line), ""))

    def describe(self) -> str:
        """One line: "404 Not Found: Cannot GET /chat"."""
        if self.status is None:
            return self.fault.fact if self.fault else "not asked"
        line = f"{self.status} {self.reason}".strip()
        if self.is_switched:
            return line if self.close_code is None else f"{line}, then {self.describe_close()}"
        said = self.fault.fact if self.fault else self.quote
        return f"{line}: {said}" if said else line

    def describe_close(self) -> str:
        """How it was closed: "closed with 1008 policy"."""
        if self.close_code == CLOSED_WITHOUT_WORD:
            return "closed without a close frame (1006)"
        return f"closed with {self.close_code} {self.close_reason}".rstrip()


def printable(text: str) -> str:
    """A server's words, safe to show on a terminal: one line, bounded, no control characters."""
    clean = "".join(character if character.isprintable() else "·" for character in text[: LONGEST_QUOTE + 1])
    return clean if len(clean) <= LONGEST_QUOTE else clean[:LONGEST_QUOTE] + "…"
