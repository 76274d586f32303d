from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from devtls.cli.ask import ask, connect, project_directory
from devtls.errors import DevtlsError, NotRunningError
from devtls.system.channel import Client
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


def test_a_session_that_does_not_answer_is_told() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.01)
    with theirs, Client(ours) as client, pytest.raises(DevtlsError, match="it does not answer"):
        ask(client, {"do": "status"})


def test_a_folder_that_is_gone_is_told(terminal: Terminal) -> None:
    terminal.folder.rmdir()
    said = terminal.type("ps")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("devtls: the folder that you are in is gone\n")
