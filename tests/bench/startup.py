"""What it costs to start at all: `devtls --version` against the import of its command line library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import interleave
from tests.bench.table import Against, AtMost

if TYPE_CHECKING:
    from tests.bench.place import Place

ROUNDS = 40


def measure(place: Place) -> list[Against]:
    """Whole processes, from start to end, on the same interpreter."""
    pairs = interleave(
        ROUNDS,
        lambda: place.time(["devtls", "--version"], {"exit": True})["reached"],
        lambda: place.time([place.python, "-c", "import click"], {"exit": True})["reached"],
    )
    return [Against("devtls --version", pairs, 'python -c "import click"', AtMost(1.4))]
