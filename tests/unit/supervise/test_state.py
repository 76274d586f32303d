from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtls.model import Endpoint
from devtls.supervise.state import (
    DELAYS,
    MOST_FAILURES,
    STEADY,
    Action,
    Answered,
    Backoff,
    Blocked,
    Daemonized,
    Degraded,
    End,
    Event,
    Exited,
    Failed,
    Launch,
    LeaderExited,
    Life,
    Listening,
    Pending,
    PortTaken,
    Probed,
    Ready,
    Refused,
    Restart,
    Spawned,
    SpawnFailed,
    Start,
    Starting,
    State,
    Stop,
    Stopped,
    Stopping,
    Tick,
    TreeEmpty,
    describe_exit,
    is_settled,
    is_up,
    next_due,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Endpoint("127.0.0.1", 3000)
THERE = Endpoint("::1", 5173)
UP: tuple[tuple[float, Event], ...] = ((0, Start()), (0, Spawned(7)), (1, Listening(HERE)))


def replay(history: Iterable[tuple[float, Event]]) -> tuple[Life, list[Action]]:
    life, done = Life(port=3000), list[Action]()
    for now, event in history:
        life, actions = step(life, event, now)
        done += actions
    return life, done


@dataclass(frozen=True)
class History:
    name: str
    events: tuple[tuple[float, Event], ...]
    state: State
    actions: tuple[Action, ...]


HISTORIES = (
    History("it starts", ((0, Start()),), Starting(0, 60), (Launch(),)),
    History("it is spawned", ((0, Start()), (0, Spawned(7))), Starting(0, 60, 7), (Launch(),)),
    History("it listens", UP, Ready(1, HERE), (Launch(),)),
    History("a start when it runs does nothing", (*UP, (2, Start())), Ready(1, HERE), (Launch(),)),
    History("it moves", (*UP, (2, Listening(THERE))), Ready(2, THERE), (Launch(),)),
    History("one refusal is not told", (*UP, (2, Refused("no"))), Ready(1, HERE, 1), (Launch(),)),
    History(
        "two refusals degrade it",
        (*UP, (2, Refused("no")), (3, Refused("no"))),
        Degraded(3, HERE, "no", "tcp"),
        (Launch(),),
    ),
    History(
        "a refusal is forgiven by an answer",
        (*UP, (2, Refused("no")), (3, Answered()), (4, Refused("no"))),
        Ready(1, HERE, 1),
        (Launch(),),
    ),
    History(
        "an answer cures what TCP found",
        (*UP, (2, Refused("no")), (3, Refused("no")), (4, Answered())),
        Ready(4, HERE),
        (Launch(),),
    ),
    History(
        "an answer on TCP does not cure what a probe found",
        (*UP, (2, Probed(False, "502")), (3, Answered())),
        Degraded(2, HERE, "502", "probe"),
        (Launch(),),
    ),
    History(
        "a probe cures what a probe found",
        (*UP, (2, Probed(False, "502")), (3, Probed(True, "200"))),
        Ready(3, HERE),
        (Launch(),),
    ),
    History("it stops", (*UP, (2, Stop())), Stopping(2, False), (Launch(), End())),
    History("it has stopped", (*UP, (2, Stop()), (3, TreeEmpty())), Stopped(), (Launch(), End())),
    History("who cannot be ended is counted", (*UP, (2, Stop()), (9, TreeEmpty(1))), Stopped(1), (Launch(), End())),
    History(
        "the leader's end is not the end of the tree",
        (*UP, (2, Stop()), (3, LeaderExited(0))),
        Stopping(2, False),
        (Launch(), End()),
    ),
    History(
        "a second stop in a hurry kills",
        (*UP, (2, Stop()), (3, Stop(is_urgent=True))),
        Stopping(2, False),
        (Launch(), End(), End(is_urgent=True)),
    ),
    History(
        "a second stop without hurry changes nothing",
        (*UP, (2, Stop()), (3, Stop())),
        Stopping(2, False),
        (Launch(), End()),
    ),
    History("it restarts", (*UP, (2, Restart())), Stopping(2, True), (Launch(), End())),
    History(
        "it has restarted",
        (*UP, (2, Restart()), (3, TreeEmpty())),
        Starting(3, 63),
        (Launch(), End(), Launch()),
    ),
    History(
        "a stop takes a restart back",
        (*UP, (2, Restart()), (2, Stop()), (3, TreeEmpty())),
        Stopped(),
        (Launch(), End()),
    ),
    History(
        "a start takes a stop back",
        (*UP, (2, Stop()), (2, Start()), (3, TreeEmpty())),
        Starting(3, 63),
        (Launch(), End(), Launch()),
    ),
    History("success is final", (*UP, (2, LeaderExited(0))), Exited(0), (Launch(), End())),
    History(
        "what exits at once is told, and that it was never ready",
        ((0, Start()), (0, Spawned(7)), (0.1, LeaderExited(1))),
        Backoff(1, 0.1, 1, was_ready=False),
        (Launch(), End()),
    ),
    History(
        "a crash after readiness is told as such",
        (*UP, (2, LeaderExited(-9))),
        Backoff(1, 2, -9, was_ready=True),
        (Launch(), End()),
    ),
    History(
        "the first restart is at once",
        (*UP, (2, LeaderExited(1)), (2, Tick())),
        Starting(2, 62),
        (Launch(), End(), Launch()),
    ),
    History(
        "a shell that found no command is final",
        ((0, Start()), (0, Spawned(7)), (0.1, LeaderExited(127))),
        Failed("command not found (exit status 127)"),
        (Launch(), End()),
    ),
    History("no such command", ((0, Start()), (0, SpawnFailed("no"))), Failed("no"), (Launch(), End())),
    History("a stranger has the port", ((0, Start()), (0, PortTaken("nc"))), Blocked("nc"), (Launch(), End())),
    History(
        "it never listens, and is left alone",
        ((0, Start()), (0, Spawned(7)), (60, Tick())),
        Failed("did not listen on port 3000 within 60 s", is_running=True),
        (Launch(),),
    ),
    History(
        "it listens after all",
        ((0, Start()), (0, Spawned(7)), (60, Tick()), (90, Listening(HERE))),
        Ready(90, HERE),
        (Launch(),),
    ),
    History(
        "it never listens, then exits",
        ((0, Start()), (0, Spawned(7)), (60, Tick()), (90, LeaderExited(1))),
        Failed("did not listen on port 3000 within 60 s, then it exited with status 1"),
        (Launch(), End()),
    ),
    History(
        "it goes into the background before it listens",
        ((0, Start()), (0, Spawned(7)), (1, LeaderExited(0, has_others=True)), (2, Listening(HERE))),
        Daemonized(2, HERE),
        (Launch(),),
    ),
    History(
        "it goes into the background and nothing comes of it",
        ((0, Start()), (0, Spawned(7)), (1, LeaderExited(0, has_others=True)), (2, TreeEmpty())),
        Exited(0),
        (Launch(),),
    ),
    History(
        "it goes into the background after it listens",
        (*UP, (2, LeaderExited(0, has_others=True, is_listening=True))),
        Daemonized(1, HERE),
        (Launch(),),
    ),
    History(
        "what went into the background dies",
        (*UP, (2, LeaderExited(0, has_others=True, is_listening=True)), (3, TreeEmpty())),
        Backoff(1, 3, 0, was_ready=True),
        (Launch(), End()),
    ),
    History(
        "what went into the background does not answer for a while",
        (*UP, (2, LeaderExited(0, True, True)), (3, Refused("no")), (4, Refused("no")), (5, Answered())),
        Daemonized(5, HERE),
        (Launch(),),
    ),
    History(
        "a stop while it waits to be restarted",
        (*UP, (2, LeaderExited(1)), (2, Stop()), (2, Tick()), (2, TreeEmpty())),
        Stopped(),
        (Launch(), End(), End()),
    ),
    History("a stop before the start", ((0, Stop()), (0, TreeEmpty())), Stopped(), (End(),)),
    History("a stop of what is stopped", ((0, Stop()), (0, TreeEmpty()), (1, Stop())), Stopped(), (End(),)),
)


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.name)
def test_a_history_ends_in_its_state_after_its_actions(history: History) -> None:
    life, actions = replay(history.events)
    assert life.state == history.state
    assert tuple(actions) == history.actions


