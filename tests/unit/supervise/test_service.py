from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from devtls.model import Endpoint, Service
from devtls.supervise import state
from devtls.supervise.output import LogFile
from devtls.supervise.service import ServiceRunner
from devtls.system.loop import Loop
from devtls.system.processes import SERVICE_MARKER, SESSION_MARKER, end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SERVE = "import os,socket,time;s=socket.create_server(('127.0.0.1',int(os.environ['PORT'])+{}));time.sleep(1000)"


class Stage:
    """A loop, its runners, and a listener that notes what it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = Loop()
        self.session = secrets.token_hex(8)
        self.states: list[state.State] = []
        self.said = b""
        self.listening: list[Endpoint] = []
        self.candidates: list[tuple[Endpoint, ...]] = []
        self.runner: ServiceRunner
        self.adopts = False
        self.stops_on: type[state.Backoff] | None = None

    def run(self, *argv: str, timeout: float = 60.0) -> ServiceRunner:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self.runner = ServiceRunner(
            self.loop,
            Service("web", argv, port, self.folder),
            environment={"PATH": os.environ["PATH"], "PORT": str(port)},
            session=self.session,
            listener=self,
            log=LogFile(self.folder / "web.log"),
            start_timeout=timeout,
        )
        self.runner.start()
        return self.runner

    def on_output(self, _service: Service, lines: bytes) -> None:
        self.said += lines

    def on_state(self, _service: Service, now: state.State) -> None:
        self.states.append(now)
        if self.stops_on and isinstance(now, self.stops_on):
            self.runner.stop()

    def on_listening(self, _service: Service, endpoint: Endpoint) -> None:
        self.listening.append(endpoint)

    def on_candidates(self, _service: Service, endpoints: tuple[Endpoint, ...]) -> None:
        self.candidates.append(endpoints)
        if self.adopts:
            self.runner.adopt(endpoints[0])

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {self.states} {self.said!r}"
            self.loop.turn(0.05)

    def until_state(self, kind: type[object]) -> None:
        self.until(lambda: isinstance(self.runner.state, kind))

    def names(self) -> list[str]:
        return [type(now).__name__ for now in self.states]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.runner.kill_now()
    stage.until_state(state.Stopped)
    assert stage.runner._find_tree() == ()
    stage.loop.close()


def test_a_service_becomes_ready_when_its_own_process_listens_and_stops_when_told(stage: Stage) -> None:
    runner = stage.run(sys.executable, "-c", SERVE.format(0))
    stage.until_state(state.Ready)
    assert stage.listening == [Endpoint("127.0.0.1", runner.service.port)]
    assert runner.pid in {identity.pid for identity in runner.recorded}
    runner.stop()
    stage.until_state(state.Stopped)
    assert stage.names() == ["Starting", "Ready", "Stopping", "Stopped"]
    assert runner.pid is None
    assert runner.recorded == ()
    assert runner.waiting_for == ()


def test_a_restart_ends_the_old_process_before_the_new_one(stage: Stage) -> None:
    runner = stage.run(sys.executable, "-c", SERVE.format(0))
    stage.until_state(state.Ready)
    before = runner.pid
    runner.restart()
    stage.until_state(state.Stopping)
    stage.until_state(state.Ready)
    assert runner.pid != before
    assert runner.restarts == 1


def test_a_listener_may_stop_what_exits_at_once_before_it_is_tried_again(stage: Stage) -> None:
    stage.stops_on = state.Backoff
    runner = stage.run("sh", "-c", "echo why; exit 3")
    stage.until_state(state.Stopped)
    assert stage.names() == ["Starting", "Backoff", "Stopping", "Stopped"]
    failure = stage.states[1]
    assert isinstance(failure, state.Backoff)
    assert (failure.code, failure.was_ready, runner.last_exit) == (3, False, 3)
    assert runner.tail.last(20) == (b"why",)


def test_an_unfinished_line_is_shown_although_it_does_not_end(stage: Stage) -> None:
    stage.run("sh", "-c", "printf 'one\\npassword: '; sleep 1000")
    stage.until(lambda: stage.said == b"one\npassword: \n")
    assert (stage.folder / "web.log").read_bytes().endswith(b" password: \n")


def test_the_marks_are_in_the_environment_and_nothing_else_is_added_but_what_python_needs(stage: Stage) -> None:
    stage.run("env")
    stage.until_state(state.Exited)
    names = {line.partition("=")[0] for line in stage.said.decode().splitlines()}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "PORT", "PYTHONUNBUFFERED", SESSION_MARKER, SERVICE_MARKER}
    assert f"{SERVICE_MARKER}={stage.session}/web".encode() in stage.said


def test_a_strangers_port_blocks_the_service_in_either_family(stage: Stage) -> None:
    runner = stage.run(sys.executable, "-c", SERVE.format(0))
    stage.until_state(state.Ready)
    runner.stop()
    stage.until_state(state.Stopped)
    with socket.create_server(("::1", runner.service.port), family=socket.AF_INET6):
        runner.start()
        stage.until_state(state.Blocked)
    assert stage.states[-1] == state.Blocked(stage.states[-1].owner)  # type: ignore[union-attr] # it is Blocked
    assert f"(pid {os.getpid()}, since " in str(stage.states[-1])


def test_a_stranger_who_takes_the_port_meanwhile_is_not_taken_for_the_service(stage: Stage) -> None:
    runner = stage.run("sleep", "1000")
    with socket.create_server(("127.0.0.1", runner.service.port)):
        stage.until_state(state.Blocked)
    assert stage.listening == []


def test_a_service_that_listens_elsewhere_is_offered_and_adopted(stage: Stage) -> None:
    stage.adopts = True
    runner = stage.run(sys.executable, "-c", SERVE.format(1))
    stage.until_state(state.Ready)
    there = Endpoint("127.0.0.1", runner.service.port + 1)
    assert (stage.candidates, stage.listening) == ([(there,)], [there])


def test_a_service_that_never_listens_fails_and_is_left_running(stage: Stage) -> None:
    runner = stage.run("sleep", "1000", timeout=0.05)
    stage.until_state(state.Failed)
    assert stage.states[-1] == state.Failed(f"did not listen on port {runner.service.port} within 0 s", is_running=True)
    assert runner.pid


def test_a_probe_degrades_and_cures(stage: Stage) -> None:
    runner = stage.run(sys.executable, "-c", SERVE.format(0))
    stage.until_state(state.Ready)
    runner.probe_result(is_ok=False, detail="HTTP 502")
    assert isinstance(runner.state, state.Degraded)
    runner.probe_result(is_ok=True, detail="HTTP 200")
    assert isinstance(runner.state, state.Ready)


def test_a_service_that_comes_back_on_another_port_is_offered_again(stage: Stage) -> None:
    stage.adopts = True
    first, second = (SERVE.format(offset).replace("time.sleep(1000)", "input()") for offset in (0, 1))
    fifo = stage.folder / "fifo"
    os.mkfifo(fifo)
    script = f'"$0" -c "{first}" < fifo; exec "$0" -c "{second.replace("input()", "time.sleep(1000)")}"'
    runner = stage.run("sh", "-c", script, sys.executable)
    with fifo.open("wb") as writer:
        stage.until_state(state.Ready)
        writer.write(b"\n")
    runner.probe_result(is_ok=False, detail="HTTP 502")
    there = Endpoint("127.0.0.1", runner.service.port + 1)
    stage.until(lambda: there in stage.listening)
    assert isinstance(runner.state, state.Ready)


def test_what_a_crashed_leader_leaves_behind_is_ended(stage: Stage) -> None:
    stage.stops_on = state.Backoff
    runner = stage.run("sh", "-c", "setsid sleep 1000 & sleep 1000 & kill -9 $$")
    stage.until_state(state.Stopped)
    assert runner._find_tree() == ()
    assert end(runner._find_tree, grace=0.0) == ()
