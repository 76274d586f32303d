"""`make bench`: measure whole processes against their peers in one run, print the table, write docs/benchmarks.md."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[0] = str(ROOT)  # it was this folder, whose files are no modules of their own

from tests.bench import certificates, footprint, gateway, green, launch, many, reload, startup  # noqa: E402 - found on the path above
from tests.bench.page import render_page  # noqa: E402 - as above
from tests.bench.place import describe, make_place  # noqa: E402 - as above
from tests.bench.table import Row, render_text  # noqa: E402 - as above

FAMILIES = (
    startup.measure,
    launch.measure,
    green.against_caddy,
    green.against_portless,
    footprint.measure,
    certificates.measure,
    gateway.measure,
    reload.measure,
    many.measure,
)
PAGE = ROOT / "docs/benchmarks.md"


def main() -> int:
    """Measure everything. A missed target is in the table, for people to judge; it is no failure of this program."""
    if os.geteuid() != 0:
        print("only root can make the private machine of the benchmarks: sudo .venv/bin/python tests/bench")
        return 2
    # A shell ignores it for what it starts in the background, so would all that we start, and Ctrl+C would end nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rows: list[Row] = []
    with make_place() as place:
        facts = describe(place)
        green.time_devtls(place)  # makes CA, certificates, hosts and trust
        for measure in FAMILIES:
            print(f"measuring {measure.__module__.rpartition('.')[2]}: {measure.__doc__}", flush=True)
            rows += measure(place)
    print("\n".join(["", *(f"{name}: {fact}" for name, fact in facts), "", *render_text(rows)]))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render_page(rows, facts))
    owner = PAGE.parent.stat()  # under sudo, the clone is not root's
    os.chown(PAGE, owner.st_uid, owner.st_gid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
