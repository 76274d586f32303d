"""Processes as the kernel knows them: who they are, whose they are, what they listen on, and how they end.

A pid alone is never trusted: it is reused. A process is its pid and its start time, and signals go through a pidfd.
Linux is read from /proc, without psutil: `import psutil` costs 23 ms. The forms for macOS have not yet been run there.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
LISTEN = "0A"  # TCP_LISTEN of net/tcp_states.h, as /proc/net/tcp writes it
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read from the kernel, never bound
AFTER_KILL = 2.0  # seconds; SIGKILL takes longer only in an uninterruptible wait, which nobody can end
LONGEST_DESCRIPTION = 200  # characters of a command line that a person still reads


SESSION_MARKER = "DEVTLS_SESSION"  # in the environment of all that a session starts
SERVICE_MARKER = "DEVTLS_SERVICE"  # "session/service": whose generation a process was, wherever it has gone
MARKERS = frozenset({SESSION_MARKER, SERVICE_MARKER})


class Identity(Struct, frozen=True):
    """A process, for as long as this machine is up: its pid and its start time in clock ticks since boot."""

    pid: int
    started: int


class Holder(Struct, frozen=True):
    """Who listens on a port: the process when it may be seen, and the user id of the socket."""

    endpoint: Endpoint
    uid: int
    process: Identity | None


class _Row(Struct, frozen=True):
    pid: int
    parent: int
    session: int
    started: int
    is_alive: bool

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.started)


class _Listening(Struct, frozen=True):
    endpoint: Endpoint
    uid: int
    inode: str


def identify(pid: int) -> Identity | None:
    """Return who has this pid now, or None when nobody living does."""
    row = _row(pid)
    return row.identity if row and row.is_alive else None


def is_alive(identity: Identity) -> bool:
    """Whether this very process still runs; a zombie does not."""
    return identify(identity.pid) == identity


def children(pid: int) -> tuple[int, ...]:
    """Return the pids of the direct children, zombies included."""
    try:
        # Children belong to the thread that forked them: https://man7.org/linux/man-pages/man5/proc_pid_task.5.html
        tasks = [entry.path for entry in os.scandir(f"/proc/{pid}/task")]
        return tuple(int(child) for task in tasks for child in Path(f"{task}/children").read_bytes().split())
    except OSError:  # gone, a thread ended meanwhile, or a kernel without CONFIG_PROC_CHILDREN
        return tuple(row.pid for row in _rows() if row.parent == pid)


def descendants(pid: int) -> tuple[Identity, ...]:
    """Return all living processes below this one, itself not included."""
    found: dict[int, Identity] = {}
    waiting = list(children(pid))
    while waiting:
        child = waiting.pop()
        identity = identify(child)
        if child in found or identity is None:
            continue
        found[child] = identity
        waiting += children(child)
    return tuple(found.values())


def zombies() -> tuple[Identity, ...]:
    """Return our children that have ended and that nobody has waited for."""
    rows = [row for pid in children(os.getpid()) if (row := _row(pid))]
    return tuple(row.identity for row in rows if not row.is_alive)


def find_marked(name: str, value: str) -> tuple[Identity, ...]:
    """Return this user's processes started with `name=value` in their environment (nginx and Ruby erase theirs)."""
    entry = f"{name}={value}".encode()
    return tuple(
        row.identity for row in _rows() if row.is_alive and _is_ours(row.pid) and entry in _environment(row.pid)
    )


def is_run_by_others(module: str) -> bool:
    """Whether another user runs this module of Python (`python -m MODULE`), as far as the kernel shows it to us."""
    words = f"\0-m\0{module}\0".encode()
    return any(words in _command_line(row.pid) and not _is_ours(row.pid) for row in _rows())


def find_using(folder: Path, title: str, *, unless_below: str) -> tuple[Identity, ...]:
    """Return this user's processes that go by a title and have a file in a folder open; none but on Linux.

    Those whose parent goes by the title `unless_below` are left out.
    """
    entry, parent, within = title.encode(), unless_below.encode(), f"{folder.resolve()}/"
    return tuple(
        row.identity
        for row in (_rows() if LINUX else ())
        if row.is_alive
        and _is_ours(row.pid)
        and _is_titled(row.pid, entry)
        and not _is_titled(row.parent, parent)
        and any(_files_within(row.pid, within))
    )


