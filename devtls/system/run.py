"""Run a program to its end and keep what it said."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from devtls.errors import CommandFailedError, DevtlsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended: its exit status, standard output, and output and errors together as text."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    said: str


class Runner(Protocol):
    """How programs are run; tests hand in one that answers from a table."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run `argv` and return what came of it."""
        ...


def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    check: bool = True,
) -> Completed:
    """Run a program without a shell, give it `stdin`, and wait at most `timeout` seconds.

    Raises:
        CommandFailedError: `check` is set and the exit status is not 0.
        DevtlsError: the program is not there, or did not end in time.
    """
    try:
        ended = subprocess.run(
            list(argv), input=stdin, env=environment, timeout=timeout, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise DevtlsError(f"there is no program {argv[0]}") from error
    except PermissionError as error:
        raise DevtlsError(f"{argv[0]} may not be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise DevtlsError(f"{argv[0]} did not end within {timeout:.0f} s") from error
    said = (ended.stdout + ended.stderr).decode("utf-8", "replace")
    if check and ended.returncode != 0:
        raise CommandFailedError(argv, ended.returncode, said)
    return Completed(tuple(argv), ended.returncode, ended.stdout, said)
