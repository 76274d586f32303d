"""What was measured, as values, and the table of it: on a terminal and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from tests.bench.figures import Spread, ratio_of

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = ("measured", "devtls", "peer", "result", "target", "")


@dataclass(frozen=True, slots=True)
class Against:
    """A duration against a peer's, both in seconds."""

    what: str
    ours: Spread
    peer: str
    theirs: Spread
    at_most: float


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
    at_most: float
    why: str


Row = Against | Amount | Missing


def is_met(row: Row) -> bool | None:
    """Whether the target is met; None when that is not known."""
    match row:
        case Against():
            return ratio_of(row.ours, row.theirs) <= row.at_most
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
        case Against(what, ours, peer, theirs, at_most):
            result = f"{ratio_of(ours, theirs):.2f} x"
            return what, _duration(ours), f"{peer}: {_duration(theirs)}", result, f"<= {at_most} x", verdict
        case Amount(what, ours, detail, unit, at_most):
            return what, detail, "", f"{ours:.3g} {unit}", f"<= {at_most} {unit}", verdict
        case Missing(what, peer, at_most, why):
            return what, "", peer, f"not measured: {why}", f"<= {at_most} x", verdict
        case _:
            assert_never(row)


def _duration(spread: Spread) -> str:
    """A median and its quartiles in milliseconds."""
    return f"{spread.median * 1000:.0f} ms ({spread.low * 1000:.0f}-{spread.high * 1000:.0f})"


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
