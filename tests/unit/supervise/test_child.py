from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from devtls.supervise.child import Child, Command, NotSpawned, spawn
from devtls.system.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


class Watcher:
    """Spawns a command and keeps what it says and how it ends."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop = loop
        self.folder = folder
        self.said = b""
        self.codes: list[int] = []
        self.may_read = True

    def spawn(self, *argv: str, columns: int | None = None) -> Child:
        command = Command(argv, self.folder, ENVIRONMENT, columns)
        child = spawn(
            self.loop, command, received=self.receive, exited=self.codes.append, may_read=lambda: self.may_read
        )
        assert isinstance(child, Child)
        return child

    def receive(self, data: bytes) -> None:
        self.said += data

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.loop.turn(0.05)


@pytest.fixture
def watcher(loop: Loop, tmp_path: Path) -> Watcher:
    return Watcher(loop, tmp_path)


def test_a_command_runs_in_its_folder_and_its_own_session_with_nothing_to_read(watcher: Watcher) -> None:
    child = watcher.spawn("sh", "-c", 'pwd; cat; cut -d " " -f 6 /proc/self/stat; echo "$HOME"; exit 3')
    watcher.until(lambda: watcher.codes)
    child.close()
    assert watcher.said.split() == [str(watcher.folder).encode(), str(child.pid).encode()]
    assert watcher.codes == [3]


def test_the_last_words_come_before_the_exit_although_a_grandchild_keeps_the_pipe(watcher: Watcher) -> None:
    child = watcher.spawn("sh", "-c", "sleep 1000 & echo $!; echo the last words; kill -9 $$")
    watcher.until(lambda: watcher.codes)
    grandchild, words = watcher.said.split(b"\n", 1)
    assert (words, watcher.codes) == (b"the last words\n", [-signal.SIGKILL])
    child.close()
    os.kill(int(grandchild), signal.SIGKILL)


def test_a_grandchild_that_never_stops_printing_does_not_hold_up_the_exit(watcher: Watcher) -> None:
    child = watcher.spawn("sh", "-c", "yes & echo $!; exit 0")
    watcher.until(lambda: watcher.codes)
    child.close()
    os.kill(int(watcher.said.replace(b"y\n", b"")), signal.SIGKILL)


def test_python_does_not_hold_its_lines_back_on_a_pipe(watcher: Watcher) -> None:
    child = watcher.spawn(sys.executable, "-c", "import time; print('now'); time.sleep(1000)")
    watcher.until(lambda: watcher.said == b"now\n")
    os.kill(child.pid, signal.SIGKILL)
    watcher.until(lambda: watcher.codes)
    child.close()


def test_a_terminal_has_the_width_it_was_given_and_changes_no_byte(watcher: Watcher) -> None:
    child = watcher.spawn("sh", "-c", "test -t 1 && stty size <&1; printf 'a\\nb\\r\\n'; exec sleep 1000", columns=77)
    watcher.until(lambda: watcher.said.endswith(b"b\r\n"))
    assert watcher.said == b"24 77\na\nb\r\n"
    child.resize(55)
    os.kill(child.pid, signal.SIGKILL)
    watcher.until(lambda: watcher.codes)
    child.close()


def test_a_command_waits_while_nobody_may_read(watcher: Watcher) -> None:
    watcher.may_read = False
    child = watcher.spawn("sh", "-c", "echo hello; exec sleep 1000")
    for _ in range(5):
        watcher.loop.turn(0.02)
    assert watcher.said == b""
    watcher.may_read = True
    watcher.until(lambda: watcher.said == b"hello\n")
    os.kill(child.pid, signal.SIGKILL)
    watcher.until(lambda: watcher.codes)
    child.close()


def test_what_cannot_be_run_is_told_as_a_shell_would(loop: Loop, tmp_path: Path) -> None:
    plain, text = tmp_path / "plain", tmp_path / "text"
    plain.write_text("#!/bin/sh\n")
    text.write_text("no program")
    text.chmod(0o700)

    def why(*argv: str, folder: Path = tmp_path) -> NotSpawned | Child:
        command = Command(argv, folder, ENVIRONMENT)
        return spawn(loop, command, received=lambda _data: None, exited=lambda _code: None)

    assert why("no-such-command") == NotSpawned(127, "command not found: no-such-command")
    assert why("sh", folder=tmp_path / "gone") == NotSpawned(127, f"there is no directory {tmp_path / 'gone'}")
    assert why(str(plain)) == NotSpawned(126, f"{plain} cannot be run: Permission denied")
    assert why(str(text)) == NotSpawned(126, f"{text} is neither a program nor a script that begins with #!")
    assert why("sh", "a\0b") == NotSpawned(126, "'sh' cannot be run: embedded null byte")


def test_a_relative_program_is_found_from_its_folder(watcher: Watcher) -> None:
    script = watcher.folder / "run"
    script.write_text("#!/bin/sh\necho here\n")
    script.chmod(0o700)
    child = watcher.spawn("./run")
    watcher.until(lambda: watcher.codes)
    child.close()
    assert watcher.said == b"here\n"


def test_an_exit_that_nobody_has_seen_is_told_when_the_child_is_closed_and_only_once(watcher: Watcher) -> None:
    child = watcher.spawn("sh", "-c", "echo words; exit 3")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    child.close()
    assert (watcher.codes, watcher.said) == ([3], b"words\n")
    watcher.loop.turn(0)
    assert watcher.codes == [3]


def test_a_child_that_is_closed_before_its_end_tells_nothing_any_more(watcher: Watcher) -> None:
    child = watcher.spawn("sleep", "1000")
    child.close()
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    watcher.loop.turn(1)
    assert watcher.codes == []
