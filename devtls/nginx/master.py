"""One nginx master and its workers: started on sockets it is handed, reloaded, watched, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from devtls.errors import DevtlsError
from devtls.nginx.owners import MASTER, WORKER
from devtls.system import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from devtls.nginx.binary import Nginx
    from devtls.system.loop import Loop, Timer

LOOK_EVERY = 0.004  # s; a reload is live after 51-116 ms, nearly all of it nginx's own pause before it retires workers
RELOAD_PATIENCE = 15.0  # s; a thousand certificates are read in less than one
PATIENCE = 2.0  # s; TERM ends nginx in 0.1 s, whatever connections are open
MOST_GENERATIONS = 8  # of retired workers that still have WebSockets; 6 reloads with 1,000 of them cost 45 MB
RETIRING = "shutting down"  # what nginx puts in the title of a worker that takes no more connections


class Master:
    """The nginx of the gateway.

    Args:
        loop: who calls back.
        nginx: the binary.
        folder: its prefix; `live` in it is the configuration folder, as a symlink.
        sockets: descriptors of listening sockets; nginx inherits them, so it needs no right to bind.
        died: called when it ended without having been told to.
    """

    def __init__(
        self, loop: Loop, nginx: Nginx, folder: Path, sockets: Sequence[int], died: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._nginx = nginx
        self._folder = folder
        self._sockets = tuple(sockets)
        self._died = died
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped: Callable[[], None] | None = None
        self._kill: Timer | None = None
        self._generations: list[frozenset[processes.Identity]] = []  # of retired workers, oldest first

    @property
    def pid(self) -> int | None:
        """Of the running master."""
        return self._process.pid if self._process else None

    def test(self, configuration: Path) -> None:
        """Have nginx read a configuration folder.

        Raises:
            DevtlsError: it refuses; the message is nginx's own.
        """
        argv = self._argv(configuration)
        ended = subprocess.run(
            [*argv, "-t"], env=self._environment(), pass_fds=self._sockets, capture_output=True, check=False
        )
        if ended.returncode != 0:
            raise DevtlsError(ended.stderr.decode("utf-8", "replace").strip())

    def start(self, live: Callable[[], None]) -> None:
        """Start it, and call `live` when its workers take connections."""
        # Workers that outlived their master and keeper, killed together, would go on taking connections beside ours.
        self._end_strays(signal.SIGQUIT)
        with (self._folder / "gateway.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._argv(self._folder / "live"), "-g", "daemon off;"],
                env=self._environment(),
                pass_fds=self._sockets,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(_die_with_keeper, os.getpid()),  # noqa: PLW1509 - the keeper has one thread
            )
        self._when_live(frozenset(), live, self._loop.clock() + RELOAD_PATIENCE)

    def reload(self, live: Callable[[], None]) -> None:
        """Have it read `live` again, and call `live` when no worker with the old configuration takes connections."""
        if self._process is None:
            self.start(live)
            return
        old = frozenset(identity.pid for identity in processes.descendants(self._process.pid))
        os.kill(self._process.pid, signal.SIGHUP)
        self._when_live(old, live, self._loop.clock() + RELOAD_PATIENCE)

    def quit(self, stopped: Callable[[], None]) -> None:
        """Have it take no more connections, and call `stopped` when the last that it has is over."""
        if self._process is None:
            stopped()
            return
        self._stopped = stopped
        os.kill(self._process.pid, signal.SIGQUIT)

    def reopen_logs(self) -> None:
        """Have it write into a new log where the old one was."""
        if self._process:
            os.kill(self._process.pid, signal.SIGUSR1)

    def stop(self, stopped: Callable[[], None]) -> None:
        """End it and its workers, and call `stopped` when they are gone."""
        if self._process is None:
            self._end_strays(signal.SIGKILL)
            stopped()
            return
        self._stopped = stopped
        os.kill(self._process.pid, signal.SIGTERM)
        self._kill = self._loop.call_later(PATIENCE, lambda: self._end_strays(signal.SIGKILL))

    def reaped(self, pid: int) -> None:
        """Take note that a child of the keeper ended."""
        if self._process is None or pid != self._process.pid:
            return
        self._process.returncode = 0  # reaped by the keeper: Popen must not wait for a pid that may be another's
        self._process = None
        if self._kill:
            self._kill.cancel()
        if self._stopped:
            self._end_strays(signal.SIGKILL)
            self._stopped()
        else:
            # Workers outlive a killed master. QUIT: they take no more connections but keep the WebSockets they have.
            self._end_strays(signal.SIGQUIT)
            self._died()

    def _argv(self, configuration: Path) -> list[str]:
        early_log = ["-e", str(self._folder / "gateway.log")] if self._nginx.version >= (1, 19, 5) else []
        return [self._nginx.path, "-p", f"{self._folder}/", *early_log, "-c", str(configuration / "nginx.conf")]

    def _environment(self) -> dict[str, str]:
        # NGINX is how one nginx hands its sockets to the next (ngx_add_inherited_sockets); the last ; is needed.
        return {"PATH": os.defpath, "NGINX": "".join(f"{descriptor};" for descriptor in self._sockets)}

    def _workers(self) -> dict[int, bool]:
        """Each worker's pid, and whether it is retiring."""
        if self._process is None:
            return {}
        family = processes.descendants(self._process.pid)
        return {worker.pid: RETIRING in processes.describe(worker.pid) for worker in family}

    def _when_live(self, old: frozenset[int], live: Callable[[], None], deadline: float) -> None:
        """Look until it is live; a reload that nginx refuses never is, and must not hold up the next change."""
        if self._process is None:
            return  # it died: the keeper was told, and starts another
        workers = self._workers()
        fresh = [pid for pid in workers if pid not in old and "worker" in processes.describe(pid)]
        is_live = fresh and all(workers[pid] for pid in workers if pid in old)
        if not is_live and self._loop.clock() < deadline:
            self._loop.call_later(LOOK_EVERY, lambda: self._when_live(old, live, deadline))
            return
        self._limit_generations(old)
        live()

    def _limit_generations(self, old: frozenset[int]) -> None:
        """Retired workers stay while they have a WebSocket, but not without limit: each is a process of its own."""
        retired = frozenset(filter(None, map(processes.identify, old)))
        known = frozenset().union(*self._generations)
        alive = (frozenset(filter(processes.is_alive, each)) for each in (*self._generations, retired - known))
        self._generations = [each for each in alive if each]
        while len(self._generations) > MOST_GENERATIONS:
            oldest = self._generations.pop(0)
            sys.stderr.write(f"{MOST_GENERATIONS + 1} generations of workers have WebSockets: the oldest are closed\n")
            processes.send(oldest, signal.SIGTERM)

    def _end_strays(self, number: signal.Signals) -> None:
        processes.send(self._strays(), number)

    def _strays(self) -> tuple[processes.Identity, ...]:
        """What is below the keeper, and the workers of one that was killed, which it has not adopted.

        Those of a predecessor, which have their master, serve until this one does.
        """
        orphans = processes.find_using(self._folder, WORKER, unless_below=MASTER)
        return (*processes.descendants(os.getpid()), *orphans)


def _die_with_keeper(keeper: int) -> None:
    """Nothing may hold :443 when its keeper was killed: the next one starts from the same sockets."""
    processes.set_parent_death_signal(signal.SIGTERM)
    if os.getppid() != keeper:  # it died before the line above
        os.kill(os.getpid(), signal.SIGTERM)