def find_tree(
    *,
    below: int | None = None,
    marker: tuple[str, str] | None = None,
    recorded: Iterable[Identity] = (),
    excluding: Collection[int] = (),
) -> tuple[Identity, ...]:
    """Return what belongs together: below a process, marked, recorded, all below these, and the sessions they lead.

    Args:
        below: a process, itself not included.
        marker: name and value of an environment variable.
        recorded: processes seen before; those that are gone are left out, the sessions they led are not.
        excluding: pids that are somebody else's, with all below them. We and our ancestors never belong.
    """
    rows = {row.pid: row for row in _rows()}
    offspring: dict[int, list[int]] = {}
    for row in rows.values():
        offspring.setdefault(row.parent, []).append(row.pid)
    spared = set(_lineage(rows, os.getpid()))
    spared |= _closure(offspring, excluding, frozenset())
    seeds = [identity.pid for identity in recorded if identity.pid in rows and rows[identity.pid].identity == identity]
    seeds += offspring.get(below, []) if below is not None else []
    seeds += [identity.pid for identity in find_marked(*marker)] if marker else []
    found = _closure(offspring, seeds, spared)
    sessions = _sessions_of(rows, found, recorded) - {rows[pid].session for pid in _lineage(rows, os.getpid())}
    mates = [row.pid for row in rows.values() if row.session in sessions]
    found |= _closure(offspring, mates, spared)
    return tuple(rows[pid].identity for pid in found if pid in rows and rows[pid].is_alive)


def survivors(
    marker: tuple[str, str], recorded: Iterable[Identity] = (), *, excluding: Collection[int] = ()
) -> tuple[Identity, ...]:
    """Return all that is left of a session that this process supervised or adopted."""
    return find_tree(below=os.getpid(), marker=marker, recorded=recorded, excluding=excluding)


def send(identities: Iterable[Identity], number: signal.Signals) -> None:
    """Signal these very processes; those that are gone, or not ours to signal, are passed over.

    A stopped process sees SIGTERM only once it continues, so SIGCONT follows it.
    """
    for identity in identities:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            _send(identity, number)


