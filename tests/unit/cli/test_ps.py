from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.terminal import status

if TYPE_CHECKING:
    from tests.unit.cli.terminal import Terminal


def test_ps_is_the_table_of_this_folders_project_with_its_checks(terminal: Terminal) -> None:
    with terminal.session({"status": [status()]}) as heard:
        said = terminal.type("ps")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "/home/dev/shop  ready, pid 41",
        "SERVICE  STATE  URL               PORT  PID  UPTIME  RESTARTS",
        "web      ready  https://love.cat  3000  42   1 min   0",
        "✓ https://love.cat  200 · 4 ms",
    ]
    assert heard == [{"do": "status"}]


@pytest.mark.parametrize("state", ["starting", "red", "failed", "stopping"])
def test_what_is_not_ready_is_exit_1(terminal: Terminal, state: str) -> None:
    with terminal.session({"status": [status(state=state)]}):
        assert terminal.type("ps").code == 1


def test_the_json_of_ps_is_one_document_with_the_status_as_it_is(terminal: Terminal) -> None:
    with terminal.session({"status": [status()]}):
        said = terminal.type("ps", "--json")
    assert said.code == 0
    assert said.document == {"schema": "devtls.ps/1", "projects": [status()]}


def test_ps_of_nothing_is_exit_3(terminal: Terminal) -> None:
    said = terminal.type("ps")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith(f"devtls: nothing is up in {terminal.folder}\n")


def test_ps_all_of_nothing_says_how_to_begin(terminal: Terminal) -> None:
    said = terminal.type("ps", "--all")
    assert (said.code, said.out) == (3, "")
    assert said.err.splitlines()[::2] == ["devtls: nothing is up", "    devtls up DOMAIN --app CMD"]


def test_the_json_of_nothing_is_an_empty_document(terminal: Terminal) -> None:
    said = terminal.type("ps", "--all", "--json")
    assert (said.code, said.document) == (3, {"schema": "devtls.ps/1", "projects": []})


def test_ps_all_shows_every_folder_and_passes_over_those_that_are_down(terminal: Terminal) -> None:
    other = terminal.folder / "other"
    (terminal.paths.state / "projects" / "0123456789ab").mkdir(parents=True)
    blog = status(directory="/home/dev/blog", state="red")
    with terminal.session({"status": [status()]}), terminal.session({"status": [blog]}, other):
        said = terminal.type("ps", "-a")
    assert said.code == 1
    assert {line for line in said.out.splitlines() if line.startswith("/")} == {
        "/home/dev/shop  ready, pid 41",
        "/home/dev/blog  red, pid 41",
    }
