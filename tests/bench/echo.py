"""The WebSocket server of the load tests: it sends each message back, on every path, in one thread and a loop.

It reads no more than it has to: complete frames below 126 bytes, as the client of wss.py sends them.
"""

from __future__ import annotations

import base64
import hashlib
import resource
import select
import socket
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
TEXT = 0x81  # an unfragmented message of text
HEAD = 6  # bytes of a masked frame before its payload
CHUNK = 65536


def main(port: int) -> None:
    """Serve until killed."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    greeted: set[int] = set()
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            connection = connections[number]
            data = _receive(connection)
            if not data:
                greeted.discard(number)
                connections.pop(number).close()
            elif number in greeted:
                connection.sendall(echo(data))
            else:
                greeted.add(number)
                connection.sendall(accept(data))


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(CHUNK)
    except ConnectionError:
        return b""


def accept(request: bytes) -> bytes:
    """The answer to a handshake; it comes in one piece on loopback."""
    fields = dict(line.partition(b": ")[::2] for line in request.lower().split(b"\r\n"))
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    assert fields[b"upgrade"] == b"websocket", request
    digest = base64.b64encode(hashlib.sha1(key.partition(b": ")[2] + GUID, usedforsecurity=False).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    return head + digest + b"\r\n\r\n"


def echo(frames: bytes) -> bytes:
    """The same messages, unmasked, as a server sends them."""
    answer = b""
    while frames:
        length = frames[1] & 0x7F
        mask, payload = frames[2:HEAD], frames[HEAD : HEAD + length]
        key = (mask * (length // 4 + 1))[:length]
        plain = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")
        answer += bytes((frames[0], length)) + plain
        frames = frames[HEAD + length :]
    return answer


if __name__ == "__main__":
    main(int(sys.argv[1]))
