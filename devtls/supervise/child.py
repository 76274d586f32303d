"""One generation of a service: a command in its own session, its output, and its exit."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import subprocess
import termios
import threading
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.supervise.output import CHUNK
from devtls.system.processes import Identity, identify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from devtls.system.loop import Loop

NOT_EXECUTABLE = 126  # as a shell reports them: POSIX 2.8.2
NOT_FOUND = 127
ROWS = 24  # of a terminal whose height nobody asks for
MOST_UNREAD = 1024 * 1024  # bytes that a pipe can hold (/proc/sys/fs/pipe-max-size); a grandchild may print for ever
BREATH = 0.01  # seconds until a service that had to wait for the screen is read again


class Command(Struct, frozen=True):
    """What is run: the words, where, with exactly which environment, and on a terminal of how many columns, if any."""

    argv: Sequence[str]
    directory: Path
    environment: Mapping[str, str]
    columns: int | None = None


class NotSpawned(Struct, frozen=True):
    """Why a command could not be run; `code` is what a shell would have said."""

    code: int
    reason: str


class Child:
    """A command that runs.

    Args:
        received: called with each chunk that it, or anybody it left behind, prints.
        exited: called once with the command's exit status (negative: the signal), after what it had printed.
        may_read: asked before each read; while it says no, the command's own writes wait.
    """

    def __init__(  # noqa: PLR0913 - what it is, and whom it tells
        self,
        loop: Loop,
        process: subprocess.Popen[bytes],
        output: int,
        *,
        received: Callable[[bytes], None],
        exited: Callable[[int], None],
        may_read: Callable[[], bool] = lambda: True,
    ) -> None:
        self.pid = process.pid
        self.identity = identify(process.pid) or Identity(process.pid, 0)  # 0: it is a zombie already
        self._loop = loop
        self._process = process
        self._output: int | None = output
        self._pidfd: int | None = None
        self._received = received
        self._exited = exited
        self._may_read = may_read
        self._is_running = True
        os.set_blocking(output, False)
        loop.watch(output, self._read)
        self._watch_exit()

    def drain(self) -> None:
        """Take what has been printed until now; never waits for the end of it, which a grandchild may keep open."""
        for _ in range(MOST_UNREAD // CHUNK):
            if not self._read_once():
                return

    def resize(self, columns: int) -> None:
        """Tell its terminal a new width; nothing when it has none."""
        if self._output is not None and os.isatty(self._output):
            _set_width(self._output, columns)

    def close(self) -> None:
        """Read no more; an exit that has happened is told now, a later one (of who cannot be ended) never."""
        if self._is_running and self._process.poll() is not None:
            self._reap()
        self._exited = _ignore
        self.drain()
        if self._output is not None:
            self._loop.unwatch(self._output)
            os.close(self._output)
            self._output = None

    def _read(self) -> None:
        if self._may_read():
            self._read_once()
        elif self._output is not None:
            self._loop.unwatch(self._output)
            self._loop.call_later(BREATH, self._resume)

    def _resume(self) -> None:
        if self._output is not None:
            self._loop.watch(self._output, self._read)

    def _read_once(self) -> bool:
        if self._output is None:
            return False
        try:
            data = os.read(self._output, CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # a pty whose last writer is gone
                raise
            data = b""
        if not data:
            self._loop.unwatch(self._output)
            os.close(self._output)
            self._output = None
            return False
        self._received(data)
        return True

    def _watch_exit(self) -> None:
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self.pid)
            self._loop.watch(self._pidfd, self._reap)
        else:  # macOS; not yet run there
            threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self._process.wait()
        self._loop.call_soon(self._reap)

    def _reap(self) -> None:
        if not self._is_running:
            return
        self._is_running = False
        code = self._process.wait()
        if self._pidfd is not None:
            self._loop.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self.drain()
        self._exited(code)


def spawn(
    loop: Loop,
    command: Command,
    *,
    received: Callable[[bytes], None],
    exited: Callable[[int], None],
    may_read: Callable[[], bool] = lambda: True,
) -> Child | NotSpawned:
    """Run a command in a session of its own; main thread only.

    No preexec_fn: with one, Popen takes 3 ms instead of 0.2 ms, and 20 ms from a large heap.
    """
    reader, writer = os.pipe() if command.columns is None else _open_terminal(command.columns)
    environment = dict(command.environment)
    if command.columns is None:
        environment.setdefault("PYTHONUNBUFFERED", "1")  # else Python's lines come only when it ends
    try:
        process = subprocess.Popen(
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            cwd=command.directory,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        os.close(reader)
        return _explain(error, command)
    finally:
        os.close(writer)
    return Child(loop, process, reader, received=received, exited=exited, may_read=may_read)


def _ignore(_code: int) -> None:
    pass


def _explain(error: OSError | ValueError, command: Command) -> NotSpawned:
    program = command.argv[0]
    if not isinstance(error, OSError):  # a NUL byte in a word
        return NotSpawned(NOT_EXECUTABLE, f"{program!r} cannot be run: {error}")
    if not command.directory.is_dir():
        return NotSpawned(NOT_FOUND, f"there is no directory {command.directory}")
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return NotSpawned(NOT_FOUND, f"command not found: {program}")
    if error.errno == errno.ENOEXEC:
        return NotSpawned(NOT_EXECUTABLE, f"{program} is neither a program nor a script that begins with #!")
    return NotSpawned(NOT_EXECUTABLE, f"{program} cannot be run: {error.strerror}")


def _open_terminal(columns: int) -> tuple[int, int]:
    """Return both ends of a pseudo-terminal that changes no byte and echoes nothing."""
    ours, theirs = os.openpty()
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    _set_width(ours, columns)
    return ours, theirs


def _set_width(terminal: int, columns: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
