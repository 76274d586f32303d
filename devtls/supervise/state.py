"""What a service is, as a pure function: (life, event, now) -> (life, actions).

Nothing here touches a process or a clock, so every history can be replayed in a test. The runner performs the actions
and feeds back what came of them as events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from devtls.model import Endpoint

# The first restart is at once: a developer who killed the app wants it back. Then a crash loop is slowed down.
DELAYS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)  # seconds
STEADY = 10.0  # seconds of readiness after which a crash counts as the first again
MOST_FAILURES = 5  # that never became ready, within WINDOW: it will not by trying again
WINDOW = 60.0  # seconds
MISSES = 2  # refused connections in a row before a ready service is called degraded; one may be a restart of its own
NO_RETRY = {126: "not executable", 127: "command not found"}  # as a shell reports them: POSIX 2.8.2


class Pending(Struct, frozen=True):
    """Not yet asked for."""


class Starting(Struct, frozen=True):
    """On its way: the port is not open yet. `pid` is None until it is spawned."""

    since: float
    deadline: float
    pid: int | None = None


class Ready(Struct, frozen=True):
    """It listens."""

    since: float
    endpoint: Endpoint
    misses: int = 0


class Degraded(Struct, frozen=True):
    """It was ready, its processes live, and it does not answer. `layer` is who says so: "tcp" or "probe"."""

    since: float
    endpoint: Endpoint
    detail: str
    layer: str


class Daemonized(Struct, frozen=True):
    """Ready, but the command itself has ended: a process that it left behind listens, and is supervised."""

    since: float
    endpoint: Endpoint
    misses: int = 0


class Stopping(Struct, frozen=True):
    """Its processes are being ended; `then_start` when it is a restart."""

    since: float
    then_start: bool


class Stopped(Struct, frozen=True):
    """Ended because it was asked to; `left` counts the processes that even SIGKILL could not end."""

    left: int = 0


class Exited(Struct, frozen=True):
    """Ended by itself, with success: it is not started again."""

    code: int


class Backoff(Struct, frozen=True):
    """Ended by itself, with failure; it is started again at `next_at`.

    Attributes:
        attempt: 1 for the first restart since it was steady.
        code: exit status; negative is the signal's number.
        was_ready: whether it has ever been ready since the user asked for it; when not, trying again is a hope only.
    """

    attempt: int
    next_at: float
    code: int
    was_ready: bool


class Failed(Struct, frozen=True):
    """Given up. `is_running`: its processes live (it never listened), and if it listens after all it becomes ready."""

    reason: str
    is_running: bool = False


class Blocked(Struct, frozen=True):
    """Its port belongs to somebody else, told in words."""

    owner: str


State = Pending | Starting | Ready | Degraded | Daemonized | Stopping | Stopped | Exited | Backoff | Failed | Blocked


class Start(Struct, frozen=True):
    """Asked to run."""


class Stop(Struct, frozen=True):
    """Asked to end; at once when `is_urgent`."""

    is_urgent: bool = False


class Restart(Struct, frozen=True):
    """Asked to end and run again."""


class Spawned(Struct, frozen=True):
    """The command runs."""

    pid: int


class SpawnFailed(Struct, frozen=True):
    """The command could not be run."""

    reason: str


class PortTaken(Struct, frozen=True):
    """Somebody else listens on the port."""

    owner: str


class Listening(Struct, frozen=True):
    """The service's own processes listen here."""

    endpoint: Endpoint


class LeaderExited(Struct, frozen=True):
    """The command itself ended. `has_others`: processes of its tree live; `is_listening`: on the endpoint."""

    code: int
    has_others: bool = False
    is_listening: bool = False


class TreeEmpty(Struct, frozen=True):
    """None of its processes is there any more, but for `left` that cannot be ended."""

    left: int = 0


class Answered(Struct, frozen=True):
    """It accepted a connection."""


class Refused(Struct, frozen=True):
    """It did not accept a connection."""

    detail: str


class Probed(Struct, frozen=True):
    """A check of a higher layer (HTTP) was made."""

    is_ok: bool
    detail: str


class Tick(Struct, frozen=True):
    """Time has passed."""


Event = (
    Start
    | Stop
    | Restart
    | Spawned
    | SpawnFailed
    | PortTaken
    | Listening
    | LeaderExited
    | TreeEmpty
    | Answered
    | Refused
    | Probed
    | Tick
)


