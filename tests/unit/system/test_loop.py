from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from devtls.system.loop import Loop, Timer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> Iterator[Loop]:
    loop = Loop(clock)
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_timers_are_called_in_the_order_they_are_due_and_only_then(loop: Loop, clock: Clock) -> None:
    called: list[str] = []
    loop.call_later(2, lambda: called.append("later"))
    loop.call_later(1, lambda: called.append("sooner"))
    loop.call_later(1, lambda: called.append("sooner, second"))
    loop.turn(0)
    assert called == []
    clock.now = 3
    loop.turn(0)
    assert called == ["sooner", "sooner, second", "later"]


def test_a_cancelled_timer_is_never_called_even_by_one_due_in_the_same_turn(loop: Loop, clock: Clock) -> None:
    called: list[str] = []
    timers: list[Timer] = []

    def cancel_the_other() -> None:
        timers[0].cancel()

    loop.call_later(1, cancel_the_other)
    timers.append(loop.call_later(1, lambda: called.append("cancelled")))
    clock.now = 2
    loop.turn(0)
    assert called == []


def test_a_timer_that_sets_itself_again_at_once_does_not_starve_the_rest(loop: Loop, clock: Clock) -> None:
    called: list[float] = []

    def again() -> None:
        called.append(clock.now)
        loop.call_later(0, again)

    loop.call_later(0, again)
    loop.turn(0)
    assert called == [0]
    loop.turn(0)
    assert called == [0, 0]


def test_a_descriptor_is_read_when_it_can_be(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    read: list[bytes] = []
    loop.watch(ours.fileno(), lambda: read.append(ours.recv(100)))
    loop.turn(0)
    theirs.send(b"hello")
    loop.turn(0)
    loop.unwatch(ours.fileno())
    theirs.send(b"again")
    loop.turn(0)
    assert read == [b"hello"]


def test_a_descriptor_closed_earlier_in_a_turn_is_not_called(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    called: list[int] = []

    def close_both(number: int) -> None:
        called.append(number)
        for ours, _theirs in pairs:
            loop.unwatch(ours.fileno())

    for number, (ours, theirs) in enumerate(pairs):
        loop.watch(ours.fileno(), lambda number=number: close_both(number))  # type: ignore[misc] # bound early
        theirs.send(b"x")
    loop.turn(0)
    assert len(called) == 1
    for pair in pairs:
        for end in pair:
            end.close()


def test_a_number_watched_anew_within_a_turn_is_not_taken_for_the_old_one(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    called: list[str] = []

    def replace() -> None:
        called.append("old")
        loop.unwatch(ours.fileno())
        loop.watch(ours.fileno(), None, lambda: called.append("new"))

    loop.watch(ours.fileno(), replace, lambda: called.append("old, writable"))
    theirs.send(b"x")
    loop.turn(0)
    assert called == ["old"]
    loop.turn(0)
    assert called == ["old", "new"]


def test_a_signal_is_noted_and_answered_in_a_turn(loop: Loop) -> None:
    called: list[str] = []
    before = signal.getsignal(signal.SIGUSR1)
    loop.on_signal(signal.SIGUSR1, lambda: called.append("usr1"))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert called == []
    loop.turn(1)
    assert called == ["usr1"]
    signal.signal(signal.SIGUSR1, before)


def test_another_thread_can_have_a_call_made_and_end_the_loop() -> None:
    loop = Loop()
    called: list[int] = []

    def call() -> None:
        called.append(threading.get_ident())
        loop.stop()

    thread = threading.Thread(target=lambda: loop.call_soon(call))
    thread.start()
    loop.run()
    thread.join()
    loop.close()
    assert called == [threading.get_ident()]
