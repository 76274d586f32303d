"""What services print: whole lines, harmless to a terminal, kept in files, shown without ever waiting for a reader.

Everything works on blocks of whole lines, not on single ones: for 1,000,000 lines that is 0.1 s of CPU, not 1.2 s.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK = 65536
LONGEST_LINE = 65536  # bytes shown of one line; a minified bundle printed by mistake is not read by anyone
RESET = b"\x1b[0m"
PRINTABLE = bytes(byte for byte in range(256) if byte >= 0x20 and byte != 0x7F) + b"\n\t"  # noqa: PLR2004 - ASCII
CONTROL = bytes(byte for byte in range(256) if byte not in PRINTABLE and byte != 0x1B)  # noqa: PLR2004 - ESC
# ECMA-48: control strings (titles, clipboard, hyperlinks), control sequences, two-byte escapes, and a lone ESC.
ESCAPE = re.compile(rb"\x1b(?:[\]PX^_k][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\[[0-?]*[ -/]*[@-~]?|[ -/]*[0-~]?)")
C1 = re.compile(rb"\xc2[\x80-\x9f]")  # U+009B is a control sequence introducer too, on a terminal that speaks UTF-8
COLOUR = re.compile(rb"\x1b\[[0-9;:]*m")  # SGR; with `>` or `?` before it the same final byte sets terminal modes
ROTATED_AT = 10 * 1024 * 1024  # bytes
FILES = 3  # kept in all
RETRY = 5.0  # seconds until a log file that could not be written is tried again
BUFFERED = 4 * 1024 * 1024  # bytes held for a screen that does not take them
CONGESTED = 1024 * 1024  # bytes; from here on the services may wait a little for the screen
STALLED = 1.0  # seconds without progress: the terminal is paused, nobody waits for it


class Lines:
    """Makes whole, harmless lines out of chunks."""

    def __init__(self, *, has_colours: bool = True) -> None:
        self._has_colours = has_colours
        self._pending = bytearray()
        self._cut = 0

    @property
    def is_partial(self) -> bool:
        """Whether an unfinished line is held."""
        return bool(self._pending or self._cut)

    def feed(self, data: bytes) -> bytes:
        """Return the lines that are complete now, each with its newline; `data` is at most a few chunks long."""
        first = data.find(b"\n")
        if first < 0:
            self._hold(data)
            return b""
        last = data.rfind(b"\n") + 1
        if self._cut or len(self._pending) + first > LONGEST_LINE:
            self._hold(data[:first])
            block = self._take() + data[first + 1 : last]
        else:
            block = bytes(self._pending) + data[:last]
            self._pending.clear()
        self._hold(data[last:])
        return clean(block, has_colours=self._has_colours)

    def flush(self) -> bytes:
        """Return the unfinished line, finished."""
        return clean(self._take(), has_colours=self._has_colours) if self.is_partial else b""

    def _hold(self, data: bytes) -> None:
        room = LONGEST_LINE - len(self._pending)
        self._pending += data[:room]
        self._cut += max(0, len(data) - room)

    def _take(self) -> bytes:
        mark = b" [%d more bytes on this line are not shown]" % self._cut if self._cut else b""
        line = bytes(self._pending) + mark + b"\n"
        self._pending.clear()
        self._cut = 0
        return line


def clean(block: bytes, *, has_colours: bool = True) -> bytes:
    """Take everything out of whole lines that would drive a terminal, but colours; each line ends in the plain colour.

    Of a line that is written over with carriage returns only the last text stays, as on a terminal.
    """
    if not block.translate(None, PRINTABLE) and b"\xc2" not in block:
        return block
    block = ESCAPE.sub(_keep_colour if has_colours else b"", block)
    if b"\r" in block:
        block = b"\n".join(_last_text(line) for line in block.split(b"\n"))
    block = C1.sub(b"?", block.translate(None, CONTROL))
    if b"\x1b" in block:
        block = b"\n".join(
            line + RESET if b"\x1b" in line and not line.endswith(RESET) else line for line in block.split(b"\n")
        )
    return block


def _keep_colour(found: re.Match[bytes]) -> bytes:
    return found[0] if COLOUR.fullmatch(found[0]) else b""


def _last_text(line: bytes) -> bytes:
    return line.rstrip(b"\r").rpartition(b"\r")[2]


class Tail:
    """The last lines, in memory."""

    def __init__(self, most: int = 200) -> None:
        self._lines: deque[bytes] = deque(maxlen=most)

    def add(self, lines: bytes) -> None:
        """Add whole lines."""
        most = self._lines.maxlen or 0
        start = len(lines) - 1
        for _ in range(most):  # from the end, so that a large block costs no more than what is kept of it
            start = lines.rfind(b"\n", 0, start)
            if start < 0:
                break
        self._lines.extend(lines[start + 1 :].splitlines())

    def last(self, count: int) -> tuple[bytes, ...]:
        """Return the last lines, oldest first, without newlines."""
        return tuple(self._lines)[-count:] if count > 0 else ()


class LogFile:
    """Lines with the time before each, in a file only its owner can read, rotated; a full disk is noted, not raised.

    Attributes:
        trouble: why lines are not being written at present, or "".
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, limit: int = ROTATED_AT) -> None:
        self.trouble = ""
        self._path = path
        self._clock = clock
        self._limit = limit
        self._descriptor: int | None = None
        self._size = 0
        self._retry_at = float("-inf")

    def write(self, lines: bytes) -> None:
        """Append whole lines."""
        now = self._clock()
        if self._descriptor is None and now < self._retry_at:
            return
        stamp = _render_time(now)
        data = stamp + lines[:-1].replace(b"\n", b"\n" + stamp) + b"\n"
        try:
            self._append(data)
        except OSError as error:
            self.trouble = f"cannot write {self._path}: {error.strerror}"
            self._retry_at = now + RETRY
            self.close()
        else:
            self.trouble = ""

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _append(self, data: bytes) -> None:
        if self._descriptor is None:
            self._open()
        if self._size + len(data) > self._limit and self._size:
            self._rotate()
        view = memoryview(data)
        while view and self._descriptor is not None:
            written = os.write(self._descriptor, view)
            self._size += written
            view = view[written:]

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        os.fchmod(self._descriptor, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self.close()
        for number in range(FILES - 1, 0, -1):
            source = self._path if number == 1 else self._numbered(number - 1)
            with contextlib.suppress(FileNotFoundError):
                source.replace(self._numbered(number))
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _render_time(moment: float) -> bytes:
    """Return "2026-08-01T14:02:03.123+02:00 ": local time, as the developer's clock shows it."""
    from datetime import UTC, datetime

    return (datetime.fromtimestamp(moment, UTC).astimezone().isoformat(timespec="milliseconds") + " ").encode()


class Screen:
    """Writes prefixed whole lines to a descriptor from a thread, so that a paused terminal (Ctrl-S) stops nobody else.

    What the terminal does not take is held up to 4 MiB; after that lines are left out here (the log files have them),
    and their number is told as soon as the terminal goes on.

    Args:
        descriptor: a terminal, a pipe or a file; stays open.
        width: of the longest name.
        colours: the SGR sequence of a name's prefix, b"" for none.
        name: who tells that lines were left out.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        width: int,
        colours: Callable[[str], bytes] = lambda _name: b"",
        name: str = "devtls",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._descriptor = descriptor
        self._width = width
        self._colours = colours
        self._name = name
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._left_out = 0
        self._progress_at = clock()
        self._is_closing = False
        self._is_dead = False
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
        self._thread.start()

    def write(self, name: str, lines: bytes) -> None:
        """Show whole lines of a service, or of devtls itself; never waits."""
        prefix = self._prefix(name)
        block = prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"
        with self._changed:
            if self._is_dead:
                return
            if self._held + len(block) > BUFFERED:
                self._left_out += lines.count(b"\n")
                return
            self._tell_left_out()
            self._put(block)

    def has_room(self) -> bool:
        """Whether a service may go on printing: False for at most a second, while the terminal is merely slow."""
        with self._changed:
            return self._held < CONGESTED or self._clock() - self._progress_at > STALLED

    def flush(self, timeout: float) -> bool:
        """Wait until everything is shown, or the time is over."""
        with self._changed:
            self._tell_left_out()
            return self._changed.wait_for(lambda: self._is_dead or not self._held, timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Show what is left, as far as the terminal takes it within the time, and end."""
        is_shown = self.flush(timeout)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if is_shown:  # else it hangs in a write, and as a daemon thread it ends with the process
            self._thread.join(timeout)

    def _prefix(self, name: str) -> bytes:
        if not name:
            return b""
        text = name.ljust(self._width).encode()
        colour = self._colours(name)
        return (colour + text + RESET if colour else text) + b" | "

    def _tell_left_out(self) -> None:
        if self._left_out:
            count, self._left_out = self._left_out, 0
            self._put(self._prefix(self._name) + b"%d lines are not shown: the terminal was paused\n" % count)

    def _put(self, block: bytes) -> None:
        if not self._held:
            self._progress_at = self._clock()
        self._waiting.append(block)
        self._held += len(block)
        self._changed.notify_all()

    def _run(self) -> None:
        while (block := self._next()) is not None:
            view = memoryview(block)
            while view:
                try:
                    written = os.write(self._descriptor, view[:CHUNK])
                except BlockingIOError:  # somebody made our terminal non-blocking, as node does
                    select.select([], [self._descriptor], [])
                    continue
                except OSError:  # the terminal or the reader is gone
                    self._give_up()
                    return
                view = view[written:]
                self._note_progress(written)

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            if not self._waiting:
                return None
            return self._waiting.popleft()

    def _note_progress(self, written: int) -> None:
        with self._changed:
            self._held -= written
            self._progress_at = self._clock()
            if self._left_out and self._held < CONGESTED:
                self._tell_left_out()
            self._changed.notify_all()

    def _give_up(self) -> None:
        with self._changed:
            self._is_dead = True
            self._waiting.clear()
            self._held = 0
            self._changed.notify_all()
