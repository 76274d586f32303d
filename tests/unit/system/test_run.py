from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from devtls.errors import CommandFailedError, DevtlsError
from devtls.system.run import Completed, in_child, run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_program_is_given_its_input_and_keeps_what_it_said() -> None:
    ended = run(["sh", "-c", "cat; echo warned >&2"], stdin=b"given\n")
    assert ended == Completed(("sh", "-c", "cat; echo warned >&2"), 0, b"given\n", "given\nwarned\n")


def test_no_shell_reads_the_words() -> None:
    assert run(["echo", "$HOME; *"]).stdout == b"$HOME; *\n"


def test_the_environment_is_the_one_that_is_given() -> None:
    assert run(["/usr/bin/env"], environment={"ONLY": "this"}).said == "ONLY=this\n"


def test_what_is_no_text_does_not_break_it() -> None:
    assert run(["printf", r"\377"]).said == "\ufffd"


def test_a_program_that_fails_is_told_with_what_was_run_and_what_it_said() -> None:
    with pytest.raises(CommandFailedError) as failed:
        run(["sh", "-c", "echo out; echo trouble >&2; exit 3"])
    assert (failed.value.status, failed.value.said) == (3, "out\ntrouble")
    assert str(failed.value).startswith("`sh -c 'echo out; echo trouble >&2; exit 3'` failed with exit status 3\n")


def test_a_failure_that_is_an_answer_is_returned() -> None:
    assert run(["sh", "-c", "exit 3"], check=False).status == 3


def test_a_program_that_was_killed_has_the_negative_signal_as_its_status() -> None:
    assert run(["sh", "-c", "kill -9 $$"], check=False).status == -9


def test_a_program_that_is_not_there_is_a_fact() -> None:
    with pytest.raises(DevtlsError, match="there is no program /nowhere/nginx"):
        run(["/nowhere/nginx"])


def test_a_program_that_may_not_be_run_is_a_fact(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(DevtlsError, match=r"plain cannot be run: Permission denied"):
        run([str(tmp_path / "plain")])


def test_a_program_of_no_known_format_is_a_fact(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"plain")
    (tmp_path / "plain").chmod(0o755)
    with pytest.raises(DevtlsError, match=r"plain cannot be run: Exec format error"):
        run([str(tmp_path / "plain")])


def test_a_program_that_does_not_end_is_ended_and_told() -> None:
    with pytest.raises(DevtlsError, match="sleep did not end within 0 s"):
        run(["sleep", "1000"], timeout=0.01)


def test_what_a_child_imports_is_gone_with_it() -> None:
    name = "this"  # the Zen: nobody else imports it

    def work() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # it prints itself
        __import__(name)

    in_child(work)
    assert name not in sys.modules


def test_what_a_child_writes_is_there_afterwards(tmp_path: Path) -> None:
    in_child((tmp_path / "made").touch)
    assert (tmp_path / "made").exists()


def test_a_users_mistake_in_a_child_arrives_with_its_cure() -> None:
    def work() -> None:
        raise DevtlsError("the disk is full", "Make room.", "  df -h")

    with pytest.raises(DevtlsError) as failed:
        in_child(work)
    assert (failed.value.message, failed.value.cure) == ("the disk is full", ("Make room.", "  df -h"))


def test_a_bug_in_a_child_shows_its_traceback_and_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise KeyError("a bug")

    with pytest.raises(RuntimeError, match="a child process ended with 1"):
        in_child(work)
    assert "KeyError: 'a bug'" in capfd.readouterr().err


def test_a_child_that_exits_does_not_come_back_into_the_parents_frames(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="a child process ended with 1"):
        in_child(sys.exit)
    assert "SystemExit" in capfd.readouterr().err
