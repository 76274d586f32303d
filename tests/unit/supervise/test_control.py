from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from devtls.supervise.control import ControlServer
from devtls.system.channel import Link, Message
from devtls.system.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Running:
    """A running project that notes what it is asked."""

    def __init__(self) -> None:
        self.outcome = "starting"
        self.asked: list[str] = []

    def status(self) -> dict[str, Any]:
        return {"state": self.outcome}

    def is_settled(self) -> bool:
        return self.outcome != "starting"

    def restart(self, service: str) -> str:
        self.asked.append(f"restart {service}")
        return "" if service in {"", "web"} else f"there is no service {service!r}"

    def stop(self, reason: str) -> None:
        self.asked.append(f"stop {reason}")


class Asker:
    """A command's end of the connection."""

    def __init__(self, loop: Loop, path: Path) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(path))
        self.heard: list[Message] = []
        self.is_gone = False
        self.link = Link(loop, connection, lambda message, _: self.heard.append(message), self.note_gone)

    def note_gone(self) -> None:
        self.is_gone = True


class Stage:
    """A control server, its project, and who asks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = Loop()
        self.running = Running()
        self.server = ControlServer(self.loop, path, self.running)
        self.askers: list[Asker] = []

    def ask(self, message: Message) -> Asker:
        asker = Asker(self.loop, self.path)
        self.askers.append(asker)
        asker.link.send(message)
        return asker

    def answer(self, message: Message) -> Message:
        asker = self.ask(message)
        self.until(lambda: asker.heard)
        return asker.heard[0]

    def settle(self) -> None:
        """Until all that was sent has been read."""
        marker = self.ask({"do": "status"})
        self.until(lambda: marker.heard)

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(1000):
            if condition():
                return
            self.loop.turn(0.01)
        pytest.fail("waited in vain")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "control.sock")
    yield stage
    for asker in stage.askers:
        asker.link.close()
    for _ in stage.askers:
        stage.loop.turn(0)
    if stage.path.exists():
        stage.server.stopped({})
    stage.loop.close()


def test_the_status_is_told_at_any_time(stage: Stage) -> None:
    assert stage.answer({"do": "status"}) == {"state": "starting"}


def test_who_waits_is_answered_once_the_outcome_is_known(stage: Stage) -> None:
    waiting = stage.ask({"do": "wait"})
    stage.settle()
    assert waiting.heard == []
    stage.running.outcome = "ready"
    stage.server.settled()
    stage.until(lambda: waiting.heard)
    assert waiting.heard == [{"state": "ready"}]
    stage.server.settled()
    stage.settle()
    assert len(waiting.heard) == 1


def test_who_waits_for_what_is_known_is_answered_at_once(stage: Stage) -> None:
    stage.running.outcome = "red"
    assert stage.answer({"do": "wait"}) == {"state": "red"}


def test_who_follows_gets_every_line_until_it_hangs_up(stage: Stage) -> None:
    first, second = stage.ask({"do": "follow"}), stage.ask({"do": "follow"})
    stage.settle()
    stage.server.line("web", b"one\ntwo \xff\n")
    stage.until(lambda: first.heard and second.heard)
    assert first.heard == [{"event": "line", "service": "web", "text": "one\ntwo \ufffd\n"}]
    first.link.close()
    stage.settle()
    stage.server.line("web", b"three\n")
    stage.until(lambda: len(second.heard) == 2)
    assert len(first.heard) == 1


@pytest.mark.parametrize(
    "message", [{"do": "restart"}, {"do": "restart", "service": ""}, {"do": "restart", "service": "web"}]
)
def test_a_restart_is_begun(stage: Stage, message: Message) -> None:
    assert stage.answer(message) == {"is": "restarting"}
    assert stage.running.asked == [f"restart {message.get('service', '')}"]


def test_a_restart_that_is_not_possible_is_refused_with_the_reason(stage: Stage) -> None:
    refused = {"is": "refused", "message": "there is no service 'nobody'"}
    assert stage.answer({"do": "restart", "service": "nobody"}) == refused


def test_a_stop_is_answered_at_the_end_and_then_everybody_is_hung_up_on(stage: Stage) -> None:
    stopping, waiting, following = (stage.ask({"do": word}) for word in ("stop", "wait", "follow"))
    stage.settle()
    assert (stage.running.asked, stopping.heard) == (["stop down"], [])
    stage.server.stopped({"seconds": 0.2, "left": 0})
    stage.until(lambda: stopping.is_gone and waiting.is_gone and following.is_gone)
    assert stopping.heard == [{"is": "stopped", "seconds": 0.2, "left": 0}]
    assert waiting.heard == [{"is": "stopped", "seconds": 0.2, "left": 0}]
    assert following.heard == []
    assert not stage.path.exists()


def test_who_hangs_up_while_it_waits_is_forgotten(stage: Stage) -> None:
    waiting, stopping = stage.ask({"do": "wait"}), stage.ask({"do": "stop"})
    stage.settle()
    waiting.link.close()
    stopping.link.close()
    stage.settle()
    stage.server.settled()
    stage.server.stopped({"seconds": 0.2, "left": 0})
    assert (waiting.heard, stopping.heard) == ([], [])


@pytest.mark.parametrize("message", [{}, {"do": "dance"}, {"do": None}])
def test_what_is_not_understood_is_refused(stage: Stage, message: Message) -> None:
    assert stage.answer(message)["is"] == "refused"


def test_only_this_user_can_open_the_socket(stage: Stage) -> None:
    assert stage.path.stat().st_mode & 0o777 == 0o600
    assert stage.path.stat().st_uid == os.getuid()
