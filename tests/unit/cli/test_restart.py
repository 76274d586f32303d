from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.terminal import status

if TYPE_CHECKING:
    from tests.unit.cli.terminal import Terminal


@pytest.mark.parametrize(("words", "service"), [(["restart"], ""), (["restart", "web"], "web")])
def test_a_restart_is_waited_for_and_its_checks_are_told(terminal: Terminal, words: list[str], service: str) -> None:
    with terminal.session({"restart": [{"is": "restarting"}], "wait": [status()]}) as heard:
        said = terminal.type(*words)
    assert (said.code, said.out, said.err) == (0, "✓ https://love.cat  200 · 4 ms\n", "")
    assert heard == [{"do": "restart", "service": service}, {"do": "wait"}]


def test_a_restart_that_ends_red_is_exit_1(terminal: Terminal) -> None:
    with terminal.session({"restart": [{"is": "restarting"}], "wait": [status(state="red", exit_code=1)]}):
        assert terminal.type("restart").code == 1


def test_a_restart_that_is_refused_is_exit_2_with_the_reason(terminal: Terminal) -> None:
    refused = {"is": "refused", "message": "there is no service 'nobody'; there is web"}
    with terminal.session({"restart": [refused]}):
        said = terminal.type("restart", "nobody")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == [
        "devtls: there is no service 'nobody'; there is web",
        "  See what runs:",
        "    devtls ps",
    ]


def test_a_restart_of_nothing_is_exit_3(terminal: Terminal) -> None:
    said = terminal.type("restart")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith("devtls: nothing is up in ")


def test_a_session_that_dies_meanwhile_is_told(terminal: Terminal) -> None:
    with terminal.session({"restart": [{"is": "restarting"}]}):
        said = terminal.type("restart")
    assert said.code == 3
    assert said.err.startswith("devtls: it ended before it answered\n")


def test_a_session_that_is_stopped_meanwhile_is_told(terminal: Terminal) -> None:
    stopped = {"is": "stopped", "seconds": 0.1, "left": 0, "still_here": []}
    with terminal.session({"restart": [{"is": "restarting"}], "wait": [stopped]}):
        said = terminal.type("restart")
    assert (said.code, said.out, said.err) == (3, "", "devtls: it was stopped meanwhile\n")
