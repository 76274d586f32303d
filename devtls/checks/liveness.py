"""Which of several listening ports speaks HTTP."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devtls.model import Endpoint
    from devtls.system.loop import Loop

PATIENCE = 2.0  # s; a dev server may build its first page before it answers, and is asked again later


def answers_http(endpoint: Endpoint, timeout: float = PATIENCE) -> bool:
    """Whether whoever listens there answers a request in HTTP/1."""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout) as connection:
            connection.sendall(f"HEAD / HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(7).startswith(b"HTTP/1.")
    except OSError:
        return False


def find_http(
    loop: Loop, endpoints: Sequence[Endpoint], found: Callable[[tuple[Endpoint, ...]], None]
) -> threading.Thread:
    """Ask each endpoint in a thread, and call `found` in the loop with those that answer, in the order given."""

    def ask() -> None:
        answering = tuple(endpoint for endpoint in endpoints if answers_http(endpoint))
        loop.call_soon(lambda: found(answering))

    thread = threading.Thread(target=ask, name="find-http", daemon=True)
    thread.start()
    return thread
