from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from devtls.nginx.access import AccessLog, SeenHandshake, parse_line
from devtls.system.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = b"<190>Oct 11 22:14:15 devtls: "  # as nginx writes it with nohostname: RFC 3164


def line(**changes: object) -> bytes:
    facts = {"status": "101", "host": "love.cat", "uri": "/chat?token=secret", "agent": "Firefox", **changes}
    return HEADER + json.dumps(facts).encode()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_a_handshake_is_read_without_its_query() -> None:
    assert parse_line(line()) == SeenHandshake("/chat", "101", "love.cat", "Firefox")


def test_words_of_the_browser_are_words() -> None:
    seen = parse_line(line(agent='x", "uri": "/evil", "y": "{'))
    assert seen
    assert (seen.path, seen.agent) == ("/chat", 'x", "uri": "/evil", "y": "{')


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEADER,
        HEADER + b"plain text",
        HEADER + b'{"status": "101"',
        HEADER + b"{}",
        HEADER + b'{"uri": "\xff"}',
        line(uri=None),
        line(uri=7),
        line(uri="*"),
        line(uri="http://love.cat/chat"),
        line(uri="/\x1b[2J"),
        line(uri="/\x00"),
        line(uri="/a\u202eb"),
    ],
)
def test_what_is_no_plain_handshake_is_passed_over(data: bytes) -> None:
    assert parse_line(data) is None


def test_handshakes_are_told_as_they_come_and_nonsense_is_not(loop: Loop, tmp_path: Path) -> None:
    seen: list[SeenHandshake] = []
    log = AccessLog(loop, tmp_path / "log.sock", seen.append)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nginx:
        for data in (line(uri="/a"), b"nonsense", line(uri="/b", status="404")):
            nginx.sendto(data, str(tmp_path / "log.sock"))
        while len(seen) < 2:
            loop.turn(5)
    log.close()
    assert [(each.path, each.status) for each in seen] == [("/a", "101"), ("/b", "404")]


def test_the_socket_is_private_replaces_a_stale_one_and_is_gone_at_the_end(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    path.write_text("stale", "utf-8")
    log = AccessLog(loop, path, lambda _seen: None)
    assert path.stat().st_mode & 0o777 == 0o600
    log.close()
    assert not path.exists()
