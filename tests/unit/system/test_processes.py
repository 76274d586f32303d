from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtls.model import Endpoint
from devtls.system.processes import (
    Ending,
    Identity,
    descendants,
    describe,
    end,
    find_marked,
    find_tree,
    find_using,
    holders,
    identify,
    is_alive,
    is_run_by_others,
    listening,
    send,
    survivors,
    zombies,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARKER = "DEVTLS_TEST_MARK"


class Shells:
    """Starts shells with a mark, in sessions of their own, and ends what is left of them."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        self.started: list[subprocess.Popen[bytes]] = []
        self.leaders: list[Identity] = []

    def start(self, script: str, *, is_marked: bool = True) -> Identity:
        """Start a script that prints a line when it is as it should be."""
        marked = {MARKER: self.mark} if is_marked else {}
        process = subprocess.Popen(
            ["sh", "-c", script],
            env={"PATH": os.environ["PATH"], **marked},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(process)
        assert process.stdout
        assert process.stdout.readline()
        identity = identify(process.pid)
        assert identity
        self.leaders.append(identity)
        return identity

    def close(self) -> None:
        end(self.find, grace=0.0)
        for process in self.started:
            process.wait()
            if process.stdout:
                process.stdout.close()

    def find(self) -> tuple[Identity, ...]:
        return find_tree(marker=(MARKER, self.mark), recorded=self.leaders)


@pytest.fixture
def shells() -> Iterator[Shells]:
    shells = Shells()
    yield shells
    shells.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_a_process_is_its_pid_and_its_start() -> None:
    me = identify(os.getpid())
    assert me
    assert is_alive(me)
    assert not is_alive(Identity(me.pid, me.started + 1))
    assert identify(2**22 + 1) is None


def test_a_zombie_is_not_alive_and_is_ours_to_wait_for() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identify(process.pid) is None
    assert process.pid in {zombie.pid for zombie in zombies()}
    process.wait()
    assert process.pid not in {zombie.pid for zombie in zombies()}


def test_a_name_with_parentheses_and_spaces_does_not_confuse() -> None:
    script = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'a) Z (b'); print('x', flush=True); time.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert identify(process.pid)
        process.kill()


def test_a_process_whose_main_thread_has_ended_before_the_others_is_alive() -> None:
    script = """
import ctypes, threading, time
threading.Thread(target=lambda: time.sleep(1000)).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        until(lambda: b") Z " in Path(f"/proc/{process.pid}/stat").read_bytes())
        assert identify(process.pid)
        process.kill()


def test_descendants_are_found_through_generations(shells: Shells) -> None:
    leader = shells.start("sh -c 'sleep 1000 & echo ready; wait' & wait")
    found = descendants(leader.pid)
    assert len(found) == 2
    assert {identity.pid for identity in found} < {identity.pid for identity in descendants(os.getpid())}


def test_what_we_run_ourselves_is_not_run_by_others(shells: Shells) -> None:
    module = f"devtls.test.{shells.mark}"
    shells.start(f"sh -c 'echo; sleep 1000' sh -m {module} x")
    assert not is_run_by_others(module)


def test_the_marked_are_found_wherever_they_have_gone(shells: Shells) -> None:
    leader = shells.start("(setsid sleep 1000 & echo ready); exec sleep 1000")
    until(lambda: len(find_marked(MARKER, shells.mark)) == 2)
    assert leader in find_marked(MARKER, shells.mark)
    assert find_marked(MARKER, shells.mark[:-1]) == ()


def test_who_uses_a_folder_is_found_by_title_and_file(shells: Shells, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    using = shells.start(f"exec 9> {tmp_path}/file; echo; exec sleep 1000")
    shells.start("echo; exec sleep 1000")
    until(lambda: find_using(link, "sleep\x00", unless_below="nginx") == (using,))
    assert find_using(tmp_path, "sh\x00", unless_below="nginx") == ()
    assert find_using(tmp_path / "file", "sleep\x00", unless_below="nginx") == ()
    assert find_using(link, "sleep\x00", unless_below=Path("/proc/self/cmdline").read_text("utf-8")) == ()


def test_a_tree_holds_what_the_leader_left_in_its_session(shells: Shells) -> None:
    leader = shells.start("sleep 1000 & sleep 1000 & echo ready; wait", is_marked=False)
    until(lambda: len(descendants(leader.pid)) == 2)
    os.kill(leader.pid, signal.SIGKILL)
    shells.started[0].wait()
    left = find_tree(recorded=[leader])
    assert len(left) == 2
    assert all(os.getsid(each.pid) == leader.pid for each in left)


def test_a_pid_that_is_somebody_elses_by_now_names_neither_process_nor_session(shells: Shells) -> None:
    leader = shells.start("sleep 1000 & echo ready; wait", is_marked=False)
    assert find_tree(recorded=[Identity(leader.pid, leader.started - 1)]) == ()


def test_who_is_excluded_is_spared_with_all_below(shells: Shells) -> None:
    ours = shells.start("sleep 1000 & echo ready; wait")
    keeper = shells.start("sleep 1000 & echo ready; wait")
    found = survivors((MARKER, shells.mark), excluding=[keeper.pid])
    assert ours in found
    assert not {keeper.pid, *(identity.pid for identity in descendants(keeper.pid))} & {i.pid for i in found}


def test_we_and_our_parents_never_belong_to_a_tree() -> None:
    parent, me = identify(os.getppid()), identify(os.getpid())
    assert parent
    assert me
    found = find_tree(recorded=[parent, me])
    assert not {parent, me} & set(found)


def test_a_signal_goes_to_this_very_process_only(shells: Shells) -> None:
    leader = shells.start("echo ready; exec sleep 1000")
    send([Identity(leader.pid, leader.started + 1), Identity(2**22 + 1, 0)], signal.SIGKILL)
    assert is_alive(leader)
    send([leader], signal.SIGKILL)
    assert shells.started[0].wait() == -signal.SIGKILL


def test_a_stopped_process_is_continued_to_see_its_term(shells: Shells) -> None:
    leader = shells.start("echo ready; exec sleep 1000")
    send([leader], signal.SIGSTOP)
    send([leader], signal.SIGTERM)
    assert shells.started[0].wait() == -signal.SIGTERM


def test_the_polite_end_by_term_and_nobody_is_killed(shells: Shells) -> None:
    shells.start("sleep 1000 & echo ready; wait")
    assert end(shells.find, grace=30) == ()
    assert shells.find() == ()


def test_the_stubborn_are_killed_after_the_grace_and_told(shells: Shells) -> None:
    stubborn = shells.start("trap '' TERM; echo ready; while :; do sleep 1000; done")
    assert stubborn in end(shells.find, grace=0.1)
    assert shells.find() == ()


def test_an_ending_says_whom_it_waits_for_and_can_be_hurried(shells: Shells) -> None:
    stubborn = shells.start("trap '' TERM; echo ready; while :; do sleep 1000; done")
    ending = Ending(shells.find, grace=1000)
    assert ending.step() is not None
    assert stubborn in ending.waiting_for
    ending.kill_now()
    until(lambda: ending.step() is None)
    assert stubborn in ending.killed
    assert ending.waiting_for == ()


def test_an_ending_gives_up_on_who_cannot_be_ended() -> None:
    now = [0.0]
    me = identify(os.getpid())
    assert me

    def find() -> tuple[Identity, ...]:
        return (immortal,)

    # The kernel's own thread: signals to it are ignored, or not ours to send.
    immortal = identify(2) or me
    if immortal == me:  # a pid namespace without kernel threads: one that only looks alive
        immortal = Identity(me.pid, me.started + 1)
    ending = Ending(find, grace=1, clock=lambda: now[0])
    assert ending.step() is not None
    now[0] = 2
    assert ending.step() is not None
    now[0] = 5
    assert ending.step() is None
    assert ending.waiting_for == (immortal,)


@pytest.mark.parametrize(
    ("family", "host", "seen"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),  # noqa: S104 - a port of the kernel's choice, for a moment
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "::1"),
    ],
)
def test_where_a_process_listens_is_seen_in_both_families(family: int, host: str, seen: str) -> None:
    with socket.socket(family) as server:
        server.bind((host, 0))
        server.listen()
        here = Endpoint(seen, server.getsockname()[1])
        assert (os.getpid(), here) in listening([os.getpid()])
        assert [(holder.endpoint, holder.process, holder.uid) for holder in holders(here.port)] == [
            (here, identify(os.getpid()), os.geteuid())
        ]
    assert here not in {endpoint for _pid, endpoint in listening([os.getpid()])}
    assert holders(here.port) == ()


def test_a_process_is_described_by_its_words_fit_for_a_terminal(shells: Shells) -> None:
    leader = shells.start("echo ready; exec sleep 1000")
    until(lambda: describe(leader.pid) == "sleep 1000")
    evil = shells.start("printf 'x\\n'; : '\033[2J'; while :; do sleep 1000; done")
    assert "\033" not in describe(evil.pid)
    assert describe(2**22 + 1) == "a process that is gone"
