"""Runs inside a private machine: WebSockets over TLS, many at once, in one thread and a loop.

Its arguments are the host name, the port, the path, the number of connections, and either
    SECONDS    each connection plays ping-pong for so long; prints {"rate": round trips a second, "share": processor
               time of this process as a part of one core}
    hold       prints "open" when all are open; then, for each line on standard input, sends a message on each
               connection and prints how many came back
"""

from __future__ import annotations

import contextlib
import json
import resource
import select
import socket
import ssl
import sys
import time

PATIENCE = 10.0  # s for the last answer
MESSAGE = b"Hello, World!"
MASK = b"\x5a\xc3\x96\x0f"
QUESTION = bytes((0x81, 0x80 | len(MESSAGE))) + MASK + bytes(byte ^ MASK[n % 4] for n, byte in enumerate(MESSAGE))
ANSWER = bytes((0x81, len(MESSAGE))) + MESSAGE
CHUNK = 16384


def connect(host: str, port: int, path: str, count: int) -> dict[int, ssl.SSLSocket]:
    """Open so many WebSockets; nobody verifies the certificate here, wrk and h2load do not either."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    authority = host if port == 443 else f"{host}:{port}"
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nOrigin: https://{authority}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    connections = {}
    for _ in range(count):
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = context.wrap_socket(plain, server_hostname=host)
        connection.sendall(request)
        said = b""
        while not said.endswith(b"\r\n\r\n"):
            more = connection.recv(CHUNK)
            if not more:
                raise ConnectionError(f"{authority} hung up after {said!r}")
            said += more
        if not said.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"{authority} answered {said.decode()}")
        connection.setblocking(False)
        connections[connection.fileno()] = connection
    return connections


def play(connections: dict[int, ssl.SSLSocket], seconds: float) -> int:
    """Ask again at each answer; return how many came in time."""
    poll = _watch(connections)
    for connection in connections.values():
        connection.send(QUESTION)
    answers, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for number, _ in poll.poll(0.1):
            connection = connections[number]
            try:
                answer = connection.recv(CHUNK)
            except ssl.SSLWantReadError:  # a session ticket
                continue
            if answer != ANSWER:
                raise ConnectionError(f"not what was sent: {answer!r}")
            answers += 1
            connection.send(QUESTION)
    return answers


def ask_all(connections: dict[int, ssl.SSLSocket]) -> int:
    """Send a message on each connection; return on how many it came back."""
    poll = _watch(connections)
    alive, end = set(), time.monotonic() + PATIENCE
    for connection in connections.values():
        with contextlib.suppress(OSError):
            connection.send(QUESTION)
    waiting = set(connections)
    while waiting and time.monotonic() < end:
        for number, _ in poll.poll(0.1):
            try:
                answer = connections[number].recv(CHUNK)
            except ssl.SSLWantReadError:
                continue
            except OSError:
                answer = b""
            waiting.discard(number)
            if answer == ANSWER:
                alive.add(number)
            else:
                poll.unregister(number)
    return len(alive)


def _watch(connections: dict[int, ssl.SSLSocket]) -> select.epoll:
    poll = select.epoll()
    for number in connections:
        poll.register(number, select.EPOLLIN)
    return poll


def main(host: str, port: int, path: str, count: int, what: str) -> None:
    """Do as the module says."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = connect(host, port, path, count)
    if what == "hold":
        print("open", flush=True)
        for _ in sys.stdin:
            print(f"alive {ask_all(connections)}", flush=True)
    else:
        seconds, before = float(what), time.process_time()
        answers = play(connections, seconds)
        print(json.dumps({"rate": answers / seconds, "share": (time.process_time() - before) / seconds}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
