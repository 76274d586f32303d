"""devtls config."""

from __future__ import annotations

import json
import os

import click

from devtls.cli.output import say, say_json
from devtls.errors import UsageError


@click.command()
@click.option("--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of devtls.toml, for editors.")
@click.option("--json", "as_json", is_flag=True, help="Say it as one JSON document.")
def config(wants_schema: bool, as_json: bool) -> None:
    """Show what devtls.toml comes to: each key, and where its value is from. Nothing of it is executed."""
    from devtls.cli.ask import project_directory
    from devtls.config.effective import effective_values, render_values
    from devtls.config.finding import NAME
    from devtls.config.keys import render_schema
    from devtls.system.paths import find_paths

    if wants_schema:
        say([json.dumps(render_schema(), indent=2)])
        return
    directory = project_directory()
    if not (directory / NAME).is_file():
        raise UsageError(
            f"there is no {NAME} in {directory} or above it",
            "Write one:",
            '  [domains."love.test"]',
            "  [services.web]",
            '  command = "npm run dev"',
        )
    from devtls.cli.declared import read_declared

    file, project = read_declared(directory, find_paths(os.environ), None)
    values = effective_values(file, project)
    if as_json:
        facts = [{"key": list(each.path), "value": each.value, "from": each.origin} for each in values]
        names = [name for name, _data in file.contents]
        say_json({"schema": "devtls.config/1", "directory": str(directory), "files": names, "values": facts})
    else:
        say(render_values(values))
