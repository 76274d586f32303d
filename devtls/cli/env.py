"""devtls env."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from devtls import report
from devtls.cli.output import say, say_json, style_of

SHELLS = ("sh", "fish")


@click.command()
@click.option("--shell", type=click.Choice(SHELLS), help="Whose words to speak. [default: by $SHELL]")
@click.option("--json", "as_json", is_flag=True, help="Say it as one JSON document.")
def env(shell: str | None, as_json: bool) -> None:
    """Print what makes programs that read no store trust your authorities: Node, Python's requests, pip, Deno, Java.

    For bash, zsh and sh:  eval "$(devtls env)"      For fish:  devtls env | source

    What you had set is kept: the files that it prints have your certificates and the public ones, too. Where you have a
    proxy, it is not asked for the names that are served here.
    """
    from devtls.cli.trusting import command_environment

    prepared = command_environment(os.environ, (), Path.cwd())
    say(report.render_notices(prepared.notices, style_of(sys.stderr)), sys.stderr)
    if as_json:
        say_json({"schema": "devtls.env/1", "variables": dict(prepared.variables)})
        return
    shell = shell or ("fish" if Path(os.environ.get("SHELL", "")).name == "fish" else "sh")
    form = "set -gx {} {}" if shell == "fish" else "export {}={}"
    say(form.format(name, _quote(value, shell)) for name, value in prepared.variables.items())


def _quote(text: str, shell: str) -> str:
    """As one word; fish knows a backslash inside single quotes."""
    if shell == "fish":
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return shlex.quote(text)