class Launch(Struct, frozen=True):
    """End what is left of the generation before, see that the port is free, spawn."""


class End(Struct, frozen=True):
    """End the whole tree, then say TreeEmpty; a launch under way is off. At once when `is_urgent`."""

    is_urgent: bool = False


Action = Launch | End


class Life(Struct, frozen=True):
    """A service's state and what of its past decides its future.

    Attributes:
        attempt: restarts since it was last steady.
        failures: when it ended without having been ready, within the window.
        was_ready: whether it has been ready since it was asked for.
        leader_code: the exit status of the command, when it has ended and left others behind.
    """

    port: int
    start_timeout: float = 60.0
    state: State = Pending()
    attempt: int = 0
    failures: tuple[float, ...] = ()
    was_ready: bool = False
    leader_code: int | None = None


Step = tuple[Life, tuple[Action, ...]]


def step(life: Life, event: Event, now: float) -> Step:  # noqa: PLR0911 - one line for each kind of event
    """Return what the service is after this event, and what has to be done."""
    match event:
        case Start():
            return _start(life, now)
        case Stop(is_urgent):
            return _stop(life, now, is_urgent=is_urgent, then_start=False)
        case Restart():
            return _stop(life, now, is_urgent=False, then_start=True)
        case Spawned() | SpawnFailed() | PortTaken():
            return _launched(life, event)
        case Listening(endpoint):
            return _listening(life, endpoint, now)
        case LeaderExited():
            return _leader_exited(life, event, now)
        case TreeEmpty(left):
            return _tree_empty(life, left, now)
        case Answered() | Refused() | Probed():
            return _observed(life, event, now)
        case Tick():
            return _tick(life, now)
        case _:
            assert_never(event)


def next_due(state: State) -> float | None:
    """When this state wants a Tick."""
    match state:
        case Starting(deadline=due) | Backoff(next_at=due):
            return due
        case _:
            return None


def is_up(state: State) -> bool:
    """Whether requests can be sent to it."""
    return isinstance(state, Ready | Daemonized)


def is_settled(state: State) -> bool:
    """Whether nothing more happens by itself."""
    return isinstance(state, Stopped | Exited | Blocked) or (isinstance(state, Failed) and not state.is_running)


def describe_exit(code: int) -> str:
    """Return an exit status in words: "exited with status 1", "was ended by SIGKILL"."""
    if code >= 0:
        return f"exited with status {code}"
    import signal

    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _start(life: Life, now: float) -> Step:
    match life.state:
        case Starting() | Ready() | Degraded() | Daemonized():
            return life, ()
        case Stopping(since):
            return replace(life, state=Stopping(since, then_start=True)), ()
        case Failed(is_running=True):
            return _stop(life, now, is_urgent=False, then_start=True)
        case _:
            return _launch(replace(life, attempt=0, failures=(), was_ready=False), now)


def _launch(life: Life, now: float) -> Step:
    return replace(life, state=Starting(now, now + life.start_timeout), leader_code=None), (Launch(),)


def _stop(life: Life, now: float, *, is_urgent: bool, then_start: bool) -> Step:
    match life.state:
        case Stopped() if not then_start:
            return life, ()
        case Stopping(since):
            return replace(life, state=Stopping(since, then_start)), (End(is_urgent),) if is_urgent else ()
        case _:
            return replace(life, state=Stopping(now, then_start)), (End(is_urgent),)


def _launched(life: Life, event: Spawned | SpawnFailed | PortTaken) -> Step:
    if not isinstance(life.state, Starting):
        return life, ()
    match event:
        case Spawned(pid):
            return replace(life, state=replace(life.state, pid=pid)), ()
        case SpawnFailed(reason):
            return replace(life, state=Failed(reason)), (End(),)
        case PortTaken(owner):
            return replace(life, state=Blocked(owner)), (End(),)
        case _:
            assert_never(event)


def _listening(life: Life, endpoint: Endpoint, now: float) -> Step:
    match life.state:
        case Starting() | Failed(is_running=True):
            return _up(life, endpoint, now), ()
        case Ready() | Degraded() | Daemonized() if life.state.endpoint != endpoint:
            return _up(life, endpoint, now), ()
        case _:
            return life, ()


def _up(life: Life, endpoint: Endpoint, now: float) -> Life:
    state = Ready(now, endpoint) if life.leader_code is None else Daemonized(now, endpoint)
    return replace(life, state=state, was_ready=True)


