"""Runs inside a private machine: starts an nginx (PROGRAM WORD…) or reloads one (its pid), and says when it is live.

It is live when it has new workers and each old one has the title of a worker that takes no more connections; so does
the keeper look. Prints {"seconds", "pid"}; the nginx goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PAUSE = 0.001  # s between looks
PATIENCE = 60.0  # s


def begin(argv: list[str]) -> dict[str, float]:
    """Do it, and wait."""
    running = int(argv[0]) if argv[0].isdigit() else 0
    old = set(_workers(running)) if running else set()
    begun = time.perf_counter()
    if running:
        os.kill(running, signal.SIGHUP)
    nothing = subprocess.DEVNULL
    pid = running or subprocess.Popen(argv, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True).pid
    while not _is_live(_workers(pid), old):
        if time.perf_counter() - begun > PATIENCE:
            raise TimeoutError(f"nginx {pid} is not live")
        time.sleep(PAUSE)
    return {"seconds": time.perf_counter() - begun, "pid": pid}


def _is_live(workers: dict[int, str], old: set[int]) -> bool:
    fresh = any("worker" in title for pid, title in workers.items() if pid not in old)
    return fresh and all("shutting down" in title for pid, title in workers.items() if pid in old)


def _workers(master: int) -> dict[int, str]:
    found = {}
    for child in Path(f"/proc/{master}/task/{master}/children").read_text().split():
        try:
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_text()
        except OSError:  # gone meanwhile
            continue
    return found


if __name__ == "__main__":
    print(json.dumps(begin(sys.argv[1:])))
