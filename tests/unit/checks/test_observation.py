from __future__ import annotations

import pytest

from devtls.checks.observation import Fault, Observation, printable


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        (
            Observation(404, "Not Found", body=b"<!doctype html>\n<title>E</title><pre>Cannot GET /</pre>"),
            "404 Not Found: Cannot GET /",
        ),
        (Observation(426, "Upgrade Required"), "426 Upgrade Required"),
        (Observation(101, "Switching Protocols"), "101 Switching Protocols"),
        (Observation(101, close_code=1006), "101, then closed without a close frame (1006)"),
        (Observation(101, close_code=1008, close_reason="no"), "101, then closed with 1008 no"),
        (Observation(fault=Fault("service", "x", "nothing listens")), "nothing listens"),
        (Observation(), "not asked"),
    ],
)
def test_an_observation_is_one_line(seen: Observation, line: str) -> None:
    assert seen.describe() == line


def test_a_servers_words_cannot_steer_the_terminal() -> None:
    assert printable("\x1b]0;title\x07 red\n") == "·]0;title· red·"
    assert len(printable("x" * 10_000)) == 161


def test_a_body_of_open_tags_is_quoted_in_no_time() -> None:
    assert Observation(400, body=b"<script" * 40_000).quote
