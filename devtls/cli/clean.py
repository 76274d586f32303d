"""devtls clean."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from devtls.cli.output import is_interactive, say, say_json, style_of
from devtls.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from devtls.system.paths import Paths


def refuse_starting(paths: Paths, again: str, spared: Collection[Path] = ()) -> None:
    """An `up` that is still being prepared has no session to ask, but its locks; they are ours until this process ends.

    Args:
        paths: of the user.
        again: the command to type once it is over.
        spared: locks of projects that are known to be up.

    Raises:
        ConflictError: somebody has one.
    """
    from devtls.system.files import try_lock

    for lock in {paths.gateway / "starting.lock", *(paths.state / "projects").glob("*/lock")}.difference(spared):
        if lock.exists() and try_lock(lock) is None:
            raise ConflictError("a `devtls up` is starting or ending", "Wait for it, then:", f"  {again}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Say what it came to as one JSON document.")
def clean(as_json: bool) -> None:
    """Take everything back that devtls did to this machine, for this user.

    The lines in the hosts file, the trusted roots in every store, the keys, the logs. Stop your projects first.
    """
    from devtls.clean import clean as take_back
    from devtls.cli.ps import all_statuses
    from devtls.cli.talk import Talk
    from devtls.doctor import who_trusts
    from devtls.report import render_done, render_notices
    from devtls.system.paths import find_paths

    paths = find_paths(os.environ)
    up = all_statuses(paths)
    if up:
        raise ConflictError(
            f"a project is up in {up[0]['directory']}", "Stop it first:", f"  cd {up[0]['directory']} && devtls down"
        )
    refuse_starting(paths, "devtls clean")
    talk = Talk(sys.stderr if as_json else sys.stdout)
    cleaned = take_back(
        paths,
        os.environ,
        is_interactive=is_interactive(),
        asking=talk.asking,
        who_trusts=lambda authorities: who_trusts(authorities, paths, os.environ),
    )
    if as_json:
        left = [{"fact": fact, "cure": list(cure)} for fact, cure in cleaned.left]
        say_json({"schema": "devtls.clean/1", "done": [subject for subject, _ in cleaned.done], "left": left})
    else:
        style = style_of(sys.stdout)
        say([render_done(subject, fact, style, "gone") for subject, fact in cleaned.done])
        say(render_notices(cleaned.left, style))
        if not cleaned.left:
            say(["Nothing of devtls is left." if cleaned.done else "There was nothing of devtls."])
    sys.exit(1 if cleaned.left else 0)
