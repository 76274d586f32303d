from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from devtls.errors import DevtlsError
from devtls.nginx.binary import Nginx
from devtls.nginx.master import Master, _die_with_keeper
from devtls.system import processes
from devtls.system.loop import Loop
from devtls.system.run import in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Does with signals what nginx does: HUP retires the worker and starts another, TERM ends, and -t reads its file.
PROGRAM = """#!/bin/bash
for word; do [ "$before" = -c ] && config=$word; before=$word; done
echo "$NGINX" > {folder}/inherited
if [[ " $* " == *" -t "* ]]; then
  echo "nginx: $(cat "$config")" >&2
  grep -q good "$config"; exit
fi
start() {{ bash -c 'exec -a "nginx: worker process" sleep 1000' & }}
trap 'kill $!; start' HUP
trap 'kill $!; exit 0' TERM
echo started
start
while :; do wait; done
"""


class Stage:
    """A master in a process of its own: it ends whatever strays below it."""

    def __init__(self, folder: Path, version: tuple[int, ...] = (1, 22, 1)) -> None:
        binary = folder / "nginx"
        binary.write_text(PROGRAM.format(folder=folder), "utf-8")
        binary.chmod(0o755)
        (folder / "live").mkdir(exist_ok=True)
        (folder / "live" / "nginx.conf").write_text("good", "utf-8")
        self.folder = folder
        self.loop = Loop()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.events: list[str] = []
        nginx = Nginx(str(binary), version, frozenset())
        self.master = Master(self.loop, nginx, folder, [self.listener.fileno()], lambda: self.events.append("died"))

    def start(self) -> None:
        self.master.reload(lambda: self.events.append("live"))
        self.until(lambda: self.events == ["live"])

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {self.events}"
            self.reap()
            self.loop.turn(0.01)

    def reap(self) -> None:
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.master.reaped(pid)

    def workers(self) -> set[int]:
        found = processes.descendants(os.getpid())
        return {each.pid for each in found if "worker" in processes.describe(each.pid)}


def on_a_stage(folder: Path, act: Callable[[Stage], None]) -> None:
    """Act in a child process, which adopts what its children leave behind, as the keeper does."""

    def work() -> None:
        processes.set_subreaper()
        try:
            act(Stage(folder))
        finally:
            processes.end(lambda: processes.descendants(os.getpid()), 0.0)

    in_child(work)


def test_a_configuration_that_nginx_reads_passes_and_it_is_given_the_sockets(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.master.test(tmp_path / "live")
    assert (tmp_path / "inherited").read_text("utf-8") == f"{stage.listener.fileno()};\n"
    stage.listener.close()
    stage.loop.close()


def test_a_configuration_that_nginx_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    (tmp_path / "live" / "nginx.conf").write_text("bad", "utf-8")
    with pytest.raises(DevtlsError, match=r"^nginx: bad$"):
        stage.master.test(tmp_path / "live")
    stage.listener.close()
    stage.loop.close()


@pytest.mark.parametrize(("version", "is_given"), [((1, 19, 4), False), ((1, 19, 5), True), ((1, 31, 3), True)])
def test_nginx_is_told_its_log_before_it_reads_its_configuration_where_it_can_be(
    tmp_path: Path, version: tuple[int, ...], is_given: bool
) -> None:
    stage = Stage(tmp_path, version)
    argv = stage.master._argv(tmp_path / "live")
    assert (f"-e {tmp_path}/gateway.log" in " ".join(argv)) is is_given
    assert argv[-2:] == ["-c", str(tmp_path / "live" / "nginx.conf")]
    assert argv[1:3] == ["-p", f"{tmp_path}/"]
    stage.listener.close()
    stage.loop.close()


def test_a_master_is_live_once_a_worker_is_there(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        stage.start()
        assert len(stage.workers()) == 1
        assert stage.master.pid in {each.pid for each in processes.descendants(os.getpid())}

    on_a_stage(tmp_path, act)
    assert "started" in (tmp_path / "gateway.log").read_text("utf-8")


def test_workers_that_outlived_their_master_and_their_keeper_take_no_more_connections(tmp_path: Path) -> None:
    argv = ["bash", "-c", 'exec -a "nginx: worker process" sleep 1000']
    with (tmp_path / "gateway.log").open("ab") as log, subprocess.Popen(argv, stderr=log) as orphan:
        while processes.describe(orphan.pid) != "'nginx: worker process' 1000":
            time.sleep(0.01)
        on_a_stage(tmp_path, lambda stage: stage.start())
        assert orphan.wait(30) == -signal.SIGQUIT


def test_no_nginx_is_started_for_a_keeper_that_is_gone_already() -> None:
    before_exec = partial(_die_with_keeper, os.getppid())
    with subprocess.Popen(["sleep", "1000"], preexec_fn=before_exec) as late:  # noqa: PLW1509 - nothing else runs
        assert late.wait(30) == -signal.SIGTERM


def test_a_reload_is_live_once_no_old_worker_takes_connections(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        stage.start()
        before, master = stage.workers(), stage.master.pid
        stage.master.reload(lambda: stage.events.append("live again"))
        stage.until(lambda: "live again" in stage.events)
        assert stage.workers().isdisjoint(before)
        assert stage.master.pid == master

    on_a_stage(tmp_path, act)


def test_a_stop_is_told_when_master_and_workers_are_gone(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        stage.start()
        stage.master.stop(lambda: stage.events.append("stopped"))
        stage.until(lambda: "stopped" in stage.events)
        assert stage.master.pid is None
        stage.until(lambda: not stage.workers())
        assert stage.events == ["live", "stopped"]

    on_a_stage(tmp_path, act)


def test_a_stop_without_a_master_is_told_at_once(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        stage.master.stop(lambda: stage.events.append("stopped"))
        assert stage.events == ["stopped"]

    on_a_stage(tmp_path, act)


def test_a_master_that_is_killed_is_told_and_can_be_started_again(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        stage.start()
        assert stage.master.pid
        os.kill(stage.master.pid, signal.SIGKILL)
        stage.until(lambda: "died" in stage.events)
        assert stage.master.pid is None
        stage.master.reload(lambda: stage.events.append("live again"))
        stage.until(lambda: "live again" in stage.events)

    on_a_stage(tmp_path, act)


def test_a_child_that_is_not_the_master_may_end(tmp_path: Path) -> None:
    def act(stage: Stage) -> None:
        stage.start()
        stage.master.reaped(os.getpid())
        assert (stage.events, stage.master.pid is not None) == (["live"], True)

    on_a_stage(tmp_path, act)
