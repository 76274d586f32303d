"""Everything a user can cause to go wrong.

* DevtlsError: the fact and its cure; exit code 1
    * UsageError: wrong words or configuration; exit code 2
        * FileError: what is wrong with a file, all of it
    * NotRunningError: nothing to talk to; exit code 3
    * ConflictError: a port, domain or lock belongs to someone else; exit code 4
    * CommandFailedError: a program we ran failed; keeps what was run and what it said

`cli` catches DevtlsError once. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

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


class Problem(NamedTuple):
    """One thing that is wrong in a file, and what to do about it.

    Attributes:
        origin: where: "devtls.toml:12: services.web.port".
    """

    origin: str
    fact: str
    cure: tuple[str, ...] = ()


class FileError(UsageError):
    """A file of the user's cannot be followed; each problem has a cure of its own, and they are in the file's order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(dict.fromkeys(problems), key=_line_of))
        facts = "\n".join(f"{each.origin}: {each.fact}" for each in self.problems)
        super().__init__(facts, *(line for cure in dict.fromkeys(each.cure for each in self.problems) for line in cure))


def _line_of(problem: Problem) -> tuple[str, int]:
    file, line, *_ = f"{problem.origin}::".split(":")
    return file, int(line) if line.isdecimal() else 0


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
