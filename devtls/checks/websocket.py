"""A WebSocket as a browser opens it: handshake, ping and pong, a moment of listening, goodbye."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from devtls.checks import http1
from devtls.checks.https import forwarded
from devtls.checks.observation import CLOSED_WITHOUT_WORD, SWITCHING, Fault, Observation, ProbeError, printable
from devtls.checks.wire import Deadline, Plain, Stream, Way, connect

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from websockets.client import ClientProtocol
    from websockets.http11 import Request

# Servers that refuse after the 101 do so at once: webpack-dev-server's host check, express-ws on a wrong path.
LISTENING = 0.25  # seconds
PONG_PATIENCE = 2.0  # seconds; a busy dev server answers late, a broken proxy never
GOODBYE_PATIENCE = 0.1  # seconds for the server's close frame, so that it does not log a reset
ERROR_BODY_PATIENCE = 1.0  # seconds
MOST_ERROR_BODY = 8192  # bytes
LARGEST_MESSAGE = 16 * 1024 * 1024  # bytes; browsers have no limit, we keep one for our own memory


class Handshake(Struct, frozen=True):
    """What is asked for: the path, and who the asker says to be.

    Attributes:
        authority: the `Host` header: "love.cat", "127.0.0.1:3000".
        origin: "https://love.cat"; None leaves the header out, as programs do that are no browsers.
    """

    authority: str
    path: str
    origin: str | None
    subprotocols: tuple[str, ...] = ()


def probe(
    way: Way,
    handshake: Handshake,
    deadline: Deadline,
    listening: float = LISTENING,
    ponged: Callable[[Observation], None] = lambda _seen: None,
) -> Observation:
    """Open the WebSocket, ping, listen for so many seconds (0: until a pong or a close comes), and close.

    `ponged` is called with what was seen so far as soon as the pong is there.
    """
    started = time.perf_counter()
    try:
        with connect(way, deadline) as connection:
            protocol, request = _prepare(way, handshake)
            connection.sendall(request)
            stream = Stream(connection, deadline)
            head = http1.read_head(stream)
            seen = Observation(head.status, head.reason, head.headers, seconds=time.perf_counter() - started)
            if head.status != SWITCHING:
                stream.deadline = deadline.sooner(ERROR_BODY_PATIENCE)
                return replace(seen, body=http1.read_body(stream, head, MOST_ERROR_BODY))
            talk = _Conversation(connection, protocol, stream, lambda ping: ponged(replace(seen, ping=ping)))
            return talk.hold(seen, head, listening)
    except ProbeError as error:
        return Observation(seconds=time.perf_counter() - started, fault=error.fault)
    except OSError as error:
        fault = http1.closed_early(f"the connection broke: {error.strerror or error}")
        return Observation(seconds=time.perf_counter() - started, fault=fault)


def _prepare(way: Way, handshake: Handshake) -> tuple[ClientProtocol, bytes]:
    """The protocol, waiting for the answer to the request that goes with it."""
    from websockets.client import ClientProtocol
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
    from websockets.uri import parse_uri

    scheme = "ws" if isinstance(way, Plain) else "wss"
    protocol = ClientProtocol(
        parse_uri(f"{scheme}://{handshake.authority}{handshake.path}"),
        extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)],  # browsers offer exactly this
        subprotocols=list(handshake.subprotocols) or None,  # type: ignore[arg-type] # Subprotocol is a NewType of str
        max_size=LARGEST_MESSAGE,
    )
    request = protocol.connect()
    _dress(request, way, handshake)
    protocol.send_request(request)
    return protocol, b"".join(protocol.data_to_send())


def _dress(request: Request, way: Way, handshake: Handshake) -> None:
    """Add what browsers send beside the handshake itself."""
    del request.headers["Host"]
    request.headers["Host"] = handshake.authority
    request.headers["Pragma"] = "no-cache"
    request.headers["Cache-Control"] = "no-cache"
    request.headers["User-Agent"] = http1.BROWSER
    request.headers["Accept-Language"] = "en"
    if handshake.origin is not None:
        request.headers["Origin"] = handshake.origin
    if isinstance(way, Plain):
        for name, value in forwarded(handshake.authority):
            request.headers[name] = value


class _Conversation:
    """What happens on a connection after the server said 101."""

    def __init__(
        self, connection: socket.socket, protocol: ClientProtocol, stream: Stream, ponged: Callable[[float], None]
    ) -> None:
        self._connection = connection
        self._protocol = protocol
        self._stream = stream
        self._ponged = ponged
        self._ping_sent = 0.0
        self._ping: float | None = None
        self._message = ""

    def hold(self, seen: Observation, head: http1.Head, listening: float) -> Observation:
        self._protocol.receive_data(_render(head))
        if self._protocol.handshake_exc is not None:
            fact = f"a browser refuses this answer: {printable(str(self._protocol.handshake_exc))}"
            return replace(seen, fault=Fault("service", "handshake-invalid", fact))
        self._listen(listening)
        close = self._protocol.close_rcvd
        code = close.code if close else (CLOSED_WITHOUT_WORD if self._stream.is_ended else None)
        reason = printable(close.reason) if close else ""
        fault = self._own_close()
        self._say_goodbye()
        return replace(seen, ping=self._ping, close_code=code, close_reason=reason, message=self._message, fault=fault)

    def _listen(self, listening: float) -> None:
        self._protocol.send_ping(b"devtls")
        self._flush()
        self._ping_sent = time.perf_counter()
        quiet = Deadline(listening)
        patience = self._stream.deadline.sooner(max(PONG_PATIENCE, listening))
        self._receive()  # what came together with the 101
        while self._is_going() and (quiet.left > 0 or (self._ping is None and patience.left > 0)):
            self._stream.deadline = quiet if quiet.left > 0 else patience
            try:
                self._stream.fill()
            except TimeoutError:
                continue
            self._receive()

    def _is_going(self) -> bool:
        return not self._stream.is_ended and self._protocol.close_rcvd is None and self._protocol.close_sent is None

    def _receive(self) -> None:
        from websockets.frames import Frame, Opcode

        if data := self._stream.take(len(self._stream.buffer)):
            self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if not isinstance(event, Frame):
                continue
            if event.opcode is Opcode.PONG and self._ping is None:
                self._ping = time.perf_counter() - self._ping_sent
                self._ponged(self._ping)
            if event.opcode is Opcode.TEXT and not self._message:
                self._message = printable(bytes(event.data).decode("utf-8", "replace"))
        self._flush()

    def _flush(self) -> None:
        """Send what the protocol wants to say: pongs, closes; a server that is gone shows when we read."""
        data = b"".join(self._protocol.data_to_send())
        if data:
            try:
                self._connection.sendall(data)
            except OSError:
                return

    def _own_close(self) -> Fault | None:
        """A close that the protocol sent by itself: the server broke the rules, and a browser would have hung up."""
        sent = self._protocol.close_sent
        if sent is None or self._protocol.close_rcvd is not None:
            return None
        fact = f"the server broke the WebSocket protocol: {sent.code} {printable(sent.reason)}".rstrip()
        return Fault("service", "protocol-broken", fact)

    def _say_goodbye(self) -> None:
        if not self._is_going():
            return
        self._protocol.send_close(1001)  # going away: what a closed tab says
        self._flush()
        self._stream.deadline = Deadline(GOODBYE_PATIENCE)
        try:
            while self._stream.fill() and self._protocol.close_rcvd is None:
                self._protocol.receive_data(self._stream.take(len(self._stream.buffer)))
        except TimeoutError:
            return


def _render(head: http1.Head) -> bytes:
    """The head in the strict form that the protocol reads; browsers take it without a reason phrase, too."""
    lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in head.headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")
