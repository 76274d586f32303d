"""Who is served, noted beside the live configuration: after a keeper was killed, this tells who will come back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from devtls.system import processes
from devtls.system.processes import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MASTER, WORKER = "nginx: master process", "nginx: worker process"  # the titles of nginx' own
OWNERS = "owners.json"  # pid and start time of each supervisor


def render_owners(pids: Iterable[int]) -> str:
    """Return the note about these supervisors."""
    owners = filter(None, map(processes.identify, pids))
    return json.dumps([[each.pid, each.started] for each in owners])


def count_orphans(folder: Path) -> int:
    """How many projects a killed keeper served that are still there, and about to go to another one.

    A keeper that ends takes its configuration away.
    """
    try:
        owners = [Identity(*each) for each in json.loads((folder / "live" / OWNERS).read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return 0
    return sum(map(processes.is_alive, owners))
