"""The table of the benchmarks."""

from __future__ import annotations

from tests.bench.figures import spread_of
from tests.bench.page import render_page
from tests.bench.table import Against, Amount, Missing, Row, is_met, render_markdown, render_text

FASTER = Against("start", spread_of([0.05, 0.04, 0.06]), "peer", spread_of([0.1]), 1.2)
SLOWER = Against("exec", spread_of([0.2]), "peer", spread_of([0.1]), 1.2)
ABSENT = Missing("green", "portless", 0.5, "there is no npm")
MEMORY = Amount("memory", 60.2, "keeper 20", "MB", 75)


def test_a_row_that_devtls_loses_says_so() -> None:
    assert [is_met(row) for row in (FASTER, SLOWER, ABSENT, MEMORY)] == [True, False, None, True]
    assert render_markdown([SLOWER])[-1].endswith("| 2.00 x | <= 1.2 x | missed |")


def test_a_duration_is_a_median_with_its_quartiles_in_milliseconds() -> None:
    assert render_markdown([FASTER])[-1].startswith("| start | 50 ms (45-55) | peer: 100 ms (100-100) | 0.50 x |")


def test_a_peer_that_is_not_here_leaves_its_row_with_the_reason() -> None:
    assert "not measured: there is no npm" in render_text([ABSENT])[-1]


def test_the_columns_of_the_terminal_table_start_below_each_other() -> None:
    header, *lines = render_text([FASTER, SLOWER, MEMORY])
    assert all(line[header.index("target") :].startswith("<=") for line in lines)


def test_a_vertical_bar_does_not_end_a_cell() -> None:
    assert r"a \| b" in render_markdown([Missing("a | b", "", 1, "")])[-1]


def test_the_page_has_the_facts_the_table_and_how_to_repeat_it() -> None:
    rows: list[Row] = [MEMORY]
    page = render_page(rows, [("machine", "two cores")])
    for part in ("* machine: two cores", "| memory | keeper 20 |", "`make bench`"):
        assert part in page
