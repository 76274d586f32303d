from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from devtls.pages.down import Request
from devtls.pages.server import LONGEST_HEAD, PATIENCE, PageServer, parse_head
from devtls.system.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stage:
    """A page server that answers with what it was asked."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.path = path
        self.loop = Loop(lambda: self.now)
        self.server = PageServer(self.loop, path, self.answer)

    def answer(self, request: Request) -> bytes:
        return f"{request.method} {request.headers.get('accept')} ".encode() + b"x" * 1_000_000

    def connect(self) -> socket.socket:
        asker = socket.socket(socket.AF_UNIX)
        asker.connect(str(self.path))
        asker.setblocking(False)
        return asker

    def read(self, asker: socket.socket) -> bytes:
        """All that comes until it hangs up."""
        said = b""
        for _ in range(1000):
            self.loop.turn(0.01)
            try:
                chunk = asker.recv(65536)
            except BlockingIOError:
                continue
            if not chunk:
                return said
            said += chunk
        pytest.fail("it did not hang up")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "page.sock")
    yield made
    made.server.close()
    made.loop.close()


def test_a_request_that_comes_in_pieces_is_answered_whole(stage: Stage) -> None:
    with stage.connect() as asker:
        asker.send(b"GET / HTTP/1.0\r\nAccept: text/")
        stage.loop.turn(0.01)
        stage.loop.turn(0.01)
        asker.send(b"html\r\n\r\n")
        said = stage.read(asker)
    assert said.startswith(b"GET text/html ")
    assert len(said) > 1_000_000


def test_who_asks_for_nothing_or_for_too_much_is_let_go(stage: Stage) -> None:
    with stage.connect() as quiet:
        stage.loop.turn(0.01)
        stage.now += PATIENCE
        assert stage.read(quiet) == b""
    with stage.connect() as loud:
        loud.setblocking(True)
        left = b"x" * (LONGEST_HEAD + 1)
        loud.settimeout(0.01)
        while left:
            try:
                left = left[loud.send(left) :]
            except (TimeoutError, BrokenPipeError, ConnectionResetError):
                break
            stage.loop.turn(0.01)
        loud.setblocking(False)
        with contextlib.suppress(ConnectionResetError):  # what it had not read yet is thrown away
            assert stage.read(loud) == b""


def test_only_the_owner_can_ask_and_nothing_is_left_behind(stage: Stage) -> None:
    assert stage.path.stat().st_mode & 0o777 == 0o600
    stage.server.close()
    assert not stage.path.exists()
    stage.server = PageServer(stage.loop, stage.path, stage.answer)


def test_a_head_is_read_as_nginx_writes_it() -> None:
    head = b"HEAD /a?b HTTP/1.0\r\nX-Devtls-Upstream: 1\r\nAccept:text/html"
    assert parse_head(head) == Request("HEAD", {"x-devtls-upstream": "1", "accept": "text/html"})
    assert parse_head(b"") == Request("", {})
