"""An app that holds thousands of WebSockets, takes uploads and streams events; run inside a machine, it needs nothing.

GET / says who answers, as JSON; /slow the same after a tenth of a second; /events is a stream; POST /upload returns the
SHA-256 of what came; a WebSocket anywhere is an echo. Standard library alone: thousands of sockets on two cores.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import resource
import sys

ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
PAGE = """<!doctype html><title>many</title><script>new WebSocket(`wss://${location.host}/chat`)</script>"""
SLOW = 0.1  # s
BETWEEN = 0.05  # s from event to event
PONG = {8: b"\x88", 9: b"\x8a"}  # a close is answered by a close, a ping by a pong


class Request:
    """A request line and its headers."""

    def __init__(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection until it ends."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            request = Request(await reader.readuntil(b"\r\n\r\n"))
            if "sec-websocket-key" in request.headers:
                await echo(request, reader, writer)
                break
            if request.path == "/events":
                await stream(writer)
                break
            await answer(request, reader, writer)
    writer.close()


async def answer(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One answer, after which the connection is kept."""
    if request.path == "/upload":
        facts = await digest(request, reader)
    else:
        facts = {"name": sys.argv[1], "pid": os.getpid()}
    if request.path == "/slow":
        await asyncio.sleep(SLOW)
    is_page = "text/html" in request.headers.get("accept", "")
    body = (PAGE if is_page else json.dumps(facts)).encode()
    kind = "text/html" if is_page else "application/json"
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()


async def digest(request: Request, reader: asyncio.StreamReader) -> dict[str, object]:
    """Read a body in chunks (RFC 9112, 7.1), and say what it was."""
    assert request.headers["transfer-encoding"] == "chunked", request.headers
    seen, size = hashlib.sha256(), 0
    while length := int(await reader.readline(), 16):
        chunk = await reader.readexactly(length)
        seen.update(chunk)
        size += length
        await reader.readline()
    await reader.readline()
    return {"size": size, "sha256": seen.hexdigest()}


async def stream(writer: asyncio.StreamWriter) -> None:
    """Numbered events until the other end has enough."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    number = 0
    while True:
        writer.write(f"data: {number}\n\n".encode())
        await writer.drain()
        number += 1
        await asyncio.sleep(BETWEEN)


async def echo(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Shake hands, then say every short message back."""
    key = request.headers["sec-websocket-key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + ACCEPT, usedforsecurity=False).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    writer.write("\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", "\r\n"]).encode())
    while True:
        first, size = await reader.readexactly(2)
        mask, payload = await reader.readexactly(4), await reader.readexactly(size & 0x7F)
        plain = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        kind = first & 0x0F
        writer.write(PONG.get(kind, bytes([first])) + bytes([len(plain)]) + plain)
        if kind == 8:
            break


async def main() -> None:
    """Listen where devtls says."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), backlog=1024)
    print(f"{sys.argv[1]} listens", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
