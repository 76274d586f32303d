"""JSON lines over a Unix socket, with descriptors passed alongside; peers of another user are turned away."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import struct
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from devtls.errors import DevtlsError, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from devtls.system.loop import Loop

Message = dict[str, Any]
LONGEST_MESSAGE = 32 * 1024 * 1024  # bytes; a site of a thousand domains with two names each is 5 MiB
MOST_DESCRIPTORS = 16  # passed with one message
CHUNK = 65536
COUNT = "_descriptors"  # in a message: how many came with it; the kernel may glue the one before to it in one read


def listen(path: Path) -> socket.socket:
    """Listen on a Unix socket that only this user can open; the caller holds the lock that makes `path` ours."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        server.bind(os.fspath(path))
    finally:
        os.umask(mask)
    server.listen(64)
    server.setblocking(False)
    return server


def peer_uid(connection: socket.socket) -> int:
    """Return the user id at the other end of a Unix socket, as the kernel knows it."""
    if sys.platform == "linux":
        size = struct.calcsize("iII")
        _pid, uid, _gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return int(uid)
    # LOCAL_PEERCRED of sys/un.h on macOS: struct xucred, version and uid first (not yet run there)
    _version, uid = struct.unpack("Ii", connection.getsockopt(0, 1, 76)[:8])
    return int(uid)


def is_friend(connection: socket.socket) -> bool:
    """Whether the other end is this user, or root."""
    return peer_uid(connection) in {os.geteuid(), 0}


def receive_some(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Return what has come, and the descriptors that came along, which no program started later inherits.

    MSG_CMSG_CLOEXEC would say so at once, but socket.recv_fds drops its flags: https://github.com/python/cpython/issues/107898
    """
    data, descriptors, _flags, _address = socket.recv_fds(connection, CHUNK, MOST_DESCRIPTORS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return data, descriptors


def send_with_descriptors(connection: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message on a blocking socket, and descriptors with its first byte."""
    data = encode(message, len(descriptors))
    sent = socket.send_fds(connection, [data], list(descriptors)) if descriptors else 0
    connection.sendall(data[sent:])


def encode(message: Message, descriptors: int = 0) -> bytes:
    """One line of JSON, saying how many descriptors travel with it."""
    counted = {**message, COUNT: descriptors} if descriptors else message
    return json.dumps(counted, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes, descriptors: list[int]) -> tuple[Message, list[int]]:
    """Return a message and the descriptors that are its own, taken from the front of those that came.

    Raises:
        ValueError: it is not a message of ours.
    """
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - to the caller it is as malformed as broken JSON
    count = message.pop(COUNT, 0)
    if not isinstance(count, int) or not 0 <= count <= len(descriptors):
        raise ValueError(f"{len(descriptors)} descriptors came, not {count}")
    passed, descriptors[:count] = descriptors[:count], []
    return message, passed


class Link:
    """A connection that a loop serves: whole messages come in, messages go out without blocking.

    Args:
        loop: who serves it.
        connection: a connected Unix socket; it is made non-blocking and owned from now on.
        received: called with each message and the descriptors that came with it (the callee owns them).
        closed: called once, when the other end is gone or sent nonsense.
    """

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        received: Callable[[Message, list[int]], None],
        closed: Callable[[], None],
    ) -> None:
        connection.setblocking(False)
        self._loop = loop
        self._connection = connection
        self._received = received
        self._closed = closed
        self._incoming = bytearray()
        self._descriptors: list[int] = []
        self._outgoing: deque[tuple[memoryview, list[int]]] = deque()
        self._queued = 0
        self.is_open = True
        loop.watch(connection.fileno(), self._read)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Queue a message, and copies of descriptors that arrive with it; the caller may close its own at once."""
        if not self.is_open:
            return
        data = encode(message, len(descriptors))
        self._outgoing.append((memoryview(data), [os.dup(descriptor) for descriptor in descriptors]))
        self._queued += len(data)
        self._flush()

    def close(self) -> None:
        """Hang up; `closed` is called if it has not been."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.unwatch(self._connection.fileno())
        self._connection.close()
        for descriptor in itertools.chain(self._descriptors, *(copies for _data, copies in self._outgoing)):
            os.close(descriptor)
        self._closed()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                self._send_some()
        except BlockingIOError:
            if self._queued > LONGEST_MESSAGE:  # a reader that never reads must not fill our memory
                self.close()
                return
        except OSError:
            self.close()
            return
        self._loop.watch(self._connection.fileno(), self._read, self._flush if self._outgoing else None)

    def _send_some(self) -> None:
        data, copies = self._outgoing[0]
        if copies:
            sent = socket.send_fds(self._connection, [data[:CHUNK]], copies)
        else:
            sent = self._connection.send(data[:CHUNK])
        self._queued -= sent
        for descriptor in copies:
            os.close(descriptor)
        if sent < len(data):
            self._outgoing[0] = (data[sent:], [])
        else:
            self._outgoing.popleft()

    def _read(self) -> None:
        try:
            data, descriptors = receive_some(self._connection)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._descriptors += descriptors
        self._incoming += data
        if not data or (len(self._incoming) > LONGEST_MESSAGE and b"\n" not in self._incoming):
            self.close()
            return
        while self.is_open and (end := self._incoming.find(b"\n")) >= 0:
            line = bytes(self._incoming[:end])
            del self._incoming[: end + 1]
            try:
                message, passed = decode(line, self._descriptors)
            except ValueError:
                self.close()
                return
            self._received(message, passed)


class Client:
    """The blocking end of a channel, for commands that ask and wait."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._incoming = bytearray()
        self._descriptors: list[int] = []

    @classmethod
    def connect(cls, path: Path, timeout: float | None = 10.0) -> Client:
        """Connect to a socket of this user.

        Raises:
            NotRunningError: nobody listens there.
            DevtlsError: it belongs to another user.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(os.fspath(path))
        except OSError as error:
            connection.close()
            raise NotRunningError(f"nothing answers on {path}") from error
        if not is_friend(connection):
            connection.close()
            raise DevtlsError(f"{path} belongs to another user")
        return cls(connection)

    def send(self, message: Message) -> None:
        """Send one message."""
        try:
            self._connection.sendall(encode(message))
        except OSError as error:
            raise NotRunningError("the other end is gone") from error

    def receive(self) -> tuple[Message, list[int]] | None:
        """Return the next message and its descriptors, or None when the other end is gone.

        Raises:
            TimeoutError: nothing came in time.
            DevtlsError: what came is not a message.
        """
        while (end := self._incoming.find(b"\n")) < 0:
            try:
                data, descriptors = receive_some(self._connection)
            except ConnectionError:
                return None
            self._descriptors += descriptors
            if not data:
                return None
            self._incoming += data
        line = bytes(self._incoming[:end])
        del self._incoming[: end + 1]
        try:
            return decode(line, self._descriptors)
        except ValueError as error:
            raise DevtlsError("the other end does not speak this protocol") from error

    def detach(self) -> socket.socket:
        """Give the socket away, to be served by a loop; nothing may be left unread."""
        return self._connection

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