def _leader_exited(life: Life, event: LeaderExited, now: float) -> Step:
    match life.state:
        case Starting() if event.code == 0 and event.has_others:
            return replace(life, leader_code=0), ()  # a server that puts itself in the background listens later
        case Ready(since, endpoint) | Degraded(since, endpoint) if event.code == 0 and event.is_listening:
            return replace(life, state=Daemonized(since, endpoint), leader_code=0), ()
        case Starting() | Ready() | Degraded() | Daemonized():
            return _ended(life, event.code, now)
        case Failed(reason, is_running=True):
            return replace(life, state=Failed(f"{reason}, then it {describe_exit(event.code)}")), (End(),)
        case _:
            return life, ()


def _ended(life: Life, code: int, now: float) -> Step:
    """Return what becomes of a service whose command ended by itself; what it left behind is ended too."""
    if code == 0 and life.leader_code is None:
        return replace(life, state=Exited(0)), (End(),)
    if code in NO_RETRY:
        return replace(life, state=Failed(f"{NO_RETRY[code]} (exit status {code})")), (End(),)
    life = _credited(life, now)
    was_up = isinstance(life.state, Ready | Degraded | Daemonized)
    failures = tuple(moment for moment in life.failures if now - moment < WINDOW) + (() if was_up else (now,))
    if len(failures) >= MOST_FAILURES:
        reason = f"{describe_exit(code)}, {len(failures)} times in {WINDOW:.0f} s without becoming ready"
        return replace(life, state=Failed(reason), failures=failures), (End(),)
    delay = DELAYS[min(life.attempt, len(DELAYS) - 1)]
    attempt = life.attempt + 1
    state = Backoff(attempt, now + delay, code, life.was_ready)
    return replace(life, state=state, attempt=attempt, failures=failures), (End(),)


def _credited(life: Life, now: float) -> Life:
    """Forget the crashes of before when it has been ready for long enough."""
    match life.state:
        case Ready(since) | Daemonized(since) if now - since >= STEADY:
            return replace(life, attempt=0, failures=())
        case _:
            return life


def _tree_empty(life: Life, left: int, now: float) -> Step:
    match life.state:
        case Stopping(then_start=True):
            return _launch(replace(life, attempt=0, failures=(), was_ready=False), now)
        case Stopping():
            return replace(life, state=Stopped(left)), ()
        case Starting() if life.leader_code is not None:
            return replace(life, state=Exited(life.leader_code)), ()
        case Failed(reason, is_running=True):
            return replace(life, state=Failed(reason)), ()
        case Daemonized() | Degraded() if life.leader_code is not None:
            return _ended(life, life.leader_code, now)
        case _:
            return life, ()


def _observed(life: Life, event: Answered | Refused | Probed, now: float) -> Step:
    match event:
        case Answered():
            return _answered(life, now), ()
        case Probed(is_ok=True):
            return (_up(life, life.state.endpoint, now) if isinstance(life.state, Degraded) else life), ()
        case Refused(detail):
            return _missed(life, detail, now), ()
        case Probed(detail=detail):
            return _degraded(life, detail, "probe", now), ()
        case _:
            assert_never(event)


def _answered(life: Life, now: float) -> Life:
    match life.state:
        case Degraded(layer="tcp", endpoint=endpoint):
            return _up(life, endpoint, now)
        case Ready() | Daemonized():
            return replace(life, state=replace(life.state, misses=0))
        case _:
            return life


def _missed(life: Life, detail: str, now: float) -> Life:
    match life.state:
        case Ready(misses=misses) | Daemonized(misses=misses) if misses + 1 < MISSES:
            return replace(life, state=replace(life.state, misses=misses + 1))
        case _:
            return _degraded(life, detail, "tcp", now)


def _degraded(life: Life, detail: str, layer: str, now: float) -> Life:
    match life.state:
        case Ready(endpoint=endpoint) | Daemonized(endpoint=endpoint):
            return replace(_credited(life, now), state=Degraded(now, endpoint, detail, layer))
        case _:
            return life


def _tick(life: Life, now: float) -> Step:
    match life.state:
        case Backoff(next_at=due) if now >= due:
            return _launch(life, now)
        case Starting(deadline=due, pid=pid) if now >= due:
            reason = f"did not listen on port {life.port} within {life.start_timeout:.0f} s"
            return replace(life, state=Failed(reason, is_running=pid is not None)), () if pid else (End(),)
        case _:
            return life, ()
