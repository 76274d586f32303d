from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from devtls.checks.prober import PATIENCE, PATIENCE_EACH, Prober
from devtls.checks.question import Domain, Question
from devtls.model import Check, Verdict
from devtls.system import processes
from devtls.system.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Checks = tuple[Check, ...]


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """A prober and what it answers."""

    def __init__(self, folder: Path) -> None:
        self.question = Question((Domain("localhost", folder / "no root.pem", 1),), timeout=2.0)
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.prober = Prober(self.loop, os.environ)
        self.answers: list[Checks] = []
        self.previews: list[Checks] = []

    def ask(self) -> None:
        self.prober.ask(self.question, self.answers.append, self.previews.append)

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(3000):
            if condition():
                return
            self.loop.turn(0.01)
        pytest.fail("waited in vain")

    @property
    def pid(self) -> int:
        assert self.prober._process
        return self.prober._process.pid


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.prober.cool()
    stage.loop.close()


def test_questions_are_answered_one_after_the_other_by_one_process(stage: Stage) -> None:
    pids: list[int] = []
    for _ in range(2):
        stage.answers.clear()
        stage.ask()
        assert stage.prober.is_busy
        stage.until(lambda: stage.answers)
        assert not stage.prober.is_busy
        pids.append(stage.pid)
    assert pids[0] == pids[1]
    (check, *_others) = stage.answers[0]
    assert (check.verdict, check.code) == (Verdict.FAILED, "root-unreadable")
    assert stage.previews == []


def test_the_process_is_started_before_the_first_question_and_once(stage: Stage) -> None:
    stage.prober.warm()
    pid = stage.pid
    stage.prober.warm()
    stage.ask()
    assert stage.pid == pid
    assert os.getsid(pid) == pid  # a Ctrl-C on the terminal is not for it


def test_a_process_that_is_cooled_is_gone(stage: Stage) -> None:
    stage.prober.warm()
    pid = stage.pid
    stage.prober.cool()
    stage.prober.cool()
    assert processes.identify(pid) is None
    stage.loop.turn(0)
    assert stage.answers == []


def test_a_process_that_dies_is_an_answer_and_the_next_question_gets_another(stage: Stage) -> None:
    stage.ask()
    os.kill(stage.pid, signal.SIGKILL)
    stage.until(lambda: stage.answers)
    assert [(check.code, check.fact) for check in stage.answers[0]] == [
        ("prober-failed", "the checks ended without an answer")
    ]
    stage.ask()
    stage.until(lambda: len(stage.answers) == 2)
    assert stage.answers[1][0].code == "root-unreadable"


def test_a_process_that_hangs_is_an_answer(stage: Stage) -> None:
    stage.ask()
    os.kill(stage.pid, signal.SIGSTOP)
    pid = stage.pid
    stage.clock.now += PATIENCE + PATIENCE_EACH
    stage.until(lambda: stage.answers)
    assert [check.fact for check in stage.answers[0]] == ["the checks did not end in time"]
    assert processes.identify(pid) is None


def test_an_answer_in_time_leaves_no_alarm(stage: Stage) -> None:
    stage.ask()
    stage.until(lambda: stage.answers)
    stage.clock.now += PATIENCE + PATIENCE_EACH
    stage.loop.turn(0)
    assert len(stage.answers) == 1


def test_a_file_in_the_projects_folder_is_not_imported(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "socket", "ssl", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')", "utf-8")
    monkeypatch.chdir(tmp_path)
    stage.ask()
    stage.until(lambda: stage.answers)
    assert stage.answers[0][0].code == "root-unreadable"