class Ending:
    """Processes being ended: SIGTERM, then SIGKILL after `grace` seconds, until the whole tree is empty.

    `step` does what is due and returns the seconds until the next look, or None when it is over: a loop and a thread
    that may sleep can both drive it.

    Attributes:
        waiting_for: who is still there.
        killed: who had to be killed.
    """

    def __init__(
        self,
        find: Callable[[], tuple[Identity, ...]],
        grace: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._clock = clock
        self._kill_at = clock() + grace
        self._pause = 0.002
        self._told: set[Identity] = set()
        self.began = clock()
        self.waiting_for: tuple[Identity, ...] = ()
        self.killed: tuple[Identity, ...] = ()

    def kill_now(self) -> None:
        """Let the grace be over at the next step."""
        self._kill_at = min(self._kill_at, self._clock())

    def step(self) -> float | None:
        """Signal who has to be; None means that nobody is left, or only those that nobody can end."""
        now = self._clock()
        is_killing = now >= self._kill_at
        self.waiting_for = tuple(identity for identity in self.waiting_for if is_alive(identity))
        if is_killing or not self.waiting_for:
            self.waiting_for = self._find()
        if not self.waiting_for or now >= self._kill_at + AFTER_KILL:
            return None
        if is_killing:
            self.killed += tuple(identity for identity in self.waiting_for if identity not in self.killed)
            send(self.waiting_for, signal.SIGKILL)
        else:
            send([identity for identity in self.waiting_for if identity not in self._told], signal.SIGTERM)
            self._told.update(self.waiting_for)
        self._pause = min(self._pause * 1.5, 0.05)
        return self._pause if is_killing else min(self._pause, max(0.001, self._kill_at - now))


def end(find: Callable[[], tuple[Identity, ...]], grace: float) -> tuple[Identity, ...]:
    """End what `find` finds until it finds nothing; return who had to be killed. Ask `find` again for a proof."""
    ending = Ending(find, grace)
    while (pause := ending.step()) is not None:
        time.sleep(pause)
    return ending.killed


def listening(pids: Collection[int]) -> tuple[tuple[int, Endpoint], ...]:
    """Return the TCP endpoints that these processes listen on; a wildcard is given as its loopback address."""
    if not LINUX:
        return _listening_by_psutil(pids)
    by_inode = {entry.inode: entry.endpoint for entry in _listening_sockets()}
    found = {(pid, by_inode[inode]) for pid in pids for inode in _socket_inodes(pid) if inode in by_inode}
    return tuple(sorted(found, key=lambda pair: (pair[1].port, pair[1].host, pair[0])))


def holders(port: int) -> tuple[Holder, ...]:
    """Return who listens on this port at 127.0.0.1 or ::1, and with which rights; costs a look at every process."""
    if not LINUX:
        pids = [row.pid for row in _rows()]
        return tuple(
            Holder(endpoint, -1, identify(pid))
            for pid, endpoint in _listening_by_psutil(pids)
            if endpoint.port == port and endpoint.host in WILDCARDS.values()
        )
    sockets = [s for s in _listening_sockets() if s.endpoint.port == port and s.endpoint.host in WILDCARDS.values()]
    if not sockets:
        return ()
    owner = {inode: row.identity for row in _rows() for inode in _socket_inodes(row.pid)}
    return tuple(Holder(s.endpoint, s.uid, owner.get(s.inode)) for s in sockets)


def describe(pid: int) -> str:
    """Return the command line, fit to be printed; the bare name when it has none."""
    try:
        words = _command_line(pid)
        text = shlex.join(words.rstrip(b"\0").decode("utf-8", "replace").split("\0")) if words else ""
        text = text or Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process that is gone"
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return printable if len(printable) <= LONGEST_DESCRIPTION else printable[: LONGEST_DESCRIPTION - 1] + "…"


def set_subreaper() -> bool:
    """Become the parent of every orphan below this process; not inherited by fork. False where it does not exist."""
    return LINUX and _prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(number: signal.Signals) -> bool:
    """Be sent this signal when the parent (the thread that forked us) is gone; ask getppid() afterwards: it may be."""
    if LINUX:
        return _prctl(PR_SET_PDEATHSIG, number)
    return _watch_parent_by_kqueue(number)


def _prctl(option: int, argument: int) -> bool:
    import ctypes

    libc = ctypes.CDLL(None)
    return bool(libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) == 0)


def _watch_parent_by_kqueue(number: signal.Signals) -> bool:
    """Wait for the parent's end in a thread (macOS; not yet run there)."""
    if sys.platform == "linux":
        return False
    import select

    parent = os.getppid()
    queue = select.kqueue()
    queue.control([select.kevent(parent, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)], 0)

    def wait() -> None:
        queue.control([], 1)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, daemon=True).start()
    return True


def _send(identity: Identity, number: signal.Signals) -> None:
    if sys.platform != "linux":  # macOS, not yet run there: the pid may change hands between these two lines
        if is_alive(identity):
            os.kill(identity.pid, number)
            if number == signal.SIGTERM:
                os.kill(identity.pid, signal.SIGCONT)
        return
    descriptor = os.pidfd_open(identity.pid)
    try:
        if identify(identity.pid) == identity:  # asked after the pidfd is open: it stays this process
            signal.pidfd_send_signal(descriptor, number)
            if number == signal.SIGTERM:
                signal.pidfd_send_signal(descriptor, signal.SIGCONT)
    finally:
        os.close(descriptor)


def _lineage(rows: dict[int, _Row], pid: int) -> Iterator[int]:
    seen = {0}
    while pid in rows and pid not in seen:
        yield pid
        seen.add(pid)
        pid = rows[pid].parent


def _closure(offspring: dict[int, list[int]], seeds: Iterable[int], spared: Collection[int]) -> set[int]:
    found: set[int] = set()
    waiting = list(seeds)
    while waiting:
        pid = waiting.pop()
        if pid not in found and pid not in spared:
            found.add(pid)
            waiting += offspring.get(pid, [])
    return found


