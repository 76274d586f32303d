"""Run a program to its end and keep what it said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn, Protocol

from msgspec import Struct

from devtls.errors import CommandFailedError, DevtlsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Completed(Struct, frozen=True):
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
    except OSError as error:
        raise DevtlsError(f"{argv[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise DevtlsError(f"{argv[0]} did not end within {timeout:.0f} s") from error
    said = (ended.stdout + ended.stderr).decode("utf-8", "replace")
    if check and ended.returncode != 0:
        raise CommandFailedError(argv, ended.returncode, said)
    return Completed(tuple(argv), ended.returncode, ended.stdout, said)


def in_child(work: Callable[[], None]) -> None:
    """Do something in a forked child and wait for it: what it imports is gone with it, and the parent stays small.

    Raises:
        DevtlsError: as raised in the child.
        RuntimeError: it failed otherwise; its traceback is on standard error.
    """
    sys.stdout.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _work_and_exit(work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        error = said.read()
    _pid, status = os.waitpid(pid, 0)
    if error:
        facts = json.loads(error)
        raise DevtlsError(facts["message"], *facts["cure"])
    if status:
        raise RuntimeError(f"a child process ended with {os.waitstatus_to_exitcode(status)}")


def _work_and_exit(work: Callable[[], None], writer: int) -> NoReturn:
    status = 1
    try:
        work()
        status = 0
    except DevtlsError as error:
        os.write(writer, json.dumps({"message": str(error), "cure": error.cure}).encode())
    except BaseException:  # noqa: BLE001 - shown as Python would; it must not unwind into the parent's frames
        traceback.print_exc()
    finally:
        os._exit(status)