def crash_loop(ready_for: float | None, times: int) -> list[Life]:
    """The lives right after each crash, of a service that is ready for that long each time, or never."""
    life, now, crashed = Life(port=3000), 0.0, []
    life, _ = step(life, Start(), now)
    for _ in range(times):
        life, _ = step(life, Spawned(7), now)
        if ready_for is not None:
            life, _ = step(life, Listening(HERE), now)
            now += ready_for
        life, _ = step(life, LeaderExited(1), now)
        crashed.append(life)
        now = next_due(life.state) or now
        life, _ = step(life, Tick(), now)
    return crashed


def test_restarts_come_slower_and_slower_up_to_ten_seconds() -> None:
    lives = crash_loop(ready_for=1.0, times=len(DELAYS) + 2)
    moments = [life.state.next_at for life in lives if isinstance(life.state, Backoff)]
    waits = [later - earlier - 1.0 for earlier, later in zip([0.0, *moments], moments, strict=False)]
    assert waits == pytest.approx([*DELAYS, DELAYS[-1], DELAYS[-1]])


def test_ten_seconds_of_readiness_make_the_next_restart_the_first() -> None:
    lives = crash_loop(ready_for=STEADY, times=8)
    assert {life.attempt for life in lives} == {1}


def test_what_never_becomes_ready_is_given_up_after_five_failures() -> None:
    lives = crash_loop(ready_for=None, times=MOST_FAILURES + 1)
    assert [type(life.state) for life in lives[:MOST_FAILURES]] == [Backoff] * 4 + [Failed]
    assert lives[-1].state == Failed("exited with status 1, 5 times in 60 s without becoming ready")


