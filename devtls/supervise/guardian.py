"""A small process above the supervisor: it passes signals on, and leaves nothing behind when the supervisor dies.

```
guardian (the terminal's process, waits in sigwait)
 └─ supervisor (a session of its own, SIGTERM when the guardian dies)
     └─ services
```
The terminal's Ctrl-C reaches only the guardian, so the supervisor sees it exactly once. Killed with -9, the supervisor
leaves its orphans to the guardian, which ends them; the guardian, killed, makes the supervisor stop in good order.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from devtls.system.processes import descendants, end, set_parent_death_signal, set_subreaper, survivors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

FORWARDED = frozenset({
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
})  # fmt: skip
SWEEP_GRACE = 1.0  # seconds; whoever killed the supervisor with -9 does not want to wait
BUG = 70  # EX_SOFTWARE of sysexits.h


def guard(
    supervise: Callable[[], int],
    *,
    marker: tuple[str, str],
    excluding: Callable[[], Collection[int]] = frozenset,
    close: Sequence[int] = (),
    grace: float = SWEEP_GRACE,
) -> int:
    """Run `supervise` in a child, and return its exit status when nothing of it is left (negative: the signal).

    Call it before any thread is started, from the main thread; `supervise` never returns into the caller's frames.

    Args:
        supervise: all that the supervisor does; it runs with the signals as they were before.
        marker: name and value in the environment of all that the supervisor starts.
        excluding: asked before sweeping: pids that outlive the session with all below them (the gateway's keeper).
        close: descriptors that only the supervisor keeps, such as a pipe whose end tells that it is gone.
        grace: between SIGTERM and SIGKILL for what a dead supervisor left behind.
    """
    set_subreaper()
    bystanders = {identity.pid for identity in descendants(os.getpid())}  # a shell that exec'ed us may have had jobs
    forwarded = {number for number in FORWARDED if signal.getsignal(number) != signal.SIG_IGN}  # nohup, `&` in sh
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, forwarded | {signal.SIGCHLD})
    guardian = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_supervisor(supervise, guardian, before)
    for descriptor in close:
        os.close(descriptor)
    try:
        status = _forward_until_gone(pid, forwarded)
        end(lambda: survivors(marker, excluding=bystanders | set(excluding())), grace)
        _reap_all()
    finally:
        while signal.sigpending() & forwarded:  # a Ctrl-C too many must not hit the caller
            signal.sigwait(forwarded)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return status


def detach(log: Path, run: Callable[[int], int]) -> tuple[int, int]:
    """Run in the background, in a session of its own, with standard output and errors appended to `log`.

    `run` is given the writing end of a pipe; returned are the process and the reading end, on which the caller waits
    for word, or for the end of it: then everybody who held the writing end is gone or has closed it.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _run_and_exit(lambda: _run_detached(log, run, reader, writer))
    os.close(writer)
    return pid, reader


def _run_detached(log: Path, run: Callable[[int], int], reader: int, writer: int) -> int:
    os.close(reader)
    os.setsid()
    _redirect(log)
    return run(writer)


def _become_supervisor(supervise: Callable[[], int], guardian: int, mask: set[signal.Signals | int]) -> NoReturn:
    os.setsid()
    set_subreaper()
    set_parent_death_signal(signal.SIGTERM)
    if os.getppid() != guardian:  # it died before the line above
        os.kill(os.getpid(), signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _run_and_exit(supervise)


def _run_and_exit(run: Callable[[], int]) -> NoReturn:
    """End this process with what `run` returns; whatever it raises must not unwind into the parent's frames."""
    status = BUG
    try:
        status = run()
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:  # noqa: BLE001 - shown as Python would, then the process ends
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:  # a closed terminal
                continue
        os._exit(status & 0xFF)


def _forward_until_gone(pid: int, forwarded: Collection[signal.Signals]) -> int:
    while True:
        number = signal.sigwait({*forwarded, signal.SIGCHLD})
        if number != signal.SIGCHLD:
            os.kill(pid, number)  # not reaped yet, so the pid is still its own
            continue
        status = _reap_all().get(pid)
        if status is not None:
            return status


def _reap_all() -> dict[int, int]:
    """Wait for every child that has ended, orphans too, and return their exit statuses."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def _redirect(log: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    written = os.open(log, flags, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(written, 1)
    os.dup2(written, 2)
    for descriptor in {nothing, written} - {0, 1, 2}:
        os.close(descriptor)
