"""The WebSocket handshakes that browsers really make, as nginx tells them the moment they are answered.

nginx sends one datagram of syslog a handshake (log_format devtls_websocket of the gateway's template): no file grows,
nothing is polled. A handshake that was refused is told at once, one that succeeded when its connection ends.
"""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.system.files import PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from devtls.system.loop import Loop

LONGEST_LINE = 65536  # bytes; a request line ends at 32k (large_client_header_buffers)


class SeenHandshake(Struct, frozen=True):
    """One line of the log: path without its query, the status the browser got, and who asked."""

    path: str
    status: str
    host: str
    agent: str


def parse_line(data: bytes) -> SeenHandshake | None:
    """Return the handshake in a datagram; None when it is not one of ours, or its path is not plain text."""
    _header, brace, body = data.partition(b"{")
    try:
        facts = json.loads(brace + body)
        path = facts["uri"].split("?")[0]
        seen = SeenHandshake(path, facts["status"], facts["host"], facts["agent"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return seen if path.startswith("/") and path.isprintable() else None


class AccessLog:
    """Listens for nginx' datagrams at `path`, which the site's access_log names."""

    def __init__(self, loop: Loop, path: Path, seen: Callable[[SeenHandshake], None]) -> None:
        path.unlink(missing_ok=True)
        self._loop = loop
        self._path = path
        self._seen = seen
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener.bind(os.fspath(path))
        path.chmod(PRIVATE_FILE)
        self._listener.setblocking(False)
        loop.watch(self._listener.fileno(), self._read)

    def close(self) -> None:
        """Stop listening."""
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        try:
            seen = parse_line(self._listener.recv(LONGEST_LINE))
        except BlockingIOError:
            return
        if seen:
            self._seen(seen)
