"""One service, run: the state machine's actions become processes, and what happens to them its events."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol, assert_never

from devtls.supervise import ports
from devtls.supervise import state as machine
from devtls.supervise.child import Child, Command, NotSpawned, spawn
from devtls.supervise.output import Lines, LogFile, Tail
from devtls.system.processes import (
    SERVICE_MARKER,
    SESSION_MARKER,
    Ending,
    Identity,
    descendants,
    find_tree,
    is_alive,
    listening,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from devtls.model import Endpoint, Service
    from devtls.system.loop import Loop, Timer

GRACE = 5.0  # seconds between SIGTERM and SIGKILL; overmind, foreman and honcho wait as long
LEFTOVER_GRACE = 1.0  # seconds for what a command that has ended by itself left behind
QUIET = 0.1  # seconds after which an unfinished line is shown: a prompt, a progress dot
LONGEST_WAIT = 1.0  # seconds after which it is shown although it still grows
# Seconds since the spawn, and how often the port is then tried. A refused connect costs 0.08 ms.
PACES = ((2.0, 0.01), (10.0, 0.05), (float("inf"), 0.25))
SCAN = 0.1  # seconds between two looks at where else the tree listens: 10 ms each
SLOW_SCAN = 1.0  # the same, after ten seconds
LIVENESS = 5.0  # seconds between two connects to a service that is ready
RECHECK = 1.0  # the same, when the last one was refused, or the command has ended or never listened


class Listener(Protocol):
    """Who is told what happens to services; all calls come from the loop."""

    def on_output(self, service: Service, lines: bytes) -> None:
        """It printed whole lines: one or many, each with its newline, harmless to a terminal."""

    def on_state(self, service: Service, now: machine.State) -> None:
        """It is in another state."""

    def on_listening(self, service: Service, endpoint: Endpoint) -> None:
        """It became reachable here, or somewhere else than before."""

    def on_candidates(self, service: Service, endpoints: tuple[Endpoint, ...]) -> None:
        """Its port is closed, but it listens at these; answer with `adopt` when one is the right one."""


class ServiceRunner:
    """Runs one service until it is told to stop; main thread only.

    Args:
        environment: all of the command's environment, but for the markers.
        session: unique to this run of devtls; marks every process.
        columns: of the terminal that its output is for; None gives it a pipe.
        log: where its lines go first; None for nowhere.
        may_read: while it says no, the service's own writes wait.
    """

    def __init__(  # noqa: PLR0913 - each is a part of the world that tests replace
        self,
        loop: Loop,
        service: Service,
        *,
        environment: Mapping[str, str],
        session: str,
        listener: Listener,
        log: LogFile | None = None,
        columns: int | None = None,
        has_colours: bool = True,
        start_timeout: float = 60.0,
        may_read: Callable[[], bool] = lambda: True,
    ) -> None:
        self.service = service
        self.life = machine.Life(service.port, start_timeout)
        self.tail = Tail()
        self.restarts = 0
        self.last_exit: int | None = None
        self._loop = loop
        self._listener = listener
        self._log = log
        self._columns = columns
        self._has_colours = has_colours
        self._may_read = may_read
        self._marker = (SERVICE_MARKER, f"{session}/{service.name}")
        self._environment = {**environment, SESSION_MARKER: session, SERVICE_MARKER: self._marker[1]}
        self._events: deque[machine.Event] = deque()
        self._is_stepping = False
        self._child: Child | None = None
        self._recorded: set[Identity] = set()
        self._ending: Ending | None = None
        self._is_launching = False
        self._grace = GRACE
        self._lines = Lines(has_colours=has_colours)
        self._partial_since = 0.0
        self._quiet_at = 0.0
        self._spawned_at = 0.0
        self._scanned_at = 0.0
        self._candidates: tuple[Endpoint, ...] = ()
        self._tick_timer: Timer | None = None
        self._end_timer: Timer | None = None
        self._look_timer: Timer | None = None
        self._partial_timer: Timer | None = None

    @property
    def state(self) -> machine.State:
        """What it is now."""
        return self.life.state

    @property
    def pid(self) -> int | None:
        """The command's process, while it lives."""
        return self._child.pid if self._child and is_alive(self._child.identity) else None

    @property
    def recorded(self) -> tuple[Identity, ...]:
        """Every process of the present generation that has been seen: what a later session may have to end."""
        return tuple(self._recorded)

    @property
    def waiting_for(self) -> tuple[Identity, ...]:
        """Who has been told to end and is still there."""
        return self._ending.waiting_for if self._ending else ()

    def start(self) -> None:
        """Run it; nothing when it runs."""
        self._feed(machine.Start())

    def stop(self, grace: float = GRACE) -> None:
        """End it: SIGTERM to each of its processes, SIGKILL after `grace` seconds; Stopped means none is left."""
        self._grace = grace
        self._feed(machine.Stop())

    def kill_now(self) -> None:
        """End it with SIGKILL."""
        self._feed(machine.Stop(is_urgent=True))

    def restart(self) -> None:
        """End it, then run it again."""
        self._grace = GRACE
        self._feed(machine.Restart())

    def adopt(self, endpoint: Endpoint) -> None:
        """Take this for where it serves."""
        self._feed(machine.Listening(endpoint))

    def probe_result(self, is_ok: bool, detail: str) -> None:
        """Say what a check above TCP found."""
        self._feed(machine.Probed(is_ok, detail))

    def resize(self, columns: int) -> None:
        """Tell it that the terminal has another width."""
        if self._columns is not None and self._child:
            self._columns = columns
            self._child.resize(columns)

    def _feed(self, event: machine.Event) -> None:
        """Step, now or after the step that is under way: a listener may well answer from inside a call."""
        self._events.append(event)
        if self._is_stepping:
            return
        self._is_stepping = True
        try:
            while self._events:
                self._advance(self._events.popleft())
        finally:
            self._is_stepping = False

    def _advance(self, event: machine.Event) -> None:
        before = self.life.state
        self.life, actions = machine.step(self.life, event, self._loop.clock())
        for action in actions:
            self._perform(action)
        self._arm(before)
        if _is_news(before, self.life.state):
            self._listener.on_state(self.service, self.life.state)
        endpoint = _endpoint_of(self.life.state)
        if endpoint and machine.is_up(self.life.state):
            self._candidates = ()
        if endpoint and machine.is_up(self.life.state) and _endpoint_of(before) != endpoint:
            self._listener.on_listening(self.service, endpoint)

    def _perform(self, action: machine.Action) -> None:
        match action:
            case machine.Launch():
                self._is_launching = True
                if self._recorded:
                    self._end(LEFTOVER_GRACE)
                else:
                    self._spawn()
            case machine.End(is_urgent):
                self._is_launching = False
                self._end(self._grace if isinstance(self.life.state, machine.Stopping) else LEFTOVER_GRACE)
                if is_urgent and self._ending:
                    self._ending.kill_now()
                    self._rearm_end(0)
            case _:
                assert_never(action)

    def _arm(self, before: machine.State) -> None:
        """Set the timers that this state wants."""
        if self.life.state == before:
            return
        if self._tick_timer:
            self._tick_timer.cancel()
        due = machine.next_due(self.life.state)
        if due is not None:
            wait = max(0.0, due - self._loop.clock())
            self._tick_timer = self._loop.call_later(wait, lambda: self._feed(machine.Tick()))
        if type(self.life.state) is not type(before) or isinstance(self.life.state, machine.Starting):
            self._rearm_look()

    def _end(self, grace: float) -> None:
        if self._ending is None:
            self._ending = Ending(self._find_tree, grace, self._loop.clock)
            self._rearm_end(0)

    def _rearm_end(self, wait: float) -> None:
        if self._end_timer:
            self._end_timer.cancel()
        self._end_timer = self._loop.call_later(wait, self._step_ending)

    def _step_ending(self) -> None:
        if self._ending is None:
            return
        pause = self._ending.step()
        if pause is not None:
            self._rearm_end(pause)
            return
        left = self._ending.waiting_for
        self._ending = None
        self._recorded = set(left)
        self._close_child()
        if self._is_launching:
            self._spawn()
        else:
            self._feed(machine.TreeEmpty(len(left)))

    def _spawn(self) -> None:
        self._is_launching = False
        owner = ports.find_owner(self.service.port)
        if owner is not None:
            self._feed(machine.PortTaken(owner))
            return
        self._lines = Lines(has_colours=self._has_colours)
        self._candidates = ()
        command = Command(self.service.argv, self.service.directory, self._environment, self._columns)
        child = spawn(self._loop, command, received=self._received, exited=self._exited, may_read=self._may_read)
        if isinstance(child, NotSpawned):
            self.last_exit = child.code
            self._feed(machine.SpawnFailed(child.reason))
            return
        self.restarts += self.last_exit is not None
        self._child = child
        self._recorded.add(child.identity)
        self._spawned_at = self._scanned_at = self._loop.clock()
        self._feed(machine.Spawned(child.pid))

    def _close_child(self) -> None:
        if self._child:
            self._child.close()
            self._child = None
            self._show(self._lines.flush())

    def _exited(self, code: int) -> None:
        self.last_exit = code
        self._show(self._lines.flush())
        others = {identity.pid for identity in self._find_tree()} if code == 0 else set()
        endpoint = _endpoint_of(self.life.state)
        is_listening = endpoint is not None and any(found == endpoint for _pid, found in listening(others))
        self._feed(machine.LeaderExited(code, bool(others), is_listening))

    def _received(self, data: bytes) -> None:
        had_partial = self._lines.is_partial
        lines = self._lines.feed(data)
        if lines:
            self._show(lines)
        if self._lines.is_partial:
            now = self._loop.clock()
            self._quiet_at = now + QUIET
            if lines or not had_partial:
                self._partial_since = now
            if self._partial_timer is None:
                self._partial_timer = self._loop.call_later(QUIET, self._show_partial)

    def _show_partial(self) -> None:
        self._partial_timer = None
        if not self._lines.is_partial:
            return
        wait = min(self._quiet_at, self._partial_since + LONGEST_WAIT) - self._loop.clock()
        if wait > 0 or not self._may_read():  # the rest of the line may be waiting to be read
            self._partial_timer = self._loop.call_later(max(wait, QUIET / 10), self._show_partial)
        else:
            self._show(self._lines.flush())

    def _show(self, lines: bytes) -> None:
        if not lines:
            return
        if self._log:
            self._log.write(lines)
        self.tail.add(lines)
        self._listener.on_output(self.service, lines)

    def _find_tree(self) -> tuple[Identity, ...]:
        return find_tree(marker=self._marker, recorded=self._recorded)

    def _record(self) -> set[int]:
        """Note the tree as it is now, as far as it can be had cheaply, and return its pids."""
        self._recorded = {identity for identity in self._recorded if identity == self._leader or is_alive(identity)}
        if self.life.leader_code is not None:
            self._recorded.update(self._find_tree())
        for identity in tuple(self._recorded):
            self._recorded.update(descendants(identity.pid) if is_alive(identity) else ())
        return {identity.pid for identity in self._recorded}

    @property
    def _leader(self) -> Identity | None:
        """Kept on record although dead: the session that it led still has its number."""
        return self._child.identity if self._child else None

    def _rearm_look(self) -> None:
        if self._look_timer:
            self._look_timer.cancel()
            self._look_timer = None
        elapsed = self._loop.clock() - self._spawned_at
        match self.life.state:
            case machine.Starting(pid=pid) if pid is not None:
                wait = next(pace for until, pace in PACES if elapsed < until)
            case machine.Failed(is_running=True):
                wait = RECHECK
            case machine.Ready(misses=0):
                wait = LIVENESS
            case machine.Ready() | machine.Degraded() | machine.Daemonized():
                wait = RECHECK
            case _:
                return
        self._look_timer = self._loop.call_later(wait, self._look)

    def _look(self) -> None:
        endpoint = _endpoint_of(self.life.state)
        if endpoint:
            self._look_whether_alive(endpoint)
        else:
            self._look_for_port()
        self._rearm_look()

    def _look_whether_alive(self, endpoint: Endpoint) -> None:
        self._record()
        if ports.accepts(endpoint):
            self._feed(machine.Answered())
        elif self.life.leader_code is not None and not self._find_tree():
            self._feed(machine.TreeEmpty())
        else:
            self._feed(machine.Refused(f"nothing listens on {endpoint}"))
            if isinstance(self.life.state, machine.Degraded):  # a development server may come back on another port
                self._look_for_port()

    def _look_for_port(self) -> None:
        endpoint = ports.find_open(self.service.port)
        now = self._loop.clock()
        pause = SCAN if now - self._spawned_at < PACES[-2][0] else SLOW_SCAN
        if endpoint:
            self._settle_owner(endpoint)
        elif now - self._scanned_at >= pause:
            self._scanned_at = now
            self._look_elsewhere()

    def _settle_owner(self, endpoint: Endpoint) -> None:
        """Believe in an open port only when it is not a stranger's."""
        if any(found.port == endpoint.port for _pid, found in listening(self._record())):
            self._feed(machine.Listening(endpoint))
            return
        ours = {identity.pid for identity in self._find_tree()}
        stranger = ports.find_stranger(endpoint.port, ours.__contains__)
        self._feed(machine.Listening(endpoint) if stranger is None else machine.PortTaken(stranger))

    def _look_elsewhere(self) -> None:
        pids = self._record()
        if self.life.leader_code is not None and not self._find_tree():
            self._feed(machine.TreeEmpty())
            return
        found = ports.choose_candidates((endpoint for _pid, endpoint in listening(pids)), self.service.port)
        if found and found != self._candidates:
            self._candidates = found
            self._listener.on_candidates(self.service, found)


def _endpoint_of(now: machine.State) -> Endpoint | None:
    match now:
        case machine.Ready() | machine.Degraded() | machine.Daemonized():
            return now.endpoint
        case _:
            return None


def _is_news(before: machine.State, now: machine.State) -> bool:
    """Whether somebody who watches would call it another state; one refused connection is not."""
    match before, now:
        case (
            (machine.Starting(), machine.Starting())
            | (machine.Ready(), machine.Ready())
            | (machine.Daemonized(), machine.Daemonized())
        ):
            return _endpoint_of(before) != _endpoint_of(now)
        case _:
            return before != now
