"""What a certificate costs: `devtls cert` against the imports that it cannot do without, and against mkcert."""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from devtls.ca.profile import issue_leaf, make_authority
from devtls.ca.store import create_authority
from devtls.system.paths import Paths
from devtls.system.run import run
from devtls.trust.nss import NssStore
from tests.bench.figures import interleave
from tests.bench.table import Against, Amount, AtMost

if TYPE_CHECKING:
    from tests.bench.place import Place
    from tests.bench.table import Row

ROUNDS = 20
LEAVES = 200
IN = 'cd "$(mktemp -d)" && exec env HOME="$PWD" CAROOT="$PWD" "$@"'  # for both: an empty home, and an empty folder


def measure(place: Place) -> list[Row]:
    """Whole processes; then what is done in one process, and one root into a new NSS database each time."""

    def timed(*argv: str) -> float:
        return place.time(list(argv), {"exit": True})["reached"]

    place.machine.run(["devtls", "cert", "love.test"], user="root", check=True)
    warm = interleave(
        ROUNDS,
        lambda: timed("devtls", "cert", "love.test"),
        lambda: timed(place.python, "-c", "import click, cryptography.x509"),
    )
    fresh = interleave(
        ROUNDS,
        lambda: timed("sh", "-c", IN, "sh", "devtls", "cert", "love.test"),
        lambda: timed("sh", "-c", IN, "sh", "mkcert", "love.test"),
    )
    return [
        Against("devtls cert", warm, 'python -c "import click, cryptography.x509"', AtMost(1.5)),
        Against("CA and certificate, new", fresh, "mkcert", AtMost(1.0)),
        Amount("a certificate, warm", _leaf(), f"median of {LEAVES} in one process", "ms", 1.0),
        Amount("a root into an NSS database", _nss(), f"median of {ROUNDS}, new databases, libnss3", "ms", 60.0),
    ]


def _leaf() -> float:
    now = datetime.now(UTC)
    issuer = make_authority(["love.test"], owner="bench", now=now).issuer
    samples = []
    for _ in range(LEAVES):
        begun = time.perf_counter()
        issue_leaf(issuer, "love.test", now=now)
        samples.append(time.perf_counter() - begun)
    return statistics.median(samples) * 1000


def _nss() -> float:
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        authority = create_authority(Paths(top, top / "d", top / "s"), ("love.test",), datetime.now(UTC))
        for number in range(ROUNDS):
            store = NssStore("NSS", top / str(number), run)
            begun = time.perf_counter()
            change = store.trust(authority)
            samples.append(time.perf_counter() - begun)
            if change.troubles:
                raise RuntimeError(change.troubles[0].fact)
    return statistics.median(samples) * 1000
