"""The statistics of the benchmarks."""

from __future__ import annotations

import pytest

from tests.bench.figures import Spread, interleave, pairs_of, spread_of


def test_half_of_the_samples_lie_between_the_quartiles() -> None:
    assert spread_of([5, 1, 3, 2, 4]) == Spread(median=3, low=2, high=4, count=5)


def test_one_sample_is_its_own_spread() -> None:
    assert spread_of([7]) == Spread(7, 7, 7, 1)


def test_an_outlier_moves_neither_median_nor_ratio() -> None:
    pairs = pairs_of([(2, 1), (2, 1), (2, 1), (2, 1), (900, 1)])
    assert pairs.ours.median == 2
    assert pairs.ratio == pytest.approx(2)


def test_a_machine_that_gets_slower_meets_both_sides_of_a_pair() -> None:
    assert pairs_of([(100, 100), (50, 50), (10, 10), (1, 1)]).ratio == pytest.approx(1)


def test_the_two_sides_take_turns_and_the_warm_up_is_dropped() -> None:
    turns: list[str] = []

    def measure(side: str, samples: list[float]) -> float:
        turns.append(side)
        return samples.pop(0)

    first, second = [100.0, 1.0, 1.0], [200.0, 3.0, 3.0]
    pairs = interleave(2, lambda: measure("A", first), lambda: measure("B", second))
    assert "".join(turns) == "ABABAB"
    assert (pairs.ours.median, pairs.ours.count, pairs.theirs.median) == (1, 2, 3)
