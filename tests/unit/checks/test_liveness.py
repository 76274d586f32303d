from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from devtls.checks.liveness import answers_http, find_http
from devtls.model import Endpoint
from devtls.system.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def serving(answer: bytes, requests: list[bytes] | None = None) -> Iterator[Endpoint]:
    """A server that gives one answer to whoever connects, whatever is asked."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(4096)
                if requests is not None:
                    requests.append(asked)
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Endpoint(*server.getsockname())
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def free_endpoint() -> Endpoint:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Endpoint(*server.getsockname())


def test_any_answer_in_http_counts() -> None:
    requests: list[bytes] = []
    with serving(ANSWER, requests) as endpoint:
        assert answers_http(endpoint)
    assert requests == [f"HEAD / HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n".encode()]


def test_who_speaks_something_else_does_not() -> None:
    for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b""):
        with serving(answer) as endpoint:
            assert not answers_http(endpoint)


def test_a_port_that_is_closed_does_not() -> None:
    assert not answers_http(free_endpoint())


def test_who_says_nothing_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not answers_http(Endpoint(*silent.getsockname()), timeout=0.01)


def test_those_that_answer_are_told_in_the_loop_in_the_order_given() -> None:
    loop = Loop()
    told: list[tuple[Endpoint, ...]] = []
    threads: list[threading.Thread] = []

    def found(answering: tuple[Endpoint, ...]) -> None:
        told.append(answering)
        threads.append(threading.current_thread())

    with serving(ANSWER) as first, serving(b"debugger") as other, serving(ANSWER) as second:
        find_http(loop, [second, other, free_endpoint(), first], found).join()
    assert told == []
    loop.turn(5)
    loop.close()
    assert told == [(second, first)]
    assert threads == [threading.current_thread()]
