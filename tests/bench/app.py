"""The app that is served: a page, and a WebSocket that greets and answers pings; it listens after about 20 ms.

A slow app would hide what a server does at the same time; this one hides little. It appends when it listens to the
file that it is told, on the clock of app.sh.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedRWPair

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
PAGE = b"<!doctype html><title>bench</title>Hello, World!"
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A  # the first byte of an unfragmented frame


def main(log: Path) -> None:
    """Listen, say when, and serve each connection in a thread."""
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000")))
    with socket.create_server(address) as listener:
        with log.open("a") as stream:
            stream.write(f"listen {time.time()}\n")
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def serve(connection: socket.socket) -> None:
    """Answer the requests of one connection."""
    with connection, connection.makefile("rwb") as stream:
        while line := stream.readline():
            headers = {}
            while field := stream.readline().strip():
                name, _, value = field.partition(b":")
                headers[name.strip().lower()] = value.strip()
            if headers.get(b"upgrade", b"").lower() == b"websocket" and line.split()[1] == b"/chat":
                _talk(stream, headers[b"sec-websocket-key"].decode())
                return
            stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
            stream.flush()


def _talk(stream: BufferedRWPair, key: str) -> None:
    """Speak WebSocket: greet, echo texts, answer pings, until the other side closes."""
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest())
    stream.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    stream.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    _send(stream, TEXT, b"Hello, World!")
    answers = {TEXT: TEXT, PING: PONG, CLOSE: CLOSE}
    while len(head := stream.read(2)) == len("ab"):
        length = head[1] & 0x7F  # below 126: nobody here sends more
        mask, payload = stream.read(4), stream.read(length)
        if answer := answers.get(head[0]):
            _send(stream, answer, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)))
        if head[0] == CLOSE:
            return


def _send(stream: BufferedRWPair, kind: int, payload: bytes) -> None:
    stream.write(bytes((kind, len(payload))) + payload)
    stream.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
