"""Runs inside a private machine: the memory and processor time of the processes whose numbers are its arguments.

Prints one JSON object for each: rss and pss in bytes, cpu in seconds since its start.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def measure(process: Path) -> dict[str, float]:
    """Read one process; schedstat counts nanoseconds where utime and stime count hundredths of a second."""
    rollup = (process / "smaps_rollup").read_text()
    sizes = {
        name.lower(): int(size) * 1024 for name, size in re.findall(r"^(Rss|Pss):\s+(\d+) kB", rollup, re.MULTILINE)
    }
    threads = [int((thread / "schedstat").read_text().split()[0]) for thread in (process / "task").iterdir()]
    return {**sizes, "cpu": sum(threads) / 1e9}


if __name__ == "__main__":
    for pid in sys.argv[1:]:
        print(json.dumps(measure(Path("/proc") / pid)))