def _sessions_of(rows: dict[int, _Row], found: set[int], recorded: Iterable[Identity]) -> set[int]:
    """Return the sessions led by one of these, living or dead; a session that a stranger leads is not ours.

    The kernel does not reuse a pid while a session has its number, so a dead recorded leader still names its session;
    when a living stranger has the number, that session is the stranger's.
    """
    sessions = {rows[pid].session for pid in found if pid in rows}
    sessions |= {identity.pid for identity in recorded}
    return {sid for sid in sessions if sid > 0 and (sid not in rows or not rows[sid].is_alive or sid in found)}


def _rows() -> Iterator[_Row]:
    if not LINUX:
        yield from _rows_by_psutil()
        return
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (row := _row(int(entry.name))):
            yield row


def _row(pid: int) -> _Row | None:
    if not LINUX:
        return _row_by_psutil(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in parentheses may hold anything, parentheses too: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    fields = stat[stat.rindex(b")") + 2 :].split()
    # A main thread that ended before the others looks like a zombie, but has them.
    is_alive_now = fields[0] not in {b"Z", b"X", b"x"} or int(fields[17]) > 1
    return _Row(pid, int(fields[1]), int(fields[3]), int(fields[19]), is_alive_now)


def _is_ours(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}").stat().st_uid == os.geteuid() if LINUX else True
    except OSError:
        return False


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if LINUX else _environment_by_psutil(pid)
    except OSError:
        return []


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() if LINUX else _command_line_by_psutil(pid)
    except OSError:
        return b""


def _is_titled(pid: int, title: bytes) -> bool:
    return _command_line(pid).startswith(title)


def _files_within(pid: int, within: str) -> Iterator[str]:
    return (target for target in _open_files(pid) if target.startswith(within))


def _listening_sockets() -> Iterator[_Listening]:
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # a kernel without IPv6
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN:
                yield _Listening(_parse_endpoint(fields[1]), int(fields[7]), fields[9])


def _parse_endpoint(text: str) -> Endpoint:
    """Parse "0100007F:0BB8": 32-bit words in the machine's byte order, then the port."""
    address, _, port = text.partition(":")
    words = (address[start : start + 8] for start in range(0, len(address), 8))
    packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    if packed[:12] == b"\0" * 10 + b"\xff\xff":  # IPv4 in an IPv6 socket
        packed = packed[12:]
    host = socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)  # noqa: PLR2004 - bytes
    return Endpoint(WILDCARDS.get(host, host), int(port, 16))


def _socket_inodes(pid: int) -> Iterator[str]:
    return (target[8:-1] for target in _open_files(pid) if target.startswith("socket:["))


def _open_files(pid: int) -> Iterator[str]:
    try:
        entries = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:  # gone, or another user's
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            yield os.readlink(entry.path)  # noqa: PTH115 - thousands of these; Path.readlink costs 2.5 times as much


def _rows_by_psutil() -> Iterator[_Row]:
    import psutil

    for pid in psutil.pids():
        row = _row_by_psutil(pid)
        if row:
            yield row


def _row_by_psutil(pid: int) -> _Row | None:
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            started = int(process.create_time() * 100)
            is_alive_now = process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
            return _Row(pid, process.ppid(), os.getsid(pid), started, is_alive_now)
    except (psutil.Error, OSError):
        return None


def _environment_by_psutil(pid: int) -> list[bytes]:
    import psutil

    try:
        return [f"{name}={value}".encode() for name, value in psutil.Process(pid).environ().items()]
    except psutil.Error:
        return []


def _command_line_by_psutil(pid: int) -> bytes:
    import psutil

    try:
        return "\0".join(psutil.Process(pid).cmdline()).encode()
    except psutil.Error as error:
        raise ProcessLookupError(pid) from error


def _listening_by_psutil(pids: Collection[int]) -> tuple[tuple[int, Endpoint], ...]:
    import psutil

    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            for connection in psutil.Process(pid).net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    host = WILDCARDS.get(connection.laddr.ip, connection.laddr.ip)
                    found.append((pid, Endpoint(host, connection.laddr.port)))
    return tuple(found)
