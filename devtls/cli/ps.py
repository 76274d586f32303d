"""devtls ps."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from devtls.cli.output import say, say_json, style_of
from devtls.errors import NotRunningError

if TYPE_CHECKING:
    from devtls.system.channel import Message
    from devtls.system.paths import Paths

READY = "ready"


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="The projects of every folder.")
@click.option("--json", "as_json", is_flag=True, help="Say it as one JSON document.")
def ps(everything: bool, as_json: bool) -> None:
    """Show the services of this folder's project, where they are served, and whether the checks pass.

    Ends with 0 when all is ready, 1 when something is not, 3 when nothing is up.
    """
    from devtls.cli.ask import ask, connect
    from devtls.report import render_status
    from devtls.system.paths import find_paths

    paths = find_paths(os.environ)
    if everything:
        statuses = all_statuses(paths)
        if not statuses and not as_json:
            raise NotRunningError("nothing is up", "Start a project in its folder:", "  devtls up DOMAIN --app CMD")
    else:
        with connect(paths) as client:
            statuses = [ask(client, {"do": "status"})]
    if as_json:
        say_json({"schema": "devtls.ps/1", "projects": statuses})
    else:
        say(render_status(statuses, style_of(sys.stdout)))
    sys.exit(3 if not statuses else 0 if all(status["state"] == READY for status in statuses) else 1)


def all_statuses(paths: Paths) -> list[Message]:
    """The status documents of every project of this user that is up."""
    from devtls.cli.ask import ask
    from devtls.system.channel import Client

    statuses = []
    for folder in sorted((paths.state / "projects").glob("*")):
        try:
            with Client.connect(paths.socket(folder, "control.sock")) as client:
                statuses.append(ask(client, {"do": "status"}))
        except NotRunningError:
            continue
    return statuses
