"""Orphans that this process adopted (it is a subreaper) are waited for, so that no zombies pile up."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from devtls.system.processes import Identity, zombies

if TYPE_CHECKING:
    from devtls.system.loop import Loop, Timer

PATIENCE = 1.0  # seconds; whoever started a process waits for it much sooner: what is left then is an orphan


class Reaper:
    """Waits for the children that nobody else waits for; main thread only."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._seen: frozenset[Identity] = frozenset()
        self._timer: Timer | None = None
        loop.on_signal(signal.SIGCHLD, self.look)

    def look(self) -> None:
        """Look after a while, and again until there are no zombies."""
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE, self._reap)

    def _reap(self) -> None:
        self._timer = None
        found = frozenset(zombies())
        for identity in found & self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(identity.pid, os.WNOHANG)
        self._seen = found
        if found:
            self.look()
