from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtls.cli.ask import ask, connect, project_directory
from devtls.errors import NotRunningError
from tests.unit.cli.terminal import status

if TYPE_CHECKING:
    from tests.unit.cli.terminal import Terminal


def test_the_project_is_the_one_of_the_real_folder(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    link = terminal.folder.parent / "link"
    link.symlink_to(terminal.folder)
    monkeypatch.chdir(link)
    assert project_directory() == terminal.folder
    with terminal.session({"status": [status()]}), connect() as client:
        assert ask(client, {"do": "status"}) == status()


def test_nobody_there_is_told_with_the_folder(terminal: Terminal) -> None:
    with pytest.raises(NotRunningError, match=f"nothing is up in {terminal.folder}"):
        connect()


def test_an_end_instead_of_an_answer_is_told(terminal: Terminal) -> None:
    with terminal.session({}), connect() as client, pytest.raises(NotRunningError, match="ended before it answered"):
        ask(client, {"do": "status"})
