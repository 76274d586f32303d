"""What is asked of the running system, and the JSON in which questions and answers travel."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - msgspec reads the annotations when it decodes

import msgspec
from msgspec import Struct

from devtls.model import HTTPS, Check, Endpoint, authority_of


class Domain(Struct, frozen=True):
    """A host name that is served: the one root that may vouch for it, and the serial that must be shown."""

    name: str
    root: Path
    serial: int


class Question(Struct, frozen=True):
    """Do these domains work for a browser?

    Attributes:
        domains: what is served through nginx.
        port: where nginx listens with TLS.
        service: where the app itself listens; None when nothing can be asked directly.
        websocket_path: named by the user; None means: find it.
        seen_paths: request paths of WebSocket handshakes in the access log, the newest first.
        site: the nginx file that serves the domains; only read, for evidence.
        address: where nginx is asked when a name does not lead to this machine.
        timeout: seconds for one probe.
        wildcards: those below which systemd-resolved is told to ask the gateway for each name.
        is_searched: whether a WebSocket is looked for when none is named; in a folder of files there is none.
    """

    domains: tuple[Domain, ...]
    port: int = HTTPS
    service: Endpoint | None = None
    websocket_path: str | None = None
    seen_paths: tuple[str, ...] = ()
    site: Path | None = None
    address: str = "127.0.0.1"
    timeout: float = 10.0
    is_searched: bool = True
    wildcards: tuple[str, ...] = ()

    def authority(self, domain: Domain) -> str:
        """What a browser writes into `Host`: the port is left out when it is 443."""
        return authority_of(domain.name, self.port)


class Answer(Struct, frozen=True):
    """The checks of a question; those that are not final are green so far, and final ones follow."""

    checks: tuple[Check, ...]
    final: bool = True


def encode_question(question: Question) -> bytes:
    """One line of JSON, without its newline."""
    return msgspec.json.encode(question, enc_hook=str)


def decode_question(line: str | bytes) -> Question:
    """The other way round.

    Raises:
        ValueError: it is not a question.
    """
    return msgspec.json.decode(line, type=Question, dec_hook=lambda kind, text: kind(text))


def encode_answer(answer: Answer) -> bytes:
    """One line of JSON, without its newline."""
    return msgspec.json.encode(answer)


def decode_answer(line: str | bytes) -> Answer:
    """The other way round.

    Raises:
        ValueError: it is not an answer.
    """
    return msgspec.json.decode(line, type=Answer)
