from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from devtls.model import Check, Endpoint, Verdict
from devtls.nginx.access import SeenHandshake
from devtls.session.certificates import Certificates
from devtls.session.checking import ASK_AGAIN, KEPT_PATHS, OWN_AGENT, RECHECK, WARM_UP, Checking
from devtls.system.loop import Loop
from tests.unit.session.stage import Clock, FakeVoice, make_setup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from devtls.checks import Question
    from devtls.session.setup import Setup

GREEN = (Check("https://love.cat", Verdict.PASSED, "200"), Check("wss://love.cat/chat", Verdict.PASSED, "101"))
RED = (GREEN[0], Check("wss://love.cat/chat", Verdict.FAILED, "404"))
UNKNOWN = (GREEN[0], Check("wss://love.cat", Verdict.UNKNOWN, "no endpoint found"))


class FakeProber:
    """Takes one question at a time and answers when it is told."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.answered: Callable[[tuple[Check, ...]], None] | None = None
        self.previewed: Callable[[tuple[Check, ...]], None] | None = None
        self.is_cold = False

    @property
    def is_busy(self) -> bool:
        return self.answered is not None

    def ask(self, question: Question, answered: Any, previewed: Any) -> None:
        assert not self.is_busy
        self.asked.append(question)
        self.answered, self.previewed, self.is_cold = answered, previewed, False

    def answer(self, checks: tuple[Check, ...]) -> None:
        assert self.answered
        answered, self.answered = self.answered, None
        answered(checks)

    def cool(self) -> None:
        self.is_cold = True


class FakeServices:
    """Services of which one is at every path."""

    def target_of(self, path: str) -> Endpoint:
        return Endpoint("127.0.0.1", 3000 if path == "/" else 3001)

    def answers_at(self, path: str) -> bool:
        return path == "/"


class Stage:
    """The checks of a session, and their owner, who notes what they come to."""

    def __init__(self, setup: Setup) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.voice = FakeVoice()
        self.starting = True
        self.ready_to_ask = True
        self.conclusions: list[tuple[bool, bool]] = []
        certificates = Certificates(self.loop, setup, self.voice, self)  # type: ignore[arg-type] # never watched here
        services = FakeServices()
        self.checking = Checking(self.loop, setup, services, certificates, self.voice, self)  # type: ignore[arg-type] # fakes
        self.prober = FakeProber()
        self.checking._prober = self.prober  # type: ignore[assignment] # it does what is asked of one
        self.checking._since = time.monotonic() - WARM_UP  # the app had its time to warm up

    def can_be_asked(self) -> bool:
        return self.ready_to_ask

    def names(self) -> tuple[str, ...]:
        return ("love.cat",)

    def is_starting(self) -> bool:
        return self.starting

    def concluded(self, *, is_red: bool, is_news: bool) -> None:
        self.conclusions.append((is_red, is_news))
        self.starting = False

    def turn(self) -> None:
        for _ in range(3):
            self.loop.turn(0)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.turn()

    def ask(self) -> None:
        self.checking.soon()
        self.turn()

    def see(self, path: str, status: str = "101", agent: str = "Firefox") -> None:
        self.checking.handshake_seen(SeenHandshake(path, status, "love.cat", agent))
        self.turn()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(make_setup(tmp_path))
    yield stage
    stage.loop.close()


def test_the_question_is_about_the_domains_their_certificates_and_the_app(stage: Stage, tmp_path: Path) -> None:
    stage.ask()
    (question,) = stage.prober.asked
    ((domain),) = question.domains
    assert (domain.name, domain.root.name, domain.serial) == ("love.cat", "root.pem", 7)
    assert (question.port, question.service, question.websocket_path) == (443, Endpoint("127.0.0.1", 3000), None)
    assert question.site == make_setup(tmp_path).folder / "site.conf"


def test_a_websocket_path_that_the_user_named_is_asked_where_it_leads(tmp_path: Path) -> None:
    stage = Stage(make_setup(tmp_path, websocket_path="/api/chat"))
    stage.ask()
    assert (stage.prober.asked[0].websocket_path, stage.prober.asked[0].service) == (
        "/api/chat",
        Endpoint("127.0.0.1", 3001),
    )
    stage.loop.close()


def test_nothing_is_asked_before_all_is_there(stage: Stage) -> None:
    stage.ready_to_ask = False
    stage.ask()
    assert stage.prober.asked == []


def test_several_reasons_to_ask_are_one_question(stage: Stage) -> None:
    for _ in range(5):
        stage.checking.soon()
    stage.turn()
    assert len(stage.prober.asked) == 1


def test_a_reason_while_a_question_is_open_is_asked_after_it(stage: Stage) -> None:
    stage.ask()
    stage.ask()
    stage.prober.answer(GREEN)
    stage.pass_time(ASK_AGAIN)
    assert len(stage.prober.asked) == 2


def test_green_is_told_and_the_prober_sent_home(stage: Stage) -> None:
    stage.ask()
    stage.prober.answer(GREEN)
    assert (stage.conclusions, stage.checking.checks, stage.prober.is_cold) == ([(False, True)], GREEN, True)


def test_unknown_is_not_red(stage: Stage) -> None:
    stage.ask()
    stage.prober.answer(UNKNOWN)
    assert stage.conclusions == [(False, True)]


def test_an_app_that_warms_up_is_asked_again_before_red_is_told(stage: Stage) -> None:
    stage.checking.begin()
    stage.ask()
    stage.prober.answer(RED)
    assert stage.conclusions == []
    stage.pass_time(ASK_AGAIN)
    stage.prober.answer(GREEN)
    assert stage.conclusions == [(False, True)]


def test_red_is_asked_again_ever_more_seldom_and_told_when_it_is_news(stage: Stage) -> None:
    stage.ask()
    for number, pause in enumerate((*RECHECK, RECHECK[-1])):
        stage.prober.answer(RED)
        assert stage.conclusions[number] == (True, number == 0)
        stage.pass_time(pause - 0.1)
        assert len(stage.prober.asked) == number + 1
        stage.pass_time(0.1)
        assert len(stage.prober.asked) == number + 2
    stage.prober.answer(GREEN)
    assert stage.conclusions[-1] == (False, True)


def test_green_is_never_asked_again(stage: Stage) -> None:
    stage.ask()
    stage.prober.answer(GREEN)
    stage.pass_time(100_000)
    assert len(stage.prober.asked) == 1


def test_green_at_the_first_pong_is_ready_and_red_after_it_is_told(stage: Stage) -> None:
    stage.ask()
    assert stage.prober.previewed
    stage.prober.previewed(GREEN)
    assert stage.conclusions == [(False, True)]
    stage.prober.answer(RED)
    assert stage.conclusions == [(False, True), (True, True)]


def test_a_preview_of_what_is_known_says_nothing(stage: Stage) -> None:
    stage.starting = False
    stage.ask()
    assert stage.prober.previewed
    stage.prober.previewed(GREEN)
    assert stage.conclusions == []


def test_nothing_is_asked_or_told_after_the_stop(stage: Stage) -> None:
    stage.ask()
    stage.checking.stop()
    stage.prober.answer(RED)
    stage.ask()
    stage.pass_time(100)
    assert (len(stage.prober.asked), stage.conclusions, stage.prober.is_cold) == (1, [], True)


def ready(stage: Stage) -> None:
    stage.ask()
    stage.prober.answer(GREEN)


def test_a_handshake_that_fails_is_told_and_asked_about_at_once(stage: Stage) -> None:
    ready(stage)
    stage.see("/socket", "404")
    assert stage.voice.said == ["a WebSocket handshake on /socket was answered 404"]
    assert stage.prober.asked[-1].seen_paths == ("/socket",)


def test_a_browser_that_fails_over_and_over_is_told_once(stage: Stage) -> None:
    ready(stage)
    stage.see("/chat", "404")
    stage.prober.answer(RED)
    for _ in range(3):
        stage.see("/chat", "404")
        stage.prober.answer(RED)
    assert len(stage.voice.said) == 1


def test_a_browser_that_fails_over_and_over_does_not_multiply_our_own_questions(stage: Stage) -> None:
    ready(stage)
    for _ in range(10):
        stage.see("/chat", "404")
        stage.prober.answer(RED)
    before = len(stage.prober.asked)
    stage.pass_time(RECHECK[-1])
    stage.prober.answer(GREEN)
    stage.pass_time(RECHECK[-1])
    assert len(stage.prober.asked) == before + 1


def test_a_handshake_on_a_new_path_is_asked_about_and_one_that_was_asked_is_not(stage: Stage) -> None:
    ready(stage)
    stage.see("/chat")
    assert len(stage.prober.asked) == 1
    stage.see("/other")
    assert len(stage.prober.asked) == 2
    stage.prober.answer(GREEN)
    stage.see("/other")
    assert (len(stage.prober.asked), stage.voice.said) == (2, [])


def test_our_own_probes_and_what_comes_before_the_outcome_are_passed_over(stage: Stage) -> None:
    stage.see("/early", "404")
    ready(stage)
    stage.see("/ours", "404", agent=f"{OWN_AGENT}/0.1")
    assert (len(stage.prober.asked), stage.voice.said) == (1, [])


def test_the_newest_paths_are_remembered_each_once(stage: Stage) -> None:
    ready(stage)
    for number in [*range(KEPT_PATHS + 2), 5]:
        stage.see(f"/{number}")
        if stage.prober.is_busy:
            stage.prober.answer(GREEN)
    assert stage.checking._seen_paths == [f"/{number}" for number in (5, 9, 8, 7, 6, 4, 3, 2)]
