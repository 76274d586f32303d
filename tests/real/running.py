"""A program that runs inside a machine: what it says, as it comes, and how it ends."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Seconds. Time limits in tests are multiples of it, so that a slow machine needs one number changed.
MOMENT = float(os.environ.get("DEVTLS_TEST_TIMEOUT_FACTOR", "1"))

ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended inside a machine."""

    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """What it said, errors last."""
        return self.stdout + self.stderr


def wait_until(is_so: Callable[[], bool], what: str, timeout: float = 30 * MOMENT) -> None:
    """Ask again and again until it is so; fail with `what` after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > end:
            pytest.fail(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.02)


class Said:
    """The bytes that came from some descriptors, each by name and all together in the order of their coming."""

    def __init__(self, sources: dict[str, int]) -> None:
        self.both = b""
        self.of = dict.fromkeys(sources, b"")
        self.news = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=source, daemon=True) for source in sources.items()]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, source: int) -> None:
        while chunk := _read_some(source):
            with self.news:
                self.of[name] += chunk
                self.both += chunk
                self.news.notify_all()
        os.close(source)

    def is_over(self) -> bool:
        """Whether every source has been read to its end."""
        return not any(reader.is_alive() for reader in self._readers)

    def join(self, timeout: float) -> None:
        """Wait for the end of every source, but not longer than this."""
        for reader in self._readers:
            reader.join(timeout)

    def forget_first_line(self, name: str) -> bytes:
        """Take the first line of a source out of what was said, and return it."""
        with self.news:
            line, _, self.of[name] = self.of[name].partition(b"\n")
            self.both = self.both.replace(line + b"\n", b"", 1)
        return line


def _read_some(source: int) -> bytes:
    try:
        return os.read(source, 65536)
    except OSError:  # a terminal says EIO where a pipe says end of file
        return b""


class Running:
    """A program that was started inside a machine.

    Attributes:
        argv: what was started.
        pid: its number inside the machine.
    """

    def __init__(
        self,
        argv: Sequence[str],
        process: subprocess.Popen[bytes],
        said: Said,
        stdin: int,
        kill: Callable[[int, str], None],
    ) -> None:
        self.argv = tuple(argv)
        self._process = process
        self._said = said
        self._stdin = stdin
        self._kill = kill
        # A shell that then becomes the program says its number in the first line.
        self._await(lambda: b"\n" in said.of["stdout"], "it was not started", 20 * MOMENT)
        self.pid = int(said.forget_first_line("stdout"))

    @property
    def raw(self) -> str:
        """What it said so far, standard output and error as they came, with every escape sequence."""
        with self._said.news:
            return self._said.both.decode("utf-8", "replace")

    @property
    def output(self) -> str:
        """What it said so far, without colours and carriage returns."""
        return ESCAPE_SEQUENCE.sub("", self.raw).replace("\r\n", "\n")

    def wait_for(self, pattern: str, timeout: float = 30 * MOMENT) -> re.Match[str]:
        """Return the first match of a regular expression in the output, as soon as it is there."""
        found: list[re.Match[str]] = []

        def is_there() -> bool:
            found.extend(re.finditer(pattern, self.output, re.MULTILINE))
            return bool(found)

        self._await(is_there, f"no match of {pattern!r}", timeout)
        return found[0]

    def _await(self, is_so: Callable[[], bool], what: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        with self._said.news:
            while not is_so():
                # Asked in this order, or the last words could come between the two.
                was_over = self._said.is_over()
                if is_so():
                    return
                if was_over or time.monotonic() > end:
                    why = "it said no more" if was_over else f"{timeout:.0f} s passed"
                    pytest.fail(f"{' '.join(self.argv)}: {what} ({why}). It said:\n{self.output}")
                self._said.news.wait(0.05)

    def write(self, text: str) -> None:
        """Type on its terminal, or write to its standard input."""
        os.write(self._stdin, text.encode())

    def write_all(self, text: str) -> None:
        """Write all of this to its standard input, and end that."""
        with os.fdopen(os.dup(self._stdin), "wb") as stream, contextlib.suppress(BrokenPipeError):
            self._close_input()
            stream.write(text.encode())

    def _close_input(self) -> None:
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def press_control_c(self) -> None:
        """Type Ctrl+C: the terminal sends SIGINT to all of its foreground group, as a person's does."""
        self.write("\x03")

    def send_signal(self, name: str) -> None:
        """Send it a signal by its short name: "TERM", "KILL"."""
        self._kill(self.pid, name)

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self, timeout: float = 30 * MOMENT) -> int:
        """Return its exit status, 128 + n for signal n."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{' '.join(self.argv)} did not end within {timeout:.0f} s. It said:\n{self.output}")
        # A child that outlives it may hold the pipe open: what that says later is not waited for.
        self._said.join(MOMENT)
        return status if status >= 0 else 128 - status

    def complete(self, timeout: float) -> Completed:
        """Wait for its end; return its status and what it said."""
        status = self.wait(timeout)
        stdout, stderr = (self._said.of.get(name, b"").decode("utf-8", "replace") for name in ("stdout", "stderr"))
        return Completed(status, stdout, stderr)

    def close(self) -> None:
        """End it, if it has not ended, and let go of its input."""
        if self.is_running():
            self._process.kill()
        self._process.wait()
        self._said.join(MOMENT)
        self._close_input()
