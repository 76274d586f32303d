"""The table of the benchmarks."""

from __future__ import annotations

from tests.bench.figures import pairs_of
from tests.bench.page import render_page
from tests.bench.table import (
    MEGABYTES,
    REQUESTS,
    Against,
    Amount,
    AtLeast,
    AtMost,
    Missing,
    Row,
    is_met,
    render_markdown,
    render_text,
)

FASTER = Against("start", pairs_of([(0.05, 0.1), (0.04, 0.1), (0.06, 0.1)]), "peer", AtMost(1.2))
SLOWER = Against("exec", pairs_of([(0.2, 0.1)]), "peer", AtMost(1.2))
RATE = Against("wrk", pairs_of([(12000.4, 4000)]), "peer", AtLeast(2), REQUESTS)
ABSENT = Missing("green", "portless", AtMost(0.5), "there is no npm")
MEMORY = Amount("memory", 60.2, "keeper 20", "MB", 75)


def test_a_row_that_devtls_loses_says_so() -> None:
    assert [is_met(row) for row in (FASTER, SLOWER, ABSENT, MEMORY)] == [True, False, None, True]
    assert render_markdown([SLOWER])[-1].endswith("| 2.00 x | <= 1.2 x | missed |")


def test_a_rate_has_to_be_at_least_its_target() -> None:
    assert is_met(RATE)
    assert not is_met(Against("wrk", pairs_of([(3000, 4000)]), "peer", AtLeast(0.97), REQUESTS))
    (row,) = render_markdown([RATE])[2:]
    assert row == (
        "| wrk | 12000 requests/s (12000-12000) | peer: 4000 requests/s (4000-4000) | 3.00 x | >= 2 x | met |"
    )


def test_a_size_is_shown_in_megabytes() -> None:
    row = Against("memory", pairs_of([(90e6, 85e6)]), "nginx", AtMost(1.3), MEGABYTES)
    assert "| 90 MB (90-90) | nginx: 85 MB (85-85) |" in render_markdown([row])[-1]


def test_a_duration_is_a_median_with_its_quartiles_in_milliseconds() -> None:
    assert render_markdown([FASTER])[-1].startswith("| start | 50 ms (45-55) | peer: 100 ms (100-100) | 0.50 x |")


def test_a_peer_that_is_not_here_leaves_its_row_with_the_reason() -> None:
    assert "not measured: there is no npm" in render_text([ABSENT])[-1]


def test_the_columns_of_the_terminal_table_start_below_each_other() -> None:
    header, *lines = render_text([FASTER, SLOWER, MEMORY])
    assert all(line[header.index("target") :].startswith("<=") for line in lines)


def test_a_vertical_bar_does_not_end_a_cell() -> None:
    assert r"a \| b" in render_markdown([Missing("a | b", "", AtMost(1), "")])[-1]


def test_the_page_has_the_facts_the_table_and_how_to_repeat_it() -> None:
    rows: list[Row] = [MEMORY]
    page = render_page(rows, [("machine", "two cores")])
    for part in ("* machine: two cores", "| memory | keeper 20 |", "`make bench`", "ssl_certificate_key"):
        assert part in page
