"""Getting to a server: a deadline, a TCP connection, and a bounded reader on top of it."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.checks.observation import Fault, ProbeError

if TYPE_CHECKING:
    from devtls.checks.question import Domain
    from devtls.model import Endpoint

CHUNK = 65536
SHORTEST_WAIT = 0.001  # seconds; a socket timeout of 0 would mean: do not block


class Plain(Struct, frozen=True):
    """Straight to a service, without TLS."""

    endpoint: Endpoint


class Secure(Struct, frozen=True):
    """Through nginx with TLS, on the first of the endpoints that accepts, as a browser tries them."""

    endpoints: tuple[Endpoint, ...]
    domain: Domain


Way = Plain | Secure


class Deadline:
    """A moment that nothing may pass."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then; never below 0."""
        return max(0.0, self._end - time.monotonic())

    def sooner(self, seconds: float) -> Deadline:
        """A deadline in so many seconds, but not after this one."""
        return Deadline(min(seconds, self.left))


def connect(way: Way, deadline: Deadline) -> socket.socket:
    """Return a connection that is ready for a request.

    Raises:
        ProbeError: with the fault.
    """
    match way:
        case Plain(endpoint):
            return open_tcp((endpoint,), deadline, _service_fault)
        case Secure():
            from devtls.checks.tls import open_tls

            return open_tls(way, deadline)


def open_tcp(endpoints: tuple[Endpoint, ...], deadline: Deadline, fault: _FaultOf) -> socket.socket:
    """Connect to the first endpoint that accepts; proxies in the environment are not asked.

    Raises:
        ProbeError: made by `fault` from the last endpoint and error.
    """
    last: tuple[Endpoint, OSError] | None = None
    for endpoint in endpoints:
        try:
            connection = socket.create_connection((endpoint.host, endpoint.port), max(SHORTEST_WAIT, deadline.left))
        except OSError as error:
            last = (endpoint, error)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    assert last is not None, "at least one endpoint"  # noqa: S101 - callers give one; an empty tuple is a bug
    raise ProbeError(fault(*last)) from last[1]


class _FaultOf:
    """Called with the endpoint and the error of a connection that failed."""

    def __init__(self, layer: str, refused: str, silent: str, *cure: str) -> None:
        self._layer = layer
        self._refused = refused
        self._silent = silent
        self._cure = cure

    def __call__(self, endpoint: Endpoint, error: OSError) -> Fault:
        if isinstance(error, ConnectionRefusedError):
            return Fault(self._layer, self._refused, f"nothing listens on {endpoint}", self._cure)
        if isinstance(error, TimeoutError):
            return Fault(self._layer, self._silent, f"{endpoint} does not accept connections", self._cure)
        return Fault(self._layer, self._silent, f"cannot connect to {endpoint}: {error.strerror or error}", self._cure)


_service_fault = _FaultOf(
    "service",
    "service-not-listening",
    "service-unreachable",
    "Look at the app's output; it must listen on the port in the PORT variable:",
    "  devtls logs",
)
gateway_fault = _FaultOf(
    "gateway",
    "gateway-not-listening",
    "gateway-unreachable",
    "Start it again:",
    "  devtls up",
)


class Stream:
    """A bounded, deadline-keeping reader."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self.deadline = deadline
        self.buffer = bytearray()
        self.is_ended = False

    def fill(self) -> bool:
        """Receive some more; False at the end of the stream.

        Raises:
            TimeoutError: the deadline passed.
        """
        if self.is_ended:
            return False
        left = self.deadline.left
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(max(SHORTEST_WAIT, left))
        try:
            data = self._connection.recv(CHUNK)
        except TimeoutError:
            raise
        except OSError:  # reset, or TLS cut off without its goodbye: for a reader both are the end
            data = b""
        self.buffer += data
        self.is_ended = not data
        return bool(data)

    def take(self, size: int) -> bytes:
        """Take what is in the buffer, up to `size` bytes."""
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def read_line(self, longest: int) -> bytes:
        """Return one line without its end, at most `longest` bytes of it; what is there at the end of the stream."""
        start = 0
        while (end := self.buffer.find(b"\n", start)) < 0 and len(self.buffer) <= longest:
            start = len(self.buffer)
            if not self.fill():
                break
        if end < 0:
            return self.take(longest)
        return self.take(end + 1).rstrip(b"\r\n")[:longest]
