"""Ask the running session of a project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from devtls.errors import DevtlsError, NotRunningError
from devtls.system.channel import Client
from devtls.system.paths import find_paths

if TYPE_CHECKING:
    from devtls.system.channel import Message
    from devtls.system.paths import Paths


def project_directory() -> Path:
    """The folder whose project is meant: where the command is typed, or where the devtls.toml of that is."""
    from devtls.config.finding import find_project

    try:
        here = Path(os.path.realpath(Path.cwd()))
    except FileNotFoundError as error:
        raise DevtlsError("the folder that you are in is gone", "Go to one that is there:", "  cd") from error
    home = os.environ.get("HOME")
    return find_project(here, Path(os.path.realpath(home)) if home else None) or here


def connect(paths: Paths | None = None, timeout: float | None = 10.0) -> Client:
    """Connect to the session of this folder's project.

    Raises:
        NotRunningError: there is none.
    """
    directory = project_directory()
    paths = paths or find_paths(os.environ)
    try:
        return Client.connect(paths.control(directory), timeout)
    except NotRunningError as error:
        raise NotRunningError(
            f"nothing is up in {directory}",
            "Start it, or go to its folder; this lists what is up:",
            "  devtls ps --all",
        ) from error


def ask(client: Client, message: Message) -> Message:
    """Send one message and return the answer.

    Raises:
        NotRunningError: it ended before it answered.
    """
    client.send(message)
    try:
        answer = client.receive()
    except TimeoutError as error:
        raise DevtlsError(
            "it does not answer", "See what it does; its pid is in the output of:", "  devtls ps --all"
        ) from error
    if answer is None:
        raise NotRunningError("it ended before it answered", "Its last output is in its log:", "  devtls logs")
    return answer[0]
