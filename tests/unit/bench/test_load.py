"""What the programs of the load say."""

from __future__ import annotations

import pytest

from tests.bench.load import parse_h2load, parse_wrk

WRK = """Running 1s test @ https://love.cat/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.73ms    4.21ms  60.25ms   93.75%
    Req/Sec    14.70k     6.52k   23.18k    72.73%
  16500 requests in 1.10s, 2.90MB read
{}Requests/sec:  14638.63
Transfer/sec:      2.62MB
"""
H2LOAD = """finished in 1.00s, 8000.00 req/s, 930.20KB/s
requests: 8055 total, 8055 started, 8055 done, 7990 succeeded, 65 failed, 55 errored, 0 timeout
status codes: 7990 2xx, 0 3xx, 0 4xx, 10 5xx
"""


def test_wrk_answers_are_counted_by_its_own_time() -> None:
    assert parse_wrk(WRK.format("")) == pytest.approx(15000)


def test_errors_are_no_answers() -> None:
    assert parse_wrk(WRK.format("  Non-2xx or 3xx responses: 5500\n")) == pytest.approx(10000)
    assert parse_h2load(H2LOAD) == 7990


def test_a_program_that_says_something_else_is_told() -> None:
    with pytest.raises(RuntimeError, match="unable to resolve"):
        parse_wrk("unable to resolve love.cat")
