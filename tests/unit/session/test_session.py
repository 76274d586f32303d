from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from devtls.model import Check, Endpoint, Verdict
from devtls.session import Outcome, Session
from devtls.supervise import state as states
from tests.unit.session.stage import make_setup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from devtls.model import Service

GREEN = Check("https://love.cat", Verdict.PASSED, "200")


class FakeChecking:
    """Checks that are what the test says (session.checking.Checking)."""

    def __init__(self) -> None:
        self.checks: tuple[Check, ...] = (GREEN,)
        self.asked = 0
        self.is_stopped = False

    def begin(self) -> None:
        """The app has time again."""

    def soon(self) -> None:
        self.asked += 1

    def stop(self) -> None:
        self.is_stopped = True


class FakePlace:
    """A place in the gateway that is left when it is told (session.place.Place)."""

    def __init__(self) -> None:
        self.keeper_pid: int | None = None
        self.is_live = True
        self.left: Callable[[], None] | None = None

    def update(self) -> None:
        """The gateway is told."""

    def leave(self, left: Callable[[], None]) -> None:
        self.left = left

    def close(self) -> None:
        """Nothing is open."""


class FakePages:
    """Pages that nobody asks for (session.pages.Pages)."""

    def close(self) -> None:
        """Nothing is open."""


class FakeControl:
    """Remembers what those who asked are told (supervise.control.ControlServer)."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def settled(self) -> None:
        self.told.append("settled")

    def stopped(self, facts: dict[str, Any]) -> None:
        self.told.append(facts)


class Stage:
    """A session whose service is never run, and the parts around it."""

    def __init__(self, folder: Path) -> None:
        self.said, screen = os.pipe()
        self.documents, document = os.pipe()
        self.screen, self.document = screen, document
        self.session = Session(make_setup(folder, screen=screen, document=document))
        self.checking, self.place, self.control = FakeChecking(), FakePlace(), FakeControl()
        self.session._checking = self.checking  # type: ignore[assignment] # fakes do what the session asks of them
        self.session._place = self.place  # type: ignore[assignment]
        self.session._control = self.control  # type: ignore[assignment]
        self.session._pages = FakePages()  # type: ignore[assignment]
        self.session._is_open = True

    @property
    def web(self) -> Service:
        return self.session.setup.project.services[0]

    def listen(self) -> None:
        self.session._services.on_listening(self.web, Endpoint("127.0.0.1", 3000))

    def close(self) -> str:
        """Return what was said on the screen."""
        self.session._voice.screen.close()
        os.close(self.screen)
        with os.fdopen(self.said, "rb") as said:
            text = said.read().decode()
        self.session.loop.close()
        os.close(self.document)
        os.close(self.documents)
        return text


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    if stage.session.loop._selector.get_map() is not None:
        stage.close()


def test_the_json_of_a_session_has_these_keys(stage: Stage, tmp_path: Path) -> None:
    document = stage.session.status()
    assert list(document) == [
        "schema",
        "directory",
        "state",
        "error",
        "exit_code",
        "pid",
        "urls",
        "asked",
        "gateway",
        "services",
        "last_lines",
        "hints",
        "checks",
    ]
    assert (document["schema"], document["directory"]) == ("devtls.status/1", str(tmp_path))
    assert (document["state"], document["exit_code"], document["pid"]) == ("starting", 1, os.getpid())
    assert document["urls"] == ["https://love.cat"]
    assert document["gateway"] == {"pid": None, "nginx": "nginx 1.22.1", "https_port": 443}
    assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize(("is_red", "state", "code"), [(False, "ready", 0), (True, "red", 1)])
def test_the_first_conclusion_is_the_outcome_and_told_to_everybody(
    stage: Stage, is_red: bool, state: str, code: int
) -> None:
    stage.session._services.on_listening(stage.web, Endpoint("127.0.0.1", 3000))
    stage.session.concluded(is_red=is_red, is_news=True)
    assert (stage.session.status()["state"], stage.session.status()["exit_code"]) == (state, code)
    assert stage.control.told == ["settled"]
    assert json.loads(os.read(stage.documents, 65536)) == stage.session.status()
    assert ("Ready in " in stage.close()) is not is_red


def test_a_conclusion_that_is_no_news_says_nothing(stage: Stage) -> None:
    stage.session.concluded(is_red=False, is_news=True)
    stage.session.concluded(is_red=False, is_news=False)
    stage.session.concluded(is_red=True, is_news=True)
    stage.session.concluded(is_red=False, is_news=True)
    said = stage.close()
    assert [said.count(words) for words in ("Ready in ", "Served, but not", "All checks pass.")] == [1, 1, 1]


def test_a_service_that_fails_at_the_start_ends_up_with_its_fact(stage: Stage) -> None:
    stage.session._services.on_state(stage.web, states.Exited(0))
    document = json.loads(os.read(stage.documents, 65536))
    assert (document["state"], document["exit_code"]) == ("failed", 1)
    assert document["error"].startswith("web was never started before it listened")
    assert stage.session.outcome is Outcome.STOPPING
    assert stage.session.exit_code == 1
    assert "devtls: web was never started before it listened" in stage.close()


def test_a_domain_of_another_project_ends_up_with_4(stage: Stage) -> None:
    stage.session.place_is_refused("love.cat is served already", 4)
    assert (stage.session.exit_code, stage.session.outcome) == (4, Outcome.STOPPING)


def test_a_service_that_fails_later_stays_to_be_mended(stage: Stage) -> None:
    stage.listen()
    stage.session.concluded(is_red=False, is_news=True)
    stage.session._services.on_state(stage.web, states.Failed("it crashed 5 times"))
    assert stage.session.status()["state"] == "red"
    assert "`devtls restart web` starts it again" in stage.close()


def test_a_restart_that_fails_stays_to_be_mended(stage: Stage) -> None:
    stage.listen()
    stage.session.concluded(is_red=False, is_news=True)
    assert stage.session.restart("web") == ""
    stage.session._services.on_state(stage.web, states.Backoff(1, 0.0, 1, was_ready=False))
    assert stage.session.status()["state"] == "red"
    assert stage.control.told == ["settled"] * 2  # who waits for the restart is answered


def test_a_restart_adds_no_second_document(stage: Stage) -> None:
    for _ in range(2):
        stage.session.concluded(is_red=False, is_news=True)
        stage.session.outcome = Outcome.STARTING
    assert os.read(stage.documents, 65536).count(b"\n") == 1


def test_it_can_be_asked_once_the_place_is_live_and_each_service_listens(stage: Stage) -> None:
    assert not stage.session.can_be_asked()
    stage.listen()
    assert stage.session.can_be_asked()
    stage.place.is_live = False
    assert not stage.session.can_be_asked()


def test_a_restart_of_an_unknown_service_is_refused_naming_those_there_are(stage: Stage) -> None:
    assert stage.session.restart("nobody") == "there is no service 'nobody'; there is web"


def test_a_stop_ends_the_services_then_leaves_the_gateway_then_says_that_nothing_is_left(stage: Stage) -> None:
    stage.session.stop("down")
    assert stage.checking.is_stopped
    assert stage.session.restart("web") == "it is stopping"
    assert stage.control.told == []
    for _ in range(1000):
        if stage.place.left:
            break
        stage.session.loop.turn(0.01)
    assert stage.place.left
    stage.place.left()
    (facts,) = stage.control.told
    assert isinstance(facts, dict)
    assert facts["left"] == 0
    assert "processes left" in stage.close()
