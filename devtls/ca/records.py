"""Directories that appear whole or not at all, and the facts kept in them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import stat
from typing import TYPE_CHECKING, Any

from devtls.errors import DevtlsError
from devtls.system.files import (
    PRIVATE_DIRECTORY,
    PUBLIC_FILE,
    cure_for,
    make_private_directory,
    read_or_none,
    sync_directory,
    write_atomically,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEW = ".new-"  # how the name of a directory begins while it is being filled


@contextlib.contextmanager
def appearing(final: Path) -> Iterator[Path]:
    """Give a private directory to fill, and rename it into its place when nothing went wrong.

    The caller holds the lock of the place, so what a killed process left there is nobody's.
    """
    make_private_directory(final.parent)
    for leftover in final.parent.glob(f"{NEW}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    directory = final.with_name(f"{NEW}{os.urandom(4).hex()}")
    directory.mkdir(mode=PRIVATE_DIRECTORY)
    try:
        yield directory
        sync_directory(directory)
        directory.rename(final)
        sync_directory(final.parent)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


@contextlib.contextmanager
def told(doing: str, place: Path) -> Iterator[None]:
    """Turn what the file system refuses into a fact with a cure."""
    try:
        yield
    except OSError as error:
        raise DevtlsError(f"cannot {doing} {place}: {error.strerror}", *cure_for(error)) from error


def refuse_readable_by_others(path: Path) -> None:
    """Check that a private key is private.

    Raises:
        DevtlsError: group or others may read or write it.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise DevtlsError(
            f"the private key {path} can be read by others (mode {mode:04o})",
            "Make it yours alone, or delete its directory when somebody else may have read it:",
            f"  chmod 600 {shlex.quote(os.fspath(path))}",
        )


def read_facts(path: Path) -> dict[str, Any]:
    """Return what a facts.json says; nothing when it is missing or damaged."""
    try:
        facts = json.loads(read_or_none(path) or b"{}")
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Write a facts.json; nothing in it is secret."""
    write_atomically(path, json.dumps(facts, indent=1).encode() + b"\n", PUBLIC_FILE)
