"""What devtls.toml declares, read for a command: imported only where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from devtls.config.declared import declare_project
from devtls.config.finding import NAME
from devtls.config.project_file import read_project_file
from devtls.errors import FileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from devtls.config.project_file import ProjectFile
    from devtls.errors import Problem
    from devtls.model import NginxContext, NginxText, Project
    from devtls.system.paths import Paths

# What says the same as the file does; all other words are about this run, and go on top.
DECLARING = (
    "domains", "app", "port", "scheme", "replicas", "is_sticky", "root", "is_spa", "routes", "redirects", "headers",
)  # fmt: skip


def refuse_other_words(context: click.Context, directory: Path) -> None:
    """See that nothing is asked for besides what the file says.

    Raises:
        UsageError: something is.
    """
    typed = [name for name in DECLARING if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    for parameter in context.command.params:
        if parameter.name in typed:
            word = parameter.opts[0] if isinstance(parameter, click.Option) else "a domain"
            raise UsageError(
                f"{word} was given, and {directory / NAME} says what is served",
                f"Say it in {NAME}, or for you alone in devtls.local.toml, and leave it out here:",
                "  devtls up",
            )


def read_declared(
    directory: Path, paths: Paths, environment: Mapping[str, str] | None, *, is_branch: bool = False
) -> tuple[ProjectFile, Project]:
    """Return the file and its project; nothing of it is executed.

    Args:
        directory: where the file is.
        paths: of the user, whose authorities tell which domains were accepted before.
        environment: where programs are looked up; None: they are not.
        is_branch: it is for a linked worktree.

    Raises:
        FileError: with all that is wrong.
        CommandNotFoundError: a program is not there.
    """
    from devtls.ca.store import find_authority, load_authorities

    file = read_project_file(directory)
    authorities = load_authorities(paths)
    project = declare_project(
        file,
        environment=environment,
        is_vetted=lambda domain: find_authority(authorities, domain) is not None,
        check_nginx=lambda own, context: _check_nginx(own, context, directory),
        is_branch=is_branch,
    )
    return file, project


def _check_nginx(own: NginxText, context: NginxContext, directory: Path) -> Sequence[Problem]:
    from devtls.nginx.directives import OwnText, parse_own

    try:
        parse_own(OwnText(own.text, own.file, own.line, context, directory))
    except FileError as error:
        return error.problems
    return ()
