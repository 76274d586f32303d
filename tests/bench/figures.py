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


def spread_of(samples: Sequence[float]) -> Spread:
    """Return the median and quartiles of at least one sample."""
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0], 1)
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, low, high, len(samples))


def ratio_of(ours: Spread, theirs: Spread) -> float:
    """How many times the peer's median ours is."""
    return ours.median / theirs.median


def interleave(
    rounds: int, ours: Callable[[], float], theirs: Callable[[], float], *, warm_ups: int = 1
) -> tuple[Spread, Spread]:
    """Measure A B A B …, so that a slow moment of the machine meets both; the first rounds warm up and are dropped."""
    pairs = [(ours(), theirs()) for _ in range(warm_ups + rounds)][warm_ups:]
    return spread_of([mine for mine, _ in pairs]), spread_of([other for _, other in pairs])
