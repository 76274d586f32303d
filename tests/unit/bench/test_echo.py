"""The WebSocket server of the load tests."""

from __future__ import annotations

from tests.bench.echo import accept, echo
from tests.bench.wss import ANSWER, QUESTION


def test_it_unmasks_each_message_and_sends_it_back() -> None:
    assert echo(QUESTION) == ANSWER
    assert echo(QUESTION * 3) == ANSWER * 3


def test_its_handshake_is_that_of_the_standard() -> None:
    # RFC 6455, section 1.3
    request = b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in accept(request)
