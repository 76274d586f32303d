"""A project of a thousand domains: how long nginx takes to serve it, and how much memory, beside an nginx by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.bench.figures import pairs_of
from tests.bench.place import PYTHON
from tests.bench.reload import CONFIG, as_by_hand, ask, joining
from tests.bench.serving import await_port, begin, nginx_by_hand, write_by_hand
from tests.bench.table import MEGABYTES, Against, AtMost
from tests.real.running import wait_until

if TYPE_CHECKING:
    from tests.bench.place import Place
    from tests.real.running import Running

DOMAINS = 1000
ROUNDS = 5
TARGET = AtMost(1.3)
PEER = "nginx by hand, same configuration"


def measure(place: Place) -> list[Against]:
    """Each domain has a certificate of its own; they are issued before. No gateway runs before."""
    await_port(place, 443, free=True)
    with joining(place, DOMAINS) as project:
        ask(project, "join")  # warms up, too
        write_by_hand(place, as_by_hand(place.machine.read(CONFIG)))
        ask(project, "leave")
        rounds = [(_ours(place, project), _theirs(place)) for _ in range(ROUNDS)]
    times = pairs_of([(ours[0], theirs[0]) for ours, theirs in rounds])
    sizes = pairs_of([(ours[1], theirs[1]) for ours, theirs in rounds])
    return [
        Against(f"{DOMAINS} domains: start", times, PEER, TARGET),
        Against(f"{DOMAINS} domains: memory of nginx, PSS", sizes, PEER, TARGET, MEGABYTES),
    ]


def _ours(place: Place, project: Running) -> tuple[float, float]:
    seconds, size = ask(project, "join")["seconds"], _memory(place)
    ask(project, "leave")
    return seconds, size


def _theirs(place: Place) -> tuple[float, float]:
    begun = begin(place, *nginx_by_hand(place))
    size = _memory(place)
    place.machine.kill(int(begun["pid"]), "TERM")
    wait_until(lambda: not _nginx(place), "nginx ends")
    return begun["seconds"], size


def _memory(place: Place) -> float:
    """All of nginx, together."""
    said = place.run([PYTHON, "-I", str(place.directory / "meter.py"), *map(str, _nginx(place))])
    return float(sum(json.loads(line)["pss"] for line in said.splitlines()))


def _nginx(place: Place) -> list[int]:
    return [seen.pid for seen in place.machine.processes() if seen.argv and seen.argv[0].startswith("nginx:")]
