"""What it costs to start at all: `devtls --version` against the import of its command line library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import interleave
from tests.bench.table import Against

if TYPE_CHECKING:
    from tests.bench.place import Place

ROUNDS = 40


def measure(place: Place) -> list[Against]:
    """Whole processes, from start to end, on the same interpreter."""
    ours, theirs = interleave(
        ROUNDS,
        lambda: place.time(["devtls", "--version"], {"exit": True})["reached"],
        lambda: place.time([place.python, "-c", "import click"], {"exit": True})["reached"],
    )
    return [Against("devtls --version", ours, 'python -c "import click"', theirs, 1.4)]
