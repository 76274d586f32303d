from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from devtls.ca.profile import issue_leaf, make_authority
from devtls.trust.clients import CLIENTS, Call, Client, FoundClient, Roots, Scene
from devtls.trust.handshakes import Question, ask_all, who_still_trusts
from devtls.trust.listener import Answer, Certificate

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)
(PYTHON,) = (each for each in CLIENTS if each.name == "Python")


def client_that(source: str, patience: float = 10.0) -> FoundClient:
    def calls(scene: Scene) -> tuple[Call, ...]:
        return (Call((scene.program, "-I", "-S", "-c", source), scene.targets),)

    return FoundClient(Client("odd", ("odd",), Roots.OWN, calls, patience), sys.executable)


@pytest.fixture
def question(tmp_path: Path) -> Question:
    authority = make_authority(("love.cat",), owner="dev@machine", now=NOW)
    (tmp_path / "root.pem").write_bytes(authority.root)
    leaf = issue_leaf(authority.issuer, "love.cat", now=NOW)
    certificate = Certificate("love.cat", leaf.fullchain, leaf.key)
    environment = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(tmp_path / "root.pem")}
    return Question(FoundClient(PYTHON, sys.executable), (certificate,), environment)


def test_a_client_accepts_with_the_root_and_refuses_without(question: Question, tmp_path: Path) -> None:
    (tmp_path / "none.pem").touch()
    without = Question(question.found, question.certificates, {"SSL_CERT_FILE": str(tmp_path / "none.pem")})
    (yes,), (no,) = ask_all([question, without])
    assert (yes.answer, no.answer) == (Answer.ACCEPTED, Answer.REFUSED)


def test_who_still_trusts_is_named_with_the_host(question: Question, tmp_path: Path) -> None:
    (tmp_path / "none.pem").touch()
    forgotten = {"SSL_CERT_FILE": str(tmp_path / "none.pem")}
    assert who_still_trusts(question.certificates, [question.found], question.environment) == (("Python", "love.cat"),)
    assert who_still_trusts(question.certificates, [question.found], forgotten) == ()


def test_a_stub_that_asks_nothing_is_quoted(question: Question) -> None:
    stub = client_that("raise SystemExit('Unable to locate a Java Runtime.')")
    ((told,),) = ask_all([Question(stub, question.certificates, {})])
    assert (told.answer, told.said) == (Answer.SILENT, "Unable to locate a Java Runtime.")


def test_a_client_that_hangs_is_ended(question: Question) -> None:
    hang = client_that("import signal; signal.pause()", patience=0.5)
    ((told,),) = ask_all([Question(hang, question.certificates, {})])
    assert (told.answer, told.said) == (Answer.SILENT, "did not ask in time")


def test_a_program_that_cannot_be_started_is_one_fact(question: Question) -> None:
    gone = FoundClient(PYTHON, "/nonexistent/python3")
    ((told,),) = ask_all([Question(gone, question.certificates, {})])
    assert told.said == "cannot be started: No such file or directory"
