from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.cli.terminal import Terminal


def test_down_tells_how_long_it_took_and_that_nothing_is_left(terminal: Terminal) -> None:
    with terminal.session({"stop": [{"is": "stopped", "seconds": 0.212, "left": 0, "still_here": []}]}) as heard:
        said = terminal.type("down")
    assert (said.code, said.out, said.err) == (0, "stopped in 0.2 s, 0 processes left\n", "")
    assert heard == [{"do": "stop"}]


def test_down_tells_of_real_names_that_still_lead_here(terminal: Terminal) -> None:
    stopped = {"is": "stopped", "seconds": 0.2, "left": 0, "still_here": ["love.cat", "purr.cat"]}
    with terminal.session({"stop": [stopped]}):
        said = terminal.type("down")
    assert said.code == 0
    assert said.out.splitlines() == [
        "love.cat, purr.cat still lead to this machine; `devtls hosts clean love.cat purr.cat` takes that back.",
        "stopped in 0.2 s, 0 processes left",
    ]


def test_down_with_a_process_left_is_a_failure(terminal: Terminal) -> None:
    with terminal.session({"stop": [{"is": "stopped", "seconds": 6.0, "left": 2, "still_here": []}]}):
        said = terminal.type("down")
    assert (said.code, said.out) == (1, "stopped in 6.0 s, 2 processes left\n")


def test_the_json_of_down_has_these_keys(terminal: Terminal) -> None:
    with terminal.session({"stop": [{"is": "stopped", "seconds": 0.212, "left": 0, "still_here": []}]}):
        said = terminal.type("down", "--json")
    assert said.document == {"schema": "devtls.down/1", "seconds": 0.212, "left": 0, "still_here": []}


def test_down_of_nothing_is_exit_3_with_what_to_do(terminal: Terminal) -> None:
    said = terminal.type("down")
    assert (said.code, said.out) == (3, "")
    assert said.err.splitlines() == [
        f"devtls: nothing is up in {terminal.folder}",
        "  Start it, or go to its folder; this lists what is up:",
        "    devtls ps --all",
    ]


def test_a_session_that_dies_before_it_answers_is_told_with_where_its_words_are(terminal: Terminal) -> None:
    with terminal.session({}):
        said = terminal.type("down")
    assert (said.code, said.out) == (3, "")
    assert said.err.splitlines() == [
        "devtls: it ended before it answered",
        "  Its last output is in its log:",
        "    devtls logs",
    ]
