"""Supervision with real processes: what is started is ended, whatever happens to whom, and no line is lost.

This file is also the program under test: run as a script it supervises the services of a scene, as `devtls up` would.
The oracle is independent of devtls: a tag on the command line of every process that a scene starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import pty
import secrets
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtls.model import Endpoint, Service
from devtls.supervise import state
from devtls.supervise.guardian import detach, guard
from devtls.supervise.output import LogFile, Screen
from devtls.supervise.reaper import Reaper
from devtls.supervise.service import ServiceRunner
from devtls.system.loop import Loop
from devtls.system.processes import SERVICE_MARKER, SESSION_MARKER, Identity, end, find_marked, identify, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = float(os.environ.get("DEVTLS_ROUNDS", "1"))
PATIENCE = 30.0 * max(1.0, float(os.environ.get("DEVTLS_SLOWNESS", "1")))  # seconds; the one unit of all waits

KID = r"""
import os, signal, socket, sys, time

def ignore():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

def serve(port):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    print("listening", flush=True)
    while True:
        server.accept()[0].close()

def rest():
    while True:
        time.sleep(1000)

def child(*steps):
    if os.fork() == 0:
        for step in steps:
            step()
        rest()

def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        ignore()
        rest()
    os.wait()

def chatter(count):
    for start in range(0, count, 1000):
        sys.stdout.write("".join("line %d of many, which is as long as a line in a log\n" % n
                                 for n in range(start, min(count, start + 1000))))
    sys.stdout.flush()

mode, port = sys.argv[1], int(os.environ["PORT"])
if mode == "stubborn":
    ignore()
elif mode == "family":
    child()
    child(os.setsid)
elif mode == "stubborn-child":
    child(ignore)
elif mode == "daemon":
    daemon()
elif mode == "npm":
    child(lambda: serve(port))
    rest()
elif mode == "elsewhere":
    port += 1
elif mode == "background":
    if os.fork():
        sys.exit(0)
    os.setsid()
elif mode == "crash":
    print("the reason")
    sys.exit(3)
elif mode == "chatter":
    chatter(int(sys.argv[3]))
elif mode == "noise":
    if os.fork() == 0:
        serve(port)
    while True:
        chatter(1000)
elif mode == "erased":
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        words = [sys.executable, sys.argv[0], "stubborn", sys.argv[2], "hidden"]
        os.execve(sys.executable, words, {"PORT": str(port + 1)})
    os.wait()
