from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.cli.terminal import status

if TYPE_CHECKING:
    from tests.unit.cli.terminal import Terminal


def test_nothing_is_taken_back_from_under_a_running_project(terminal: Terminal) -> None:
    with terminal.session({"status": [status()]}):
        said = terminal.type("clean")
    assert (said.code, said.out) == (4, "")
    assert said.err.splitlines() == [
        "devtls: a project is up in /home/dev/shop",
        "  Stop it first:",
        "    cd /home/dev/shop && devtls down",
    ]
    assert terminal.project.exists()
