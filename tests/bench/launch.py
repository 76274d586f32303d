"""From the command to the first instruction of the app: `devtls up` against `honcho start`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import interleave
from tests.bench.green import time_devtls
from tests.bench.serving import await_port
from tests.bench.table import Against, AtMost

if TYPE_CHECKING:
    from tests.bench.place import Place

ROUNDS = 20
HONCHO_PORT = 5000  # that it gives its first process


def measure(place: Place) -> list[Against]:
    """Both start the same command; devtls looks after CA, hosts, trust and ports before that."""
    place.machine.write("/root/Procfile", f"web: {' '.join(place.app)}\n", user="root")
    pairs = interleave(
        ROUNDS,
        lambda: time_devtls(place)["exec"],
        lambda: _time_honcho(place),
    )
    return [Against("command to the app's exec", pairs, "honcho start", AtMost(1.2))]


def _time_honcho(place: Place) -> float:
    times = place.time([place.honcho, "-f", "/root/Procfile", "start"], {"log": "listen"})
    # honcho leaves its app behind when Ctrl+C comes before it has taken note that it runs
    for seen in place.machine.processes():
        if any(word.endswith("/app.py") for word in seen.argv):
            place.machine.kill(seen.pid)
    await_port(place, HONCHO_PORT, free=True)
    return times["exec"]
