"""devtls down."""

from __future__ import annotations

import sys

import click

from devtls.cli.output import say, say_json
from devtls.report import render_stopped


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Say what it came to as one JSON document.")
def down(as_json: bool) -> None:
    """Stop the project of this folder: its services, and nginx when it was the last project."""
    from devtls.cli.ask import ask, connect

    with connect(timeout=None) as client:
        answer = ask(client, {"do": "stop"})
    if as_json:
        say_json({"schema": "devtls.down/1", **{name: answer[name] for name in ("seconds", "left", "still_here")}})
    else:
        say(render_stopped(answer["seconds"], answer["left"], answer["still_here"]))
    sys.exit(1 if answer["left"] else 0)
