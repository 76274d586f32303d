"""Answers nginx on a Unix socket, one request a connection: what nginx turns to when a service cannot be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.pages.down import Request
from devtls.system.channel import listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from devtls.system.loop import Loop, Timer

LONGEST_HEAD = 131072  # bytes; nginx takes 8 buffers of 32k for the browser's headers, and passes most of them on
PATIENCE = 10.0  # s that nginx may take to ask or to read; it is on this machine


class PageServer:
    """Listens at `path` for as long as the session lives; `answer` makes the whole HTTP answer to a request."""

    def __init__(self, loop: Loop, path: Path, answer: Callable[[Request], bytes]) -> None:
        self._loop = loop
        self._path = path
        self._answer = answer
        self._visits: set[Visit] = set()
        self._listener = listen(path)
        self._listener.setblocking(False)
        loop.watch(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening, and let go of who is being answered."""
        for visit in list(self._visits):
            visit.end()
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it hung up already, or there is no descriptor left
            return
        self._visits.add(Visit(self._loop, connection, self._answer, self._visits.discard))


class Visit:
    """One request, and its answer."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        answer: Callable[[Request], bytes],
        over: Callable[[Visit], None],
    ) -> None:
        connection.setblocking(False)
        self._loop = loop
        self._connection = connection
        self._make_answer = answer
        self._over = over
        self._asked = b""
        self._left = b""
        self._timer: Timer = loop.call_later(PATIENCE, self.end)
        loop.watch(connection.fileno(), self._read)

    def end(self) -> None:
        """Hang up."""
        self._timer.cancel()
        self._loop.unwatch(self._connection.fileno())
        self._connection.close()
        self._over(self)

    def _read(self) -> None:
        try:
            data = self._connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._asked += data
        head, end, _body = self._asked.partition(b"\r\n\r\n")
        if end:
            self._left = self._make_answer(parse_head(head))
            self._loop.watch(self._connection.fileno(), None, self._write)
        elif not data or len(self._asked) > LONGEST_HEAD:
            self.end()

    def _write(self) -> None:
        try:
            self._left = self._left[self._connection.send(self._left) :]
        except BlockingIOError:
            return
        except OSError:
            self._left = b""
        if not self._left:
            self.end()


def parse_head(head: bytes) -> Request:
    """Return the request in the lines before the first empty one; nginx has checked them."""
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Request(first.split(" ")[0], {name.strip().lower(): value.strip() for name, _colon, value in pairs})
