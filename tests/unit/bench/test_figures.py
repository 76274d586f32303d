"""The statistics of the benchmarks."""

from __future__ import annotations

import pytest

from tests.bench.figures import Spread, interleave, ratio_of, spread_of


def test_half_of_the_samples_lie_between_the_quartiles() -> None:
    assert spread_of([5, 1, 3, 2, 4]) == Spread(median=3, low=2, high=4, count=5)


def test_one_sample_is_its_own_spread() -> None:
    assert spread_of([7]) == Spread(7, 7, 7, 1)


def test_an_outlier_moves_neither_median_nor_ratio() -> None:
    assert ratio_of(spread_of([2, 2, 2, 2, 900]), spread_of([1, 1, 1, 1, 1])) == pytest.approx(2)


def test_the_two_sides_take_turns_and_the_warm_up_is_dropped() -> None:
    turns: list[str] = []

    def measure(side: str, samples: list[float]) -> float:
        turns.append(side)
        return samples.pop(0)

    first, second = [100.0, 1.0, 1.0], [200.0, 3.0, 3.0]
    ours, theirs = interleave(2, lambda: measure("A", first), lambda: measure("B", second))
    assert "".join(turns) == "ABABAB"
    assert (ours.median, ours.count, theirs.median) == (1, 2, 3)
