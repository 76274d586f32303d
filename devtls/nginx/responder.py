"""The name server for what the gateway serves by wildcards: two sockets on the keeper's loop.

It is there while a wildcard is served that systemd-resolved is told to ask it for, and it never asks anybody itself.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import TYPE_CHECKING

from msgspec import Struct, field

from devtls.nginx.answers import LARGEST, answer
from devtls.system.name_route import PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.system.loop import Loop, Timer

HOST = "127.0.0.1"
PACKETS = 64  # answered in a turn of the loop: a flood of them does not keep the projects waiting
MOST_CONNECTIONS = 16  # at once; systemd-resolved keeps one, and takes to TCP only when it lost packets
RETRY = 5.0  # s between tries for a port that is taken, as by the gateway of another user
SILENCE = 10.0  # s after which a connection is closed
LENGTH = 2  # bytes before each message over TCP: RFC 1035, 4.2.2


class Connection(Struct, eq=False):
    """A client over TCP, and what it has sent of its next question."""

    stream: socket.socket
    closing: Timer
    data: bytearray = field(default_factory=bytearray)


class Responder:
    """Answers for the names below wildcards, while there are any.

    Args:
        ipv6: whether the gateway listens on ::1, too.
        port: of 127.0.0.1.
    """

    def __init__(self, loop: Loop, *, ipv6: bool, port: int = PORT) -> None:
        self._loop = loop
        self._ipv6 = ipv6
        self._port = port
        self._wildcards: tuple[str, ...] = ()
        self._sockets: tuple[socket.socket, socket.socket] | None = None  # UDP, TCP
        self._connections: set[Connection] = set()
        self._was_refused = False
        self._retry: Timer | None = None

    def serve(self, wildcards: Sequence[str]) -> None:
        """Answer for these from now on; without any, let the port go. One that is taken is tried again."""
        self._wildcards = tuple(wildcards)
        if not wildcards:
            self.close()
        elif self._sockets is None:
            self._open()

    def close(self) -> None:
        """Answer no more."""
        if self._retry:
            self._retry.cancel()
        for each in self._sockets or ():
            self._loop.unwatch(each.fileno())
            each.close()
        self._sockets = None
        for connection in tuple(self._connections):
            self._hang_up(connection)

    def _open(self) -> None:
        if self._retry:
            self._retry.cancel()
        with contextlib.ExitStack() as undo:
            packets = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            streams = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
            try:
                packets.bind((HOST, self._port))
                streams.bind((HOST, self._port))
                streams.listen(MOST_CONNECTIONS)
            except OSError as error:
                if not self._was_refused:
                    names = ", ".join(self._wildcards)
                    sys.stderr.write(f"{names}: served, not resolved: {HOST}:{self._port}: {error.strerror}\n")
                self._was_refused = True
                self._retry = self._loop.call_later(RETRY, self._open)
                return
            undo.pop_all()
        self._was_refused = False
        self._sockets = (packets, streams)
        for each, readable in ((packets, self._receive), (streams, self._accept)):
            each.setblocking(False)
            self._loop.watch(each.fileno(), readable)

    def _answer(self, packet: bytes) -> bytes | None:
        return answer(packet, self._wildcards, ipv6=self._ipv6)

    def _receive(self) -> None:
        for _ in range(PACKETS):
            if self._sockets is None:
                return
            try:
                packet, client = self._sockets[0].recvfrom(LARGEST + 1)
            except OSError:  # no more of them; or one of our answers did not find its asker
                return
            said = self._answer(packet)
            if said is not None:
                with contextlib.suppress(OSError):  # its asker asks again
                    self._sockets[0].sendto(said, client)

    def _accept(self) -> None:
        if self._sockets is None:
            return
        try:
            stream, _ = self._sockets[1].accept()
        except OSError:
            return  # gone again before we looked
        if len(self._connections) >= MOST_CONNECTIONS:
            stream.close()
            return
        stream.setblocking(False)
        connection = Connection(stream, self._loop.call_later(SILENCE, lambda: self._hang_up(connection)))
        self._connections.add(connection)
        self._loop.watch(stream.fileno(), lambda: self._read(connection))

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.stream.recv(LENGTH + LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.data += data
        if not data or not self._answer_all(connection):
            self._hang_up(connection)
            return
        connection.closing.cancel()
        connection.closing = self._loop.call_later(SILENCE, lambda: self._hang_up(connection))

    def _answer_all(self, connection: Connection) -> bool:
        """Answer what is there whole; whether the connection may go on."""
        data = connection.data
        while len(data) >= LENGTH and len(data) >= LENGTH + (length := int.from_bytes(data[:LENGTH], "big")):
            said = self._answer(bytes(data[LENGTH : LENGTH + length]))
            del data[: LENGTH + length]
            if said is None or not _send(connection.stream, len(said).to_bytes(LENGTH, "big") + said):
                return False
        return len(data) < LENGTH or int.from_bytes(data[:LENGTH], "big") <= LARGEST

    def _hang_up(self, connection: Connection) -> None:
        connection.closing.cancel()
        self._connections.discard(connection)
        if connection.stream.fileno() >= 0:
            self._loop.unwatch(connection.stream.fileno())
            connection.stream.close()


def _send(stream: socket.socket, data: bytes) -> bool:
    """Whether all of it could be sent at once; who does not read their answers is not waited for."""
    try:
        return stream.send(data) == len(data)
    except OSError:
        return False
