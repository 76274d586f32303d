from __future__ import annotations

import os
import signal
import subprocess
import time

from devtls.supervise.reaper import Reaper
from devtls.system.loop import Loop
from devtls.system.processes import zombies


def test_only_what_nobody_waits_for_is_reaped_and_only_after_a_while() -> None:
    now = [0.0]
    loop = Loop(lambda: now[0])
    before = signal.getsignal(signal.SIGCHLD)
    Reaper(loop)
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    deadline = time.monotonic() + 30
    seen: list[bool] = []
    while process.pid in {zombie.pid for zombie in zombies()}:
        assert time.monotonic() < deadline, "waited in vain"
        loop.turn(0.01)
        seen.append(process.pid in {zombie.pid for zombie in zombies()})
        now[0] += 0.6
    assert len(seen) >= 3
    assert process.wait() == 0  # subprocess takes a child that is gone for one that ended well
    loop.close()
    signal.signal(signal.SIGCHLD, before)
