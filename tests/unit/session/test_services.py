from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtls.model import Endpoint
from devtls.session.services import VITE_HOST, Services
from devtls.supervise import state as states
from devtls.system.loop import Loop
from tests.unit.session.stage import API, Clock, FakeVoice, make_setup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devtls.model import Service
    from devtls.session.setup import Setup

TOLD = Endpoint("127.0.0.1", 3000)
ELSEWHERE = Endpoint("::1", 5173)


class Stage:
    """Services that never run, and their owner, who notes what it is told."""

    def __init__(self, setup: Setup) -> None:
        self.loop = Loop(Clock())
        self.voice = FakeVoice()
        self.told: list[str] = []
        self.starting = True
        self.services = Services(self.loop, setup, self.voice, self)  # type: ignore[arg-type] # a voice that remembers
        self.web = setup.project.services[0]

    def is_starting(self) -> bool:
        return self.starting

    def services_moved(self) -> None:
        self.told.append("moved")

    def service_listens(self) -> None:
        self.told.append("listens")

    def service_failed(self, service: Service, fact: str, exit_code: int, _cure: tuple[str, ...] = ()) -> None:
        self.told.append(f"{service.name} failed with {exit_code}: {fact}")

    def services_ended(self) -> None:
        self.told.append("ended")

    def was_ready(self) -> None:
        """The service listened, and the outcome of `up` is known."""
        self.services.on_listening(self.web, TOLD)
        self.starting = False
        self.told.clear()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(make_setup(tmp_path))
    yield stage
    stage.loop.close()


def test_a_service_is_expected_where_it_was_told_to_listen(stage: Stage) -> None:
    assert stage.services.endpoint("web") == TOLD
    assert not stage.services.is_complete()


def test_a_service_that_listens_where_it_was_told_moves_nothing(stage: Stage) -> None:
    stage.services.on_listening(stage.web, TOLD)
    assert (stage.told, stage.voice.said) == (["listens"], [])
    assert stage.services.is_complete()


def test_a_service_that_listens_elsewhere_is_followed_and_told(stage: Stage) -> None:
    stage.services.on_listening(stage.web, ELSEWHERE)
    assert stage.told == ["moved", "listens"]
    assert stage.voice.said == ["web was given PORT=3000 and listens on [::1]:5173: followed there"]
    assert stage.services.endpoint("web") == ELSEWHERE


def test_the_same_port_of_the_other_family_is_followed_without_a_word(stage: Stage) -> None:
    stage.services.on_listening(stage.web, Endpoint("::1", 3000))
    assert (stage.told, stage.voice.said) == (["moved", "listens"], [])


def test_a_service_that_comes_back_says_so(stage: Stage) -> None:
    stage.was_ready()
    stage.services.on_state(stage.web, states.Backoff(1, 0.0, 1, was_ready=True))
    assert not stage.services.is_complete()
    stage.services.on_listening(stage.web, TOLD)
    assert stage.voice.said[-1] == "web is back"


def test_a_service_that_comes_back_on_the_other_family_is_followed(stage: Stage) -> None:
    stage.services.on_listening(stage.web, Endpoint("::1", 3000))
    stage.starting = False
    stage.services.on_state(stage.web, states.Backoff(1, 0.0, 1, was_ready=True))
    stage.told.clear()
    stage.services.on_listening(stage.web, TOLD)
    assert stage.told == ["moved", "listens"]  # or the gateway would go on asking [::1]:3000


def test_a_service_that_ends_before_it_listened_fails_the_start(stage: Stage) -> None:
    stage.services.on_state(stage.web, states.Exited(0))
    stage.services.on_state(stage.web, states.Backoff(1, 0.0, 1, was_ready=False))
    assert stage.told == ["web failed with 1: web was never started before it listened"] * 2


def test_a_service_that_crashes_later_is_told_and_no_failure(stage: Stage) -> None:
    stage.was_ready()
    stage.services.on_state(stage.web, states.Backoff(1, 0.0, 1, was_ready=True))
    stage.services.on_state(stage.web, states.Exited(0))
    assert stage.told == []
    assert stage.voice.said == [
        "web was never started; it is started again",
        "web was never started",
    ]


def test_a_port_of_somebody_else_is_exit_4_with_the_owner(stage: Stage) -> None:
    stage.services.on_state(stage.web, states.Blocked("python (pid 7)"))
    (told,) = stage.told
    assert told.startswith("web failed with 4: ")
    assert "port 3000" in told


def test_a_service_that_is_given_up_fails_with_the_reason(stage: Stage) -> None:
    stage.was_ready()
    stage.services.on_state(stage.web, states.Failed("it crashed 5 times within 60 s"))
    assert stage.told == ["web failed with 1: web: it crashed 5 times within 60 s"]
    assert not stage.services.is_complete()


def test_a_service_that_does_not_answer_is_told(stage: Stage) -> None:
    stage.was_ready()
    stage.services.on_state(stage.web, states.Degraded(0.0, TOLD, "connection refused", "tcp"))
    assert stage.voice.said == ["web does not answer: connection refused"]


def test_the_end_of_a_service_is_told(stage: Stage) -> None:
    stage.services.on_state(stage.web, states.Stopped())
    assert stage.told == ["ended"]
    assert stage.services.is_empty()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", TOLD),
        ("/chat", TOLD),
        ("/api", API),
        ("/api/", API),
        ("/api/chat", API),
        ("/apis", TOLD),
        ("/x/api", TOLD),
    ],
)
def test_a_path_leads_where_nginx_sends_it(stage: Stage, path: str, target: Endpoint) -> None:
    assert stage.services.target_of(path) == target


def test_an_app_is_told_where_it_lives_and_the_user_has_the_last_word(stage: Stage) -> None:
    found = stage.services._environment_of(stage.web)
    assert found == {
        VITE_HOST: "love.cat",
        "PATH": "/usr/bin",
        "PORT": "3000",
        "HOST": "127.0.0.1",
        "DEVTLS_URL": "https://love.cat",
        "MODE": "test",
    }


def test_an_app_asks_no_proxy_for_what_is_served_here(tmp_path: Path) -> None:
    environment = {"https_proxy": "http://proxy.corp:3128", "NO_PROXY": ".corp"}
    stage = Stage(make_setup(tmp_path, environment=environment))
    found = stage.services._environment_of(stage.web)
    stage.loop.close()
    assert found["https_proxy"] == environment["https_proxy"]
    assert found["no_proxy"] == found["NO_PROXY"]
    assert found["NO_PROXY"].startswith(".corp,love.cat,love.cat.localhost,localhost,")


def test_what_a_service_prints_is_passed_on(stage: Stage) -> None:
    stage.services.on_output(stage.web, b"one\ntwo\n")
    assert stage.voice.passed == [("web", b"one\ntwo\n")]


def test_the_json_of_a_service_has_these_keys(stage: Stage) -> None:
    (facts,) = stage.services.facts()
    assert {**facts, "log": ""} == {
        "name": "web",
        "state": "pending",
        "url": "https://love.cat",
        "argv": ["node", "app.js"],
        "pid": None,
        "port": 3000,
        "endpoint": None,
        "uptime": None,
        "restarts": 0,
        "last_exit": None,
        "log": "",
    }
    stage.services.on_listening(stage.web, ELSEWHERE)
    (facts,) = stage.services.facts()
    assert (facts["port"], facts["endpoint"]) == (5173, "[::1]:5173")
