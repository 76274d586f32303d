"""What a running project costs while nothing happens: memory and processor time of everything but nginx and the app."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.bench.place import PYTHON, USER
from tests.bench.table import Amount

if TYPE_CHECKING:
    from tests.bench.place import Place
    from tests.real.machine import Seen

SETTLING = 3.0  # s after Ready
IDLE = 20.0  # s
MB = 1e6


def measure(place: Place) -> list[Amount]:
    """Start a project, let it be, then look at its processes twice."""
    running = place.machine.start(place.devtls_up, user=USER, terminal=True)
    running.wait_for("Ready in")
    time.sleep(SETTLING)
    pids = {seen.pid: role for seen in place.machine.processes() if (role := _role(seen, running.pid))}
    assert {"guardian", "supervisor", "keeper"} <= set(pids.values()), pids
    before = _read(place, pids)
    time.sleep(IDLE)
    after = _read(place, pids)
    running.press_control_c()
    running.wait()
    return [_memory(pids, before), _keeper(pids, before), _processor(pids, before, after)]


def _role(seen: Seen, guardian: int) -> str:
    """What a process is for; nothing for nginx and the app, which are not ours to answer for."""
    if seen.pid == guardian:
        return "guardian"
    if "up" in seen.argv:
        return "supervisor"
    if "devtls.nginx.keeper" in seen.argv:
        return "keeper"
    is_foreign = seen.argv[0].startswith("nginx:") or any(word.endswith("app.py") for word in seen.argv)
    return "" if is_foreign else " ".join(seen.argv)


def _read(place: Place, pids: dict[int, str]) -> list[dict[str, float]]:
    said = place.run([PYTHON, "-I", str(place.directory / "meter.py"), *map(str, pids)])
    return [json.loads(line) for line in said.splitlines()]


def _memory(pids: dict[int, str], found: list[dict[str, float]]) -> Amount:
    each = [f"{role} {sizes['rss'] / MB:.0f}" for role, sizes in zip(pids.values(), found, strict=True)]
    shared = sum(sizes["pss"] for sizes in found) / MB
    total = sum(sizes["rss"] for sizes in found) / MB
    return Amount("memory, RSS together", total, f"{', '.join(each)}; PSS {shared:.0f} MB", "MB", 75)


def _keeper(pids: dict[int, str], found: list[dict[str, float]]) -> Amount:
    (sizes,) = (sizes for role, sizes in zip(pids.values(), found, strict=True) if role == "keeper")
    detail = f"RSS; PSS {sizes['pss'] / MB:.1f} MB"
    return Amount("memory, the keeper alone", sizes["rss"] / MB, detail, "MB", 15)


def _processor(pids: dict[int, str], before: list[dict[str, float]], after: list[dict[str, float]]) -> Amount:
    spent = [late["cpu"] - early["cpu"] for early, late in zip(before, after, strict=True)]
    each = [f"{role} {seconds * 1000:.1f}" for role, seconds in zip(pids.values(), spent, strict=True)]
    return Amount(
        "processor time while idle",
        sum(spent) / IDLE * 100,
        f"{', '.join(each)} ms in {IDLE:.0f} s",
        "% of a core",
        0.2,
    )
