"""What was measured, as values, and the table of it: on a terminal and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.figures import Pairs, Spread

HEADER = ("measured", "devtls", "peer", "result", "target", "")


@dataclass(frozen=True, slots=True)
class Unit:
    """How a figure is shown: multiplied by `scale`, and called so."""

    name: str
    scale: float = 1


MILLISECONDS = Unit("ms", 1000)  # of seconds
MEGABYTES = Unit("MB", 1e-6)  # of bytes
REQUESTS = Unit("requests/s")
ROUND_TRIPS = Unit("round trips/s")


@dataclass(frozen=True, slots=True)
class AtMost:
    """A target for what should be small: time, memory."""

    bound: float

    def is_met(self, figure: float) -> bool:
        return figure <= self.bound

    def __str__(self) -> str:
        return f"<= {self.bound}"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A target for what should be large: a rate."""

    bound: float

    def is_met(self, figure: float) -> bool:
        return figure >= self.bound

    def __str__(self) -> str:
        return f">= {self.bound}"


Target = AtMost | AtLeast


@dataclass(frozen=True, slots=True)
class Against:
    """Pairs of a duration, a size or a rate, ours and a peer's; the target is for their ratio."""

    what: str
    pairs: Pairs
    peer: str
    target: Target
    unit: Unit = MILLISECONDS


@dataclass(frozen=True, slots=True)
class Amount:
    """Something that devtls alone takes, in `unit`.

    Attributes:
        detail: what it is made of.
    """

    what: str
    ours: float
    detail: str
    unit: str
    at_most: float


@dataclass(frozen=True, slots=True)
class Missing:
    """A comparison that could not be made here."""

    what: str
    peer: str
    target: Target
    why: str


Row = Against | Amount | Missing


def is_met(row: Row) -> bool | None:
    """Whether the target is met; None when that is not known."""
    match row:
        case Against():
            return row.target.is_met(row.pairs.ratio)
        case Amount():
            return row.ours <= row.at_most
        case Missing():
            return None
        case _:
            assert_never(row)


def cells_of(row: Row) -> tuple[str, ...]:
    """A row as texts, one for each column of HEADER."""
    verdict = {True: "met", False: "missed", None: ""}[is_met(row)]
    match row:
        case Against(what, pairs, peer, target, unit):
            ours, theirs = _figure(pairs.ours, unit), _figure(pairs.theirs, unit)
            return what, ours, f"{peer}: {theirs}", f"{pairs.ratio:.2f} x", f"{target} x", verdict
        case Amount(what, ours, detail, unit, at_most):
            return what, detail, "", f"{ours:.3g} {unit}", f"<= {at_most} {unit}", verdict
        case Missing(what, peer, target, why):
            return what, "", peer, f"not measured: {why}", f"{target} x", verdict
        case _:
            assert_never(row)


def _figure(spread: Spread, unit: Unit) -> str:
    """A median and its quartiles."""
    low, median, high = (f"{figure * unit.scale:.0f}" for figure in (spread.low, spread.median, spread.high))
    return f"{median} {unit.name} ({low}-{high})"


def render_text(rows: Sequence[Row]) -> list[str]:
    """The table for a terminal."""
    table = [HEADER, *map(cells_of, rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(HEADER))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table]


def render_markdown(rows: Sequence[Row]) -> list[str]:
    """The table for a page."""
    return [_markdown(HEADER), _markdown(["---"] * len(HEADER)), *(_markdown(cells_of(row)) for row in rows)]


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
