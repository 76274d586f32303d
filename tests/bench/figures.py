"""The statistics of the benchmarks: interleaved rounds, medians, spread, ratios."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some samples, and the quartiles around it: half of all samples lie between `low` and `high`."""

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two sides measured in turn.

    Attributes:
        ratio: ours over theirs, the median of all pairs: what the machine did meanwhile met both sides of a pair.
    """

    ours: Spread
    theirs: Spread
    ratio: float


def spread_of(samples: Sequence[float]) -> Spread:
    """Return the median and quartiles of at least one sample."""
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0], 1)
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, low, high, len(samples))


def pairs_of(samples: Sequence[tuple[float, float]]) -> Pairs:
    """Return both sides of at least one pair, and how they compare."""
    ours, theirs = zip(*samples, strict=True)
    return Pairs(spread_of(ours), spread_of(theirs), statistics.median(mine / other for mine, other in samples))


def interleave(rounds: int, ours: Callable[[], float], theirs: Callable[[], float], *, warm_ups: int = 1) -> Pairs:
    """Measure A B A B …, so that a slow moment of the machine meets both; the first rounds warm up and are dropped."""
    return pairs_of([(ours(), theirs()) for _ in range(warm_ups + rounds)][warm_ups:])
