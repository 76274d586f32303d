"""From the command to the first instruction of the app: `devtls up` against `honcho start`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import interleave
from tests.bench.green import time_devtls
from tests.bench.table import Against, AtMost

if TYPE_CHECKING:
    from tests.bench.place import Place

ROUNDS = 20


def measure(place: Place) -> list[Against]:
    """Both start the same command; devtls looks after CA, hosts, trust and ports before that."""
    place.machine.write("/root/Procfile", f"web: {' '.join(place.app)}\n", user="root")
    honcho = [place.honcho, "-f", "/root/Procfile", "start"]
    pairs = interleave(
        ROUNDS,
        lambda: time_devtls(place)["exec"],
        lambda: place.time(honcho, {"log": "listen"})["exec"],
    )
    return [Against("command to the app's exec", pairs, "honcho start", AtMost(1.2))]
