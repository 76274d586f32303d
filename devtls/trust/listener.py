"""A TLS server that lives for a moment and decides what its clients made of a certificate.

Each question has a port of its own, so an alert, which names nobody, is the answer of whoever was sent to that port;
no output of any client is read. A client that cannot be told where a name leads may take the port for its HTTP proxy
(CONNECT): then the name need not resolve.
"""

from __future__ import annotations

import contextlib
import enum
import re
import secrets
import socket
import ssl  # noqa: TID253 - this module is imported inside functions, when a client is asked
import threading
from typing import TYPE_CHECKING, Self

from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 15.0  # s for one connection; a client that is slower than this is not waited for either
LONGEST_REQUEST = 16384  # bytes
CONNECT = re.compile(rb"CONNECT [^ ]*:([0-9]{1,5}) ")
# Nothing of a page, so that a browser asks for no icon and runs nothing.
ANSWER = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Answer(enum.Enum):
    """What became of one certificate that was shown to one client."""

    ACCEPTED = enum.auto()  # the handshake was whole, and the request came
    REFUSED = enum.auto()  # the client sent an alert, or hung up on the certificate
    SILENT = enum.auto()  # it never came


class Certificate(Struct, frozen=True):
    """What is shown: the host that it is for, and a chain without its root, and a key, both PEM."""

    host: str
    fullchain: bytes
    key: bytes


class Target(Struct, frozen=True):
    """Where a client is to go: https://host:port/path, which is 127.0.0.1, whatever the name resolves to."""

    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """As a client wants it."""
        return f"https://{self.host}:{self.port}{self.path}"

    @property
    def is_address(self) -> bool:
        """Whether the host is an address, which is verified and never sent as a server name."""
        return self.host.replace(".", "").isdecimal()


class Port:
    """One question: one certificate, shown to one client, and its answer.

    Attributes:
        target: where the client is to go.
        answer: so far.
        alert: the alert that it sent, in OpenSSL's words: "tlsv1 alert unknown ca".
        decided: set when the answer will not change.
    """

    def __init__(self, host: str, context: ssl.SSLContext, listener: Listener) -> None:
        self.answer = Answer.SILENT
        self.alert = ""
        self.decided = threading.Event()
        self._context = context
        self._listener = listener
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.target = Target(host, self._listening.getsockname()[1], f"/{secrets.token_hex(8)}")
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept(), which close() alone does not
        self._listening.close()

    def _accept(self) -> None:
        while True:  # a proxy is asked for the other ports, too, when its own question is decided
            try:
                connection, _address = self._listening.accept()
            except OSError:  # closed
                return
            connection.settimeout(PATIENCE)
            # A browser opens several connections at once, and says nothing on some of them.
            threading.Thread(target=self._receive, args=(connection,), daemon=True).start()

    def _receive(self, connection: socket.socket) -> None:
        with connection:
            try:
                number = _open_tunnel(connection)
            except OSError:
                return
            port = self if number == 0 else self._listener.find(number)
            if port:
                port.converse(connection)

    def converse(self, connection: socket.socket) -> None:
        """Shake hands, and see what comes of it."""
        try:
            with self._context.wrap_socket(connection, server_side=True) as secured:
                if self.target.path.encode() not in _read_request(secured):
                    self._decide(Answer.REFUSED, "", is_final=False)  # it may come back on another connection
                    return
                self._decide(Answer.ACCEPTED, "")
                secured.sendall(ANSWER)
        except ssl.SSLError as error:
            self._decide(Answer.REFUSED, (error.reason or "").replace("_", " ").lower(), is_final=_is_alert(error))
        except OSError:
            self._decide(Answer.REFUSED, "", is_final=False)

    def _decide(self, answer: Answer, alert: str, *, is_final: bool = True) -> None:
        if self.decided.is_set() or (self.answer is not Answer.SILENT and not is_final):
            return
        self.answer, self.alert = answer, alert
        if is_final:
            self.decided.set()


class Listener:
    """The ports of some questions, closed together."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._contexts: dict[bytes, ssl.SSLContext] = {}
        self._ports: dict[int, Port] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for port in self._ports.values():
            port.close()

    def open(self, certificate: Certificate) -> Port:
        """Show this certificate on a new port."""
        context = self._contexts.get(certificate.fullchain)
        if context is None:
            context = self._contexts[certificate.fullchain] = self._context(certificate)
        port = Port(certificate.host, context, self)
        self._ports[port.target.port] = port
        return port

    def find(self, number: int | None) -> Port | None:
        """The port that a proxy was asked for; None for elsewhere: Firefox calls its maker, too."""
        return self._ports.get(number) if number else None

    def _context(self, certificate: Certificate) -> ssl.SSLContext:
        """OpenSSL reads a chain from files alone; the scratch directory is private and goes with the question."""
        path = self._scratch / f"{len(self._contexts)}.pem"
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(certificate.fullchain + certificate.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        path.unlink()
        return context


def _open_tunnel(connection: socket.socket) -> int | None:
    """Answer a CONNECT, if that is what comes first, and return the port it names, else 0; None when nothing comes."""
    number = 0
    if connection.recv(1, socket.MSG_PEEK) == b"C":
        head = b""
        while b"\r\n\r\n" not in head and len(head) < LONGEST_REQUEST:
            byte = connection.recv(1)  # one at a time: what follows the head is TLS
            if not byte:
                return None
            head += byte
        found = CONNECT.match(head)
        number = int(found[1]) if found else 0
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    return number if connection.recv(1, socket.MSG_PEEK) else None


def _read_request(secured: ssl.SSLSocket) -> bytes:
    request = b""
    while b"\r\n" not in request and len(request) < LONGEST_REQUEST:
        chunk = secured.recv(4096)
        if not chunk:
            break
        request += chunk
    return request


def _is_alert(error: ssl.SSLError) -> bool:
    return "ALERT" in (error.reason or "")
