from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from devtls.system.files import try_lock
from tests.unit.cli.terminal import status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.terminal import Terminal


@pytest.fixture
def other_up(terminal: Terminal) -> Iterator[None]:
    """Another `up` of this folder has its lock."""
    lock = try_lock(terminal.project / "lock")
    assert lock is not None
    yield
    os.close(lock)


@pytest.mark.parametrize(
    ("words", "code", "lines"),
    [
        (
            [],
            2,
            [
                "devtls: no domain was named",
                "  Name the domain to serve, such as:",
                "    devtls up love.cat --app …",
            ],
        ),
        (
            ["love.cat"],
            2,
            [
                "devtls: no app was named",
                "  Give the command that starts it, or the folder whose files are served:",
                '    devtls up love.cat --app "node app.js"',
                "    devtls up love.cat --root dist",
            ],
        ),
        (
            ["co.uk", "--app", "true"],
            2,
            [
                "devtls: co.uk is a public suffix: a certificate authority for it could sign other people's sites",
                "  Take a name below it:",
                "    devtls up love.co.uk …",
            ],
        ),
        (
            ["love.cat", "--app", "no-such-program"],
            127,
            [
                "devtls: there is no program 'no-such-program'",
                "  Install it, or correct the command; this finds it when it is there:",
                "    command -v no-such-program",
            ],
        ),
        (
            ["love.cat", "--app", "true", "--route", "/=3000"],
            2,
            ["devtls: the route / is the app's", "  Give the app with --app or --root, or another path or host."],
        ),
    ],
)
def test_a_mistake_is_fact_cure_and_command_and_leaves_no_trace(
    terminal: Terminal, words: list[str], code: int, lines: list[str]
) -> None:
    said = terminal.type("up", *words)
    assert (said.code, said.out, said.err.splitlines()) == (code, "", lines)
    assert not terminal.paths.state.exists()
    assert not terminal.paths.data.exists()


@pytest.mark.usefixtures("other_up")
def test_a_second_up_with_the_same_words_attaches_and_tells_what_the_first_came_to(terminal: Terminal) -> None:
    with terminal.session({"status": [status()], "wait": [status()]}) as heard:
        said = terminal.type("up", "love.cat", "--app", "true")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[:2] == ["  already  up, pid 41", "✓ https://love.cat  200 · 4 ms"]
    assert said.out.splitlines()[2].startswith("https://love.cat is ready")
    assert [message["do"] for message in heard] == ["status", "wait"]


@pytest.mark.usefixtures("other_up")
@pytest.mark.parametrize(
    "words",
    [["purr.cat", "--app", "true"], ["love.cat", "--app", "true x"], ["love.cat", "--app", "true", "--route", "/a=1"]],
)
def test_a_second_up_with_other_words_is_exit_4(terminal: Terminal, words: list[str]) -> None:
    with terminal.session({"status": [status()]}):
        said = terminal.type("up", *words)
    assert (said.code, said.out) == (4, "")
    assert said.err.splitlines() == [
        "devtls: something else is up in this folder, pid 41: https://love.cat",
        "  Stop it first, or use another folder:",
        "    devtls down",
    ]


@pytest.mark.usefixtures("other_up")
@pytest.mark.parametrize("state", ["exited", "failed", "blocked", "stopped"])
def test_a_second_up_starts_what_has_ended(terminal: Terminal, state: str) -> None:
    ended = status(services=[{**status()["services"][0], "state": state}])
    answers = {"status": [ended], "restart": [{"is": "restarting"}], "wait": [status()]}
    with terminal.session(answers) as heard:
        assert terminal.type("up", "love.cat", "--app", "true").code == 0
    assert {"do": "restart", "service": "web"} in heard


@pytest.mark.usefixtures("other_up")
def test_a_second_up_says_its_outcome_as_one_document(terminal: Terminal) -> None:
    red = status(state="red", exit_code=1)
    with terminal.session({"status": [red], "wait": [red]}):
        said = terminal.type("up", "love.cat", "--app", "true", "--json")
    assert (said.code, said.document) == (1, red)
    assert said.err == "  already  up, pid 41\n"


@pytest.mark.usefixtures("other_up")
def test_a_first_up_that_failed_is_told_with_the_last_lines_of_its_services(terminal: Terminal) -> None:
    said_last = ["The last lines of web:", "  one"]
    failed = status(state="failed", exit_code=1, error="web was never started before it listened", last_lines=said_last)
    with terminal.session({"status": [status()], "wait": [failed]}):
        said = terminal.type("up", "love.cat", "--app", "true")
    assert (said.code, said.out) == (1, "  already  up, pid 41\n")
    assert said.err.splitlines() == [*said_last, "devtls: web was never started before it listened"]
