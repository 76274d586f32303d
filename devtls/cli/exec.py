"""devtls exec."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

import click

from devtls import report
from devtls.cli.output import say, style_of
from devtls.errors import DevtlsError


class NotExecutableError(DevtlsError):
    """What was to be run is there and cannot be; shells say 126."""

    exit_code = 126


class NotFoundError(DevtlsError):
    """What was to be run is not there; shells say 127."""

    exit_code = 127


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] CMD [ARG]...")
def exec(command: tuple[str, ...]) -> None:  # noqa: A001 - the word that users know
    """Run a command that trusts your authorities, whatever it is written in.

    It becomes that command: its exit code, signals and terminal are the command's own.
    """
    from devtls.cli.trusting import command_environment

    prepared = command_environment(os.environ, command, Path.cwd())
    say(report.render_notices(prepared.notices, style_of(sys.stderr)), sys.stderr)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so beyond exec
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, {**os.environ, **prepared.variables})  # noqa: S606 - no shell is what is wanted
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"there is no program {command[0]!r}",
            "Install it, or correct the command; this finds it when it is there:",
            f"  command -v {shlex.quote(command[0])}",
        ) from error
    except OSError as error:
        raise NotExecutableError(
            f"{command[0]} cannot be run: {error.strerror}", "See what it is:", f"  file {shlex.quote(command[0])}"
        ) from error