serve(port)
"""


class Scene:
    """The program under test: supervises the services of a specification until it is told to stop."""

    def __init__(self, specification: dict[str, Any]) -> None:
        self.facts = Path(specification["facts"])
        self.grace = float(specification["grace"])
        self.loop = Loop()
        self.reaper = Reaper(self.loop)
        self.screen = Screen(1, width=6)
        self.interrupts = 0
        self.runners = {
            name: ServiceRunner(
                self.loop,
                Service(name, tuple(entry["argv"]), entry["port"], Path("/")),
                environment={**os.environ, "PORT": str(entry["port"])},
                session=specification["session"],
                listener=self,
                log=LogFile(self.facts.with_name(f"{name}.log")),
                columns=entry.get("columns"),
                may_read=self.screen.has_room,
            )
            for name, entry in specification["services"].items()
        }

    def run(self) -> int:
        self.loop.on_signal(signal.SIGTERM, lambda: self.stop("TERM"))
        self.loop.on_signal(signal.SIGHUP, lambda: self.stop("HUP"))
        self.loop.on_signal(signal.SIGINT, self.interrupt)
        self.note(supervisor=os.getpid(), guardian=os.getppid())
        for runner in self.runners.values():
            runner.start()
        self.loop.run()
        self.screen.close()
        self.loop.close()
        return 0

    def interrupt(self) -> None:
        self.interrupts += 1
        if self.interrupts == 1:
            self.stop("INT")
        else:
            for runner in self.runners.values():
                runner.kill_now()

    def stop(self, why: str) -> None:
        self.note(stop=why)
        for runner in self.runners.values():
            runner.stop(self.grace)

    def note(self, **fact: Any) -> None:
        with self.facts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(fact) + "\n")

    def on_output(self, service: Service, lines: bytes) -> None:
        self.screen.write(service.name, lines)

    def on_state(self, service: Service, now: state.State) -> None:
        pid = self.runners[service.name].pid
        self.note(service=service.name, state=type(now).__name__, detail=repr(now), pid=pid)
        if all(isinstance(runner.state, state.Stopped) for runner in self.runners.values()):
            self.loop.stop()

    def on_listening(self, service: Service, endpoint: Endpoint) -> None:
        self.note(service=service.name, listening=str(endpoint))

    def on_candidates(self, service: Service, endpoints: tuple[Endpoint, ...]) -> None:
        self.note(service=service.name, candidates=[str(endpoint) for endpoint in endpoints])
        self.runners[service.name].adopt(endpoints[0])


def main(path: str) -> int:
    specification = json.loads(Path(path).read_text(encoding="utf-8"))
    spared = specification["spared"]

    def run(_writer: int = -1) -> int:
        marker = (SESSION_MARKER, specification["session"])
        return guard(lambda: Scene(specification).run(), marker=marker, excluding=lambda: spared)

    if specification["is_detached"]:
        detach(Path(specification["facts"]).with_name("detached.log"), run)
        return 0
    return run()


class Stage:
    """Writes a specification, starts the program on it, and looks at what is true outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tag = f"tag-{secrets.token_hex(8)}"
        self.session = secrets.token_hex(16)
        self.kid = folder / "kid.py"
        self.kid.write_text(KID, encoding="utf-8")
        self.facts = folder / "facts"
        self.services: dict[str, dict[str, Any]] = {}
        self.spared: list[int] = []
        self.grace = 30.0
        self.is_detached = False
        self.programs: list[subprocess.Popen[bytes]] = []

    def add(self, name: str, mode: str, *more: str, argv: list[str] | None = None, columns: int | None = None) -> int:
        port = free_port()
        words = argv or [sys.executable, str(self.kid), mode, self.tag, *more]
        self.services[name] = {"argv": words, "port": port, "columns": columns}
        return port

    def add_stubborn_ones(self) -> None:
        for mode in ("polite", "stubborn", "family", "stubborn-child", "daemon"):
            self.add(mode, mode)

    def start(self, **how: Any) -> subprocess.Popen[bytes]:
        path = self.folder / "specification"
        specification = {
            "facts": str(self.facts),
            "session": self.session,
            "grace": self.grace,
            "services": self.services,
            "spared": self.spared,
            "is_detached": self.is_detached,
        }
        path.write_text(json.dumps(specification), encoding="utf-8")
        how.setdefault("stdout", subprocess.DEVNULL)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        program = subprocess.Popen([sys.executable, __file__, str(path)], env=environment, **how)
        self.programs.append(program)
        return program

    def close(self) -> None:
        """End what a failed test leaves behind, so that the next one has nothing of it."""
        supervisors = self.read("supervisor")
        for program in self.programs:
            if program.poll() is None:
                for pid in (*supervisors, program.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            program.wait()
            if program.stdout:
                program.stdout.close()
        for pid, _line in tagged(self.tag):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def read(self, key: str, service: str | None = None) -> list[Any]:
        lines = self.facts.read_text(encoding="utf-8").splitlines() if self.facts.exists() else []
        facts = [json.loads(line) for line in lines if line.endswith("}")]
        return [fact[key] for fact in facts if key in fact and service in (None, fact.get("service"))]

    def wait_until_ready(self) -> None:
        until(lambda: all("Ready" in self.read("state", name) for name in self.services))

    def alive(self) -> list[str]:
        return [line for _pid, line in tagged(self.tag)]

    def pids_of(self, mode: str) -> list[int]:
        return [pid for pid, line in tagged(self.tag) if f" {mode} " in line]


def tagged(tag: str) -> list[tuple[int, str]]:
    """The living processes with this word on their command line, as /proc tells it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if tag in words and b") Z " not in (entry / "stat").read_bytes():
                    found.append((int(entry.name), words))
    return found


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.02)


PORTS = itertools.count(20000 + secrets.randbelow(5000) * 2, 2)


def free_port() -> int:
    """An even port below the ephemeral ones, so that no client socket takes it meanwhile; the odd one is free too."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

import pytest  # noqa: E402 - the program under test is done above, and pytest is no part of it


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def test_term_ends_every_process_of_stubborn_services_after_the_grace(stage: Stage) -> None:
    stage.add_stubborn_ones()
    stage.grace = 1.0
    program = stage.start()
    stage.wait_until_ready()
    program.send_signal(signal.SIGTERM)
    assert program.wait(PATIENCE) == 0
    assert stage.alive() == []
    assert stage.read("stop") == ["TERM"]


def test_a_second_interrupt_kills_at_once_what_ignores_the_first(stage: Stage) -> None:
    stage.add_stubborn_ones()
    program = stage.start()
    stage.wait_until_ready()
    program.send_signal(signal.SIGINT)
    until(lambda: "Stopped" in stage.read("state", "polite"))
    assert stage.pids_of("stubborn")
    program.send_signal(signal.SIGINT)
    assert program.wait(PATIENCE) == 0
    assert stage.alive() == []


def test_closing_the_terminal_ends_everything(stage: Stage) -> None:
    stage.add_stubborn_ones()
    stage.grace = 1.0
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    program = stage.start(
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    stage.wait_until_ready()
    os.close(ours)
    assert program.wait(PATIENCE) == 0
    assert stage.alive() == []
    assert stage.read("stop") == ["HUP"]


def test_control_c_on_a_terminal_reaches_the_supervisor_once(stage: Stage) -> None:
    stage.add("web", "stubborn")
    stage.grace = 1.0
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    program = stage.start(
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    stage.wait_until_ready()
    os.write(ours, b"\x03")
    assert program.wait(PATIENCE) == 0
    os.close(ours)
    assert stage.read("stop") == ["INT"]
    assert stage.alive() == []


def test_a_killed_guardian_makes_the_supervisor_stop_in_good_order(stage: Stage) -> None:
    stage.add_stubborn_ones()
    stage.grace = 1.0
    program = stage.start()
    stage.wait_until_ready()
    program.kill()
    program.wait(PATIENCE)
    until(lambda: not stage.alive())
    assert stage.read("stop") == ["TERM"]


def test_a_killed_supervisor_leaves_nothing_because_the_guardian_sweeps(stage: Stage) -> None:
    stage.add_stubborn_ones()
    program = stage.start()
    stage.wait_until_ready()
    os.kill(stage.read("supervisor")[0], signal.SIGKILL)
    assert program.wait(PATIENCE) == -signal.SIGKILL % 256 or program.returncode > 0
    assert stage.alive() == []


def test_what_a_killed_guardian_and_supervisor_leave_is_found_by_its_marker(stage: Stage) -> None:
    stage.add_stubborn_ones()
    program = stage.start()
    stage.wait_until_ready()
    os.kill(program.pid, signal.SIGSTOP)  # else it would sweep between the two kills
    os.kill(stage.read("supervisor")[0], signal.SIGKILL)
    program.kill()
    program.wait(PATIENCE)
    assert len(stage.alive()) == len(find_marked(SESSION_MARKER, stage.session)) > len(stage.services)
    end(lambda: find_marked(SESSION_MARKER, stage.session), grace=0.2)
    assert stage.alive() == []


def test_a_daemon_that_erased_its_mark_and_left_its_session_is_ended_too(stage: Stage) -> None:
    stage.add("web", "erased")
    program = stage.start()
    stage.wait_until_ready()
    until(lambda: any("hidden" in line for line in stage.alive()))
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert stage.alive() == []


def test_what_outlives_the_session_by_intent_is_spared(stage: Stage) -> None:
    stage.add("web", "polite")
    keeper = subprocess.Popen(
        [sys.executable, str(stage.kid), "polite", stage.tag],
        env={**os.environ, SESSION_MARKER: stage.session, "PORT": str(free_port())},
    )
    stage.spared = [keeper.pid]
    program = stage.start()
    stage.wait_until_ready()
    os.kill(stage.read("supervisor")[0], signal.SIGKILL)
    program.wait(PATIENCE)
    assert [pid for pid, _line in tagged(stage.tag)] == [keeper.pid]
    keeper.kill()
    keeper.wait()


def test_services_whose_children_keep_the_port_come_back_when_their_leaders_are_killed(stage: Stage) -> None:
    names = [f"web{number}" for number in range(max(1, int(3 * ROUNDS)))]
    for name in names:
        stage.add(name, "npm")
    program = stage.start()
    stage.wait_until_ready()
    for name in names:
        os.kill(next(pid for pid in stage.read("pid", name) if pid), signal.SIGKILL)
    until(lambda: all(stage.read("state", name).count("Ready") == 2 for name in names))
    assert len(stage.alive()) == 2 * len(names)
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert stage.alive() == []


def test_a_million_lines_arrive_intact_and_in_order(stage: Stage) -> None:
    count = int(1_000_000 * ROUNDS)
    stage.add("web", "chatter", str(count))
    program = stage.start(stdout=subprocess.PIPE)
    assert program.stdout
    lines = (line for line in program.stdout if b"line" in line)
    for number in range(count):
        assert next(lines) == b"web    | line %d of many, which is as long as a line in a log\n" % number
    threading.Timer(0.0, program.terminate).start()
    assert b"not shown" not in program.stdout.read()
    program.stdout.close()
    assert program.wait(PATIENCE) == 0
    logs = sorted(stage.folder.glob("web.log*"))
    assert logs
    assert all(log.stat().st_mode & 0o077 == 0 for log in logs)


def test_a_terminal_that_takes_no_output_stops_nothing(stage: Stage) -> None:
    stage.add("noisy", "noise")
    stage.add("web", "polite")
    program = stage.start(stdout=subprocess.PIPE)  # never read until the end
    stage.wait_until_ready()
    until((stage.folder / "noisy.log.1").exists)  # rotated: more than the screen's buffer has gone by
    os.kill(next(pid for pid in stage.read("pid", "web") if pid), signal.SIGKILL)
    until(lambda: stage.read("state", "web").count("Ready") == 2)
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert stage.alive() == []
    assert program.stdout
    program.stdout.close()


def test_a_port_that_a_stranger_holds_is_told_with_its_owner(stage: Stage) -> None:
    with socket.socket() as stranger:
        port = stage.add("web", "polite")
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        program = stage.start()
        until(lambda: "Blocked" in stage.read("state", "web"))
        assert f"(pid {os.getpid()}, since " in stage.read("detail", "web")[-1]
        program.terminate()
        assert program.wait(PATIENCE) == 0


def test_a_service_that_ignored_its_port_is_found_and_followed(stage: Stage) -> None:
    port = stage.add("web", "elsewhere")
    program = stage.start()
    stage.wait_until_ready()
    assert stage.read("candidates", "web") == [[f"127.0.0.1:{port + 1}"]]
    assert stage.read("listening", "web") == [f"127.0.0.1:{port + 1}"]
    program.terminate()
    assert program.wait(PATIENCE) == 0


def test_a_server_that_puts_itself_in_the_background_is_supervised_and_ended(stage: Stage) -> None:
    stage.add("web", "background")
    program = stage.start()
    until(lambda: "Daemonized" in stage.read("state", "web"))
    os.kill(stage.pids_of("background")[0], signal.SIGKILL)
    until(lambda: stage.read("state", "web").count("Daemonized") == 2)
    program.terminate()
    assert program.wait(PATIENCE) == 0
    assert stage.alive() == []


def test_a_command_that_is_not_there_fails_at_once(stage: Stage) -> None:
    stage.add("web", "", argv=["no-such-command-anywhere"])
    program = stage.start()
    until(lambda: "Failed" in stage.read("state", "web"))
    assert "command not found: no-such-command-anywhere" in stage.read("detail", "web")[-1]
    program.terminate()
    assert program.wait(PATIENCE) == 0


def test_a_command_that_exits_at_once_is_told_with_its_status_and_last_words(stage: Stage) -> None:
    stage.add("web", "crash")
    program = stage.start()
    until(lambda: "Failed" in stage.read("state", "web"))
    details = stage.read("detail", "web")
    assert "code=3, was_ready=False" in next(detail for detail in details if detail.startswith("Backoff"))
    assert "5 times" in details[-1]
    assert b"the reason\n" in (stage.folder / "web.log").read_bytes()
    program.terminate()
    assert program.wait(PATIENCE) == 0


def test_a_service_with_a_terminal_sees_one_and_loses_no_line(stage: Stage) -> None:
    look = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns); sys.exit(0)"
    stage.add("web", "", argv=[sys.executable, "-c", look], columns=90)
    program = stage.start(stdout=subprocess.PIPE)
    assert program.stdout
    assert program.stdout.readline() == b"web    | True 90\n"
    until(lambda: "Exited" in stage.read("state", "web"))
    program.terminate()
    assert program.wait(PATIENCE) == 0
    program.stdout.close()


def test_a_detached_session_outlives_its_starter_and_ends_on_term(stage: Stage) -> None:
    stage.add_stubborn_ones()
    stage.grace = 1.0
    stage.is_detached = True
    assert stage.start().wait(PATIENCE) == 0
    stage.wait_until_ready()
    guardian: Identity | None = identify(stage.read("guardian")[0])
    assert guardian
    os.kill(guardian.pid, signal.SIGTERM)
    until(lambda: not is_alive(guardian))
    assert stage.alive() == []


def test_every_process_of_a_service_carries_its_mark(stage: Stage) -> None:
    stage.add("web", "family")
    program = stage.start()
    stage.wait_until_ready()
    found = {identity.pid for identity in find_marked(SERVICE_MARKER, f"{stage.session}/web")}
    assert found == {pid for pid, _line in tagged(stage.tag)}
    program.terminate()
    assert program.wait(PATIENCE) == 0
