"""One thread, one loop: descriptors, timers and signals become calls, in turn.

Small on purpose: `import asyncio` costs a supervisor three times the start-up of this and 8 MB, and nothing here
awaits. Signal handlers only take note; the loop decides.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import signal
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A call that is due at a moment; `cancel` takes it back."""

    __slots__ = ("call", "due")

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due = due
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Never call it."""
        self.call = None


class Loop:
    """Runs callbacks until `stop`; all of them in the thread that called `run`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._soon: deque[Callable[[], None]] = deque()
        self._signals: dict[int, Callable[[], None]] = {}
        self._running = False
        self._wake_reader, self._wake_writer = _pipe()
        self._selector.register(self._wake_reader, selectors.EVENT_READ, (self._drain_wakeups, None))

    def watch(
        self, descriptor: int, readable: Callable[[], None] | None, writable: Callable[[], None] | None = None
    ) -> None:
        """Call `readable` or `writable` whenever the descriptor is; replaces what was watched there before."""
        events = (selectors.EVENT_READ if readable else 0) | (selectors.EVENT_WRITE if writable else 0)
        if descriptor in self._selector.get_map():
            if events:
                self._selector.modify(descriptor, events, (readable, writable))
            else:
                self._selector.unregister(descriptor)
        elif events:
            self._selector.register(descriptor, events, (readable, writable))

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor; do this before closing it."""
        self.watch(descriptor, None, None)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once, `seconds` from now."""
        timer = Timer(self.clock() + seconds, call)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn; may be used from another thread."""
        self._soon.append(call)
        self._wake()

    def on_signal(self, number: signal.Signals, call: Callable[[], None]) -> None:
        """Call in a turn of the loop after the signal came; main thread only."""
        self._signals[number] = call
        signal.signal(number, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)

    def run(self) -> None:
        """Turn until `stop`."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        """End `run` after this turn."""
        self._running = False
        self._wake()

    def turn(self, longest: float | None = None) -> None:
        """Wait for something to do (at most `longest` seconds) and do it."""
        for key, mask in self._selector.select(self._patience(longest)):
            readable, writable = key.data
            if mask & selectors.EVENT_READ and readable and self._is_watched(key):
                readable()
            if mask & selectors.EVENT_WRITE and writable and self._is_watched(key):
                writable()
        now = self.clock()
        due: list[Timer] = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:  # not those that these calls set, however short: descriptors have their turn first
            if timer.call:
                timer.call()
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def close(self) -> None:
        """Give back the loop's own descriptors."""
        if self._signals:
            signal.set_wakeup_fd(-1)
        self._selector.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _patience(self, longest: float | None) -> float | None:
        if self._soon or (not self._running and longest is None):
            return 0
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        waits = [] if longest is None else [longest]
        if self._timers:
            waits.append(max(0.0, self._timers[0][0] - self.clock()))
        return min(waits) if waits else None

    def _is_watched(self, key: selectors.SelectorKey) -> bool:
        """Whether it is still watched: an earlier call of this turn may have closed it, or its number be another's."""
        now = self._selector.get_map().get(key.fd)
        return now is not None and now.data is key.data

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # already full of wake-ups
            os.write(self._wake_writer, b"\0")

    def _drain_wakeups(self) -> None:
        try:
            noted = os.read(self._wake_reader, 4096)
        except BlockingIOError:
            return
        for number in noted:
            call = self._signals.get(number)
            if call:
                call()


def _pipe() -> tuple[int, int]:
    """Return a pipe that never blocks and that no program inherits."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer
