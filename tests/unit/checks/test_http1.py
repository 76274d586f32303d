from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtls.checks.http1 import Head, read_body, read_head, render_get
from devtls.checks.observation import ProbeError
from devtls.checks.wire import Deadline, Stream


def read(data: bytes, most: int = 1000, *, ends: bool = True) -> tuple[Head, bytes]:
    """Read an answer from a server that says `data`, and then hangs up or stays silent."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        if ends:
            theirs.shutdown(socket.SHUT_WR)
        stream = Stream(ours, Deadline(5 if ends else 0.05))
        head = read_head(stream)
        return head, read_body(stream, head, most)


@pytest.mark.parametrize(
    ("data", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", 200, b"hello"),
        (b"HTTP/1.1 200\r\n\r\nto the end", 200, b"to the end"),
        (b"HTTP/1.0 404 Not Found\n\nbare line ends", 404, b"bare line ends"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nreal", 200, b"real"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\n", 200, b"abcde"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", 200, b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\nabc", 200, b"abc"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", 200, b"short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 5000, 200, b"x" * 1000),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204, b""),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n folded: line\r\nA: b\r\n\r\nx", 200, b"x"),
    ],
)
def test_an_answer_is_read_as_browsers_read_it(data: bytes, status: int, body: bytes) -> None:
    head, read_in = read(data)
    assert (head.status, read_in) == (status, body)


def test_a_body_that_never_ends_gives_what_came_in_time() -> None:
    assert read(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n", ends=False)[1] == b"data: 1\n\n"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "closed-early"),
        (b"Unauthorized", "not-http"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "not-http"),
        (b"HTTP/1.1 999 Odd\r\n\r\n", "not-http"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "not-http"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "not-http"),
    ],
)
def test_what_is_no_http_is_named(data: bytes, code: str) -> None:
    with pytest.raises(ProbeError) as caught:
        read(data)
    assert caught.value.fault.code == code
    assert caught.value.cure


def test_a_bare_word_on_an_open_connection_is_not_waited_for() -> None:
    with pytest.raises(ProbeError) as caught:
        read(b"Unauthorized", ends=False)
    assert caught.value.fault.fact == "the answer is not HTTP: Unauthorized"


@pytest.mark.parametrize("data", [b"", b"HTT", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
def test_a_silent_server_is_named(data: bytes) -> None:
    with pytest.raises(ProbeError) as caught:
        read(data, ends=False)
    assert caught.value.fault.code == "no-answer"


def test_a_request_cannot_be_split() -> None:
    request = render_get("/a", (("Host", "love.cat\r\nX: y"),))
    assert request == b"GET /a HTTP/1.1\r\nHost: love.catX: y\r\n\r\n"


@given(st.binary(max_size=300))
def test_any_bytes_end_in_an_answer_or_a_fault(data: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        assert outcome(start + data) in {"closed-early", "not-http", "answer"}


def outcome(data: bytes) -> str:
    try:
        _head, body = read(data)
    except ProbeError as error:
        return error.fault.code
    return "answer" if len(body) <= 1000 else "too much"
