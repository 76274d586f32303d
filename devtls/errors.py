"""Everything a user can cause to go wrong.

* DevtlsError: the fact and its cure; exit code 1
    * UsageError: wrong words or configuration; exit code 2
    * NotRunningError: nothing to talk to; exit code 3
    * ConflictError: a port, domain or lock belongs to someone else; exit code 4
    * CommandFailedError: a program we ran failed; keeps what was run and what it said

`cli` catches DevtlsError once. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class DevtlsError(Exception):
    """A fact, and what to do about it.

    Attributes:
        message: the fact, one sentence without a final full stop.
        cure: what to do, one line each; a line that begins with two spaces is a command to type.
    """

    exit_code = 1

    def __init__(self, message: str, *cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return self.message


class UsageError(DevtlsError):
    """The words on the command line, or the configuration, are wrong."""

    exit_code = 2


class NotRunningError(DevtlsError):
    """What was asked for is not running."""

    exit_code = 3


class ConflictError(DevtlsError):
    """A port, a domain or a lock belongs to someone else."""

    exit_code = 4


class CommandFailedError(DevtlsError):
    """A program failed: what was run, its exit status, and what it said."""

    def __init__(self, argv: Sequence[str], status: int, said: str, *cure: str) -> None:
        super().__init__(f"`{shlex.join(argv)}` failed with exit status {status}", *cure)
        self.argv = tuple(argv)
        self.status = status
        self.said = said.strip()

    def __str__(self) -> str:
        return f"{self.message}\n{self.said}" if self.said else self.message