def test_a_start_after_giving_up_begins_anew() -> None:
    life = crash_loop(ready_for=None, times=MOST_FAILURES)[-1]
    life, actions = step(life, Start(), 100)
    assert (life.state, life.attempt, life.failures, actions) == (Starting(100, 160), 0, (), (Launch(),))


def test_an_exit_is_told_in_words() -> None:
    assert describe_exit(3) == "exited with status 3"
    assert describe_exit(-9) == "was ended by SIGKILL"
    assert describe_exit(-99) == "was ended by signal 99"


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.just(Start()),
    st.builds(Stop, st.booleans()),
    st.just(Restart()),
    st.just(Spawned(7)),
    st.just(SpawnFailed("no")),
    st.just(PortTaken("nc")),
    st.sampled_from([Listening(HERE), Listening(THERE)]),
    st.builds(LeaderExited, st.sampled_from([0, 1, -9, 126, 127]), st.booleans(), st.booleans()),
    st.just(TreeEmpty()),
    st.just(Answered()),
    st.just(Refused("no")),
    st.builds(Probed, st.booleans(), st.just("502")),
    st.just(Tick()),
)
STORIES = st.lists(st.tuples(st.floats(0, 30), EVENTS), max_size=40)


def timed(story: list[tuple[float, Event]]) -> list[tuple[float, Event]]:
    now, history = 0.0, []
    for wait, event in story:
        now += wait
        history.append((now, event))
    return history


@given(STORIES)
def test_whatever_happened_a_stop_ends_the_tree_and_then_it_is_stopped(story: list[tuple[float, Event]]) -> None:
    life, _ = replay(timed(story))
    was_stopping = isinstance(life.state, Stopping | Stopped)
    life, actions = step(life, Stop(), 10_000)
    assert was_stopping or actions == (End(),)
    life, actions = step(life, TreeEmpty(), 10_001)
    assert (life.state, actions) == (Stopped(), ())


@given(STORIES)
def test_it_is_launched_only_when_starting_and_a_launch_is_the_only_way_there(
    story: list[tuple[float, Event]],
) -> None:
    life = Life(port=3000)
    for now, event in timed(story):
        before = life
        life, actions = step(life, event, now)
        assert (Launch() in actions) == (isinstance(life.state, Starting) and not isinstance(before.state, Starting))


@given(STORIES)
def test_nothing_is_settled_without_its_tree_having_been_told_to_end(story: list[tuple[float, Event]]) -> None:
    life, is_running = Life(port=3000), False
    for now, event in timed(story):
        had_left = life.leader_code is not None or isinstance(life.state, Failed)
        life, actions = step(life, event, now)
        is_running = (is_running or Launch() in actions) and not any(isinstance(action, End) for action in actions)
        if isinstance(event, TreeEmpty) and (had_left or isinstance(life.state, Stopped)):
            is_running = False
        if is_settled(life.state):
            assert not is_running


@given(STORIES)
def test_a_tick_when_it_is_due_always_moves_on(story: list[tuple[float, Event]]) -> None:
    life, _ = replay(timed(story))
    due = next_due(life.state)
    if due is not None:
        assert step(life, Tick(), due)[0].state != life.state
        assert not is_up(life.state)


def test_a_service_is_pending_until_it_is_asked_for() -> None:
    assert Life(port=3000).state == Pending()
    assert not is_settled(Pending())
