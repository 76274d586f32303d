"""The gateway keeper: holds the listening sockets of one user, and serves each project while its connection is open.

One per user, `python -P -m devtls.nginx.keeper`, started by the first `devtls up`, ended by the last. What it says and
understands is in devtls.nginx.protocol. A registration lives exactly as long as its connection: nothing is stale after
a kill.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls import __version__
from devtls.errors import DevtlsError
from devtls.nginx.binary import has_changed, nginx_facts
from devtls.nginx.master import Master
from devtls.nginx.protocol import PROTOCOL, Registration, Setup, parse_registration, parse_setup
from devtls.nginx.staging import Staging
from devtls.system import channel, files, processes
from devtls.system.loop import Loop

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from devtls.system.channel import Message

LONELY = 10.0  # s that a keeper without a project waits for one
SWEEP_GRACE = 2.0  # s between TERM and KILL for what a killed session left behind
MOST_DEATHS = 5  # of a master, in a row, before it served anything
RESTART_AFTER = 0.25  # s; a master that dies at once is not restarted in a tight loop
DESCRIPTORS = 65536  # enough for the 16384 connections of gateway.conf in each worker
LARGEST_LOG = 10 * 1024 * 1024  # bytes; a log beyond that is put aside
YIELDING = 1.0  # s that a project has to register what a forced one leaves it
MOVING = 5.0  # s that the projects of a predecessor have to come over
RELIEF = 10.0  # s after which a predecessor lets nginx go, although its successor has not said that it serves


class Visitor(Struct, eq=False):
    """A connection, and the registration that lives as long as it does."""

    link: channel.Link | None = None
    registration: Registration | None = None
    said_goodbye: bool = False


Change = tuple[Visitor, Registration | None]


class Keeper:
    """Owns the sockets and nginx; applies the changes of the sites, all that have come meanwhile at once."""

    def __init__(self, loop: Loop, setup: Setup, lock: int | None = None) -> None:
        self.loop = loop
        self.setup = setup
        self.lock = lock
        self.master = Master(loop, setup.nginx, setup.folder, setup.descriptors, self._master_died)
        self.staging = Staging(setup)
        self.visitors: list[Visitor] = []
        self.changes: deque[Change] = deque()
        self.insisting: dict[Visitor, Registration] = {}  # forced registrations, while others have their domains
        self.busy = False
        self.awaiting: list[Callable[[], None]] = []
        self.one_by_one = 0  # changes to be tried alone, since nginx refused them together
        self.expected = setup.expected  # registrations to be waited for before anything is served
        self.deaths = 0
        self.ending = False
        self.is_predecessor = False  # a successor has the lock and the folder
        self.has_taken_over = False
        self.server: socket.socket | None = None

    def open(self) -> None:
        """Listen for projects."""
        self.server = channel.listen(self.setup.control)
        self.loop.watch(self.server.fileno(), self._accept)
        self.loop.call_later(LONELY, self._end_if_alone)
        if self.expected:
            self.loop.call_later(MOVING, self._expect_no_more)

    def reap(self) -> None:
        """Collect the children that ended, adopted workers too."""
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.master.reaped(pid)

    def end(self) -> None:
        """Let everybody go, end nginx, end the loop."""
        if self.ending:
            return
        self.ending = True
        if self.setup.predecessor:
            processes.send([self.setup.predecessor], signal.SIGTERM)
        self._stop_listening()
        self.master.stop(self._ended)

    def retire(self) -> None:
        """A successor serves: nginx takes no more connections, and ends with the last that it has."""
        if self.is_predecessor and not self.ending:
            self.master.quit(self.loop.stop)

    def _stop_listening(self) -> None:
        if self.server:
            self.loop.unwatch(self.server.fileno())
            self.server.close()
            self.server = None
            self.setup.control.unlink(missing_ok=True)

    def _ended(self) -> None:
        if not self.is_predecessor:
            self.staging.clear()
        for visitor in tuple(self.visitors):
            if visitor.link and visitor.said_goodbye:
                visitor.link.send({"is": "bye", "last": True})
            if visitor.link:
                visitor.link.close()
        self.loop.stop()

    # Visitors

    def _accept(self) -> None:
        assert self.server  # noqa: S101 - watched only while it is open
        try:
            connection, _ = self.server.accept()
        except OSError:
            return  # gone again before we looked
        if not channel.is_friend(connection):
            connection.close()
            return
        visitor = Visitor()
        visitor.link = channel.Link(
            self.loop,
            connection,
            lambda message, descriptors: self._received(visitor, message, descriptors),
            lambda: self._left(visitor),
        )
        self.visitors.append(visitor)
        visitor.link.send(self._hello(), self.setup.descriptors)

    def _hello(self) -> Message:
        return {
            "hello": "devtls-gateway",
            "protocol": PROTOCOL,
            "version": __version__,
            "pid": os.getpid(),
            "nginx": nginx_facts(self.setup.nginx),
            "https": [[endpoint.host, endpoint.port] for endpoint, _ in self.setup.https],
            "http": [[endpoint.host, endpoint.port] for endpoint, _ in self.setup.http],
            "sites": [registration.facts for registration in self._registrations()],
        }

    def _registrations(self) -> list[Registration]:
        return [visitor.registration for visitor in self.visitors if visitor.registration]

    def _received(self, visitor: Visitor, message: Message, descriptors: list[int]) -> None:
        for descriptor in descriptors:  # nobody has reason to send us any
            os.close(descriptor)
        match message.get("do"):
            case "register":
                try:
                    registration = parse_registration(message)
                except (KeyError, TypeError, ValueError) as error:
                    self._refuse(visitor, "message", f"the registration is not understood: {error!r}")
                    return
                self._change(visitor, registration)
            case "withdraw":
                self._change(visitor, None)
            case "goodbye":
                visitor.said_goodbye = True
                self._change(visitor, None)
            case "hand-over":
                self._hand_over()
            case other:
                self._refuse(visitor, "message", f"{other!r} is not a word of protocol {PROTOCOL}")

    def _refuse(self, visitor: Visitor, why: str, message: str, **facts: object) -> None:
        self._say(visitor, {"is": "refused", "why": why, "message": message, **facts})

    def _say(self, visitor: Visitor, message: Message) -> None:
        if visitor.link:
            visitor.link.send(message)

    def _left(self, visitor: Visitor) -> None:
        visitor.link = None
        if self.is_predecessor:  # it has gone to the successor
            return
        if visitor.registration and not visitor.said_goodbye:
            self._sweep(visitor.registration.session)
        self._change(visitor, None)

    def _sweep(self, session: str) -> None:
        """End what a session left that dropped without a goodbye; its guardian may be at it, too."""
        found = processes.find_marked(processes.SESSION_MARKER, session)
        processes.send(found, signal.SIGTERM)
        if found:
            self.loop.call_later(
                SWEEP_GRACE,
                lambda: processes.send(processes.find_marked(processes.SESSION_MARKER, session), signal.SIGKILL),
            )

    # A successor

    def _hand_over(self) -> None:
        """Free the way for a successor on the same sockets: nginx serves on until that one does."""
        if self.server is None:
            return
        self.is_predecessor = True
        self.loop.unwatch(self.server.fileno())
        self.server.close()
        self.server = None  # its path is the successor's now
        if self.lock is not None:
            os.close(self.lock)
        sys.stderr.write("a successor takes over\n")
        for visitor in self.visitors:
            self._say(visitor, {"is": "moved"})
        self.loop.call_later(RELIEF, self.retire)

    def _take_over(self) -> None:
        """All who came over are served: the predecessor need not serve them any longer."""
        if self.setup.predecessor and not self.has_taken_over:
            processes.send([self.setup.predecessor], signal.SIGQUIT)
        self.has_taken_over = True

    def _expect_no_more(self) -> None:
        self.expected = 0
        self._next()

    # Changes

    def _change(self, visitor: Visitor, registration: Registration | None) -> None:
        if registration is None and self._is_last(visitor):
            self.end()  # whatever is on its way, nobody waits for it
            return
        self.changes.append((visitor, registration))
        self.changes.extend(self.insisting.items())
        self.loop.call_soon(self._next)  # what came in the same breath is one reload

    def _is_last(self, visitor: Visitor) -> bool:
        """Whether nobody else has a site, or asks for one."""
        others = [other for other in self.visitors if other is not visitor]
        return (
            visitor.registration is not None
            and (visitor.link is None or visitor.said_goodbye)
            and not any(other.registration for other in others)
            and not any(wanted for _, wanted in (*self.changes, *self.insisting.items()))
        )

    def _next(self) -> None:
        """Apply the changes of the sites that have come, unless some are on their way."""
        is_held_up = self.busy or self.ending or self.is_predecessor or len(self.changes) < self.expected
        if is_held_up or not self.changes:
            return
        self.expected = 0
        served = self._registrations()
        before = {visitor: visitor.registration for visitor in self.visitors}
        added, gone = self._take()
        if not self._registrations():
            self._none_left(gone, was_empty=not served)
        elif self._registrations() == served:
            self._served(added, gone)
            self._next()
        else:
            self._apply(before, added, gone)

    def _take(self) -> tuple[list[Visitor], list[Visitor]]:
        """Note what each change wants; return who has a new site, and who has none any more."""
        added: dict[Visitor, None] = {}
        gone: dict[Visitor, None] = {}
        while self.changes:
            visitor, wanted = self.changes.popleft()
            if wanted is None or visitor.link is None:  # the latter left while it waited
                self.insisting.pop(visitor, None)
                visitor.registration = None
                gone[visitor] = None
                added.pop(visitor, None)
                if visitor.link is None and visitor in self.visitors:
                    self.visitors.remove(visitor)
            elif owners := self._owners_of(wanted, visitor):
                self._contest(visitor, wanted, owners)
            else:
                self.insisting.pop(visitor, None)
                visitor.registration = wanted
                added[visitor] = None
            if self.one_by_one:
                self.one_by_one -= 1
                break
        return list(added), list(gone)

    def _owners_of(self, wanted: Registration, visitor: Visitor) -> list[Visitor]:
        """Who has one of these domains."""
        domains = set(wanted.domains)
        others = [other for other in self.visitors if other is not visitor]
        return [other for other in others if other.registration and domains & set(other.registration.domains)]

    def _contest(self, visitor: Visitor, wanted: Registration, owners: list[Visitor]) -> None:
        """Two want the same domain: it stays with who has it, unless the other one insists."""
        if not wanted.is_forced:
            had = owners[0].registration
            assert had  # noqa: S101 - that is what an owner is
            domain = next(domain for domain in wanted.domains if domain in had.domains)
            self._refuse(visitor, "domain", f"{domain} is served already", domain=domain, owner=had.facts)
            return
        if visitor in self.insisting:
            return  # the owners have been told
        self.insisting[visitor] = wanted
        for owner in owners:
            had = owner.registration
            lost = [domain for domain in (had.domains if had else ()) if domain in wanted.domains]
            self._say(owner, {"is": "taken", "domains": lost, "by": wanted.facts})
        self.loop.call_later(YIELDING, lambda: self._wait_no_longer(visitor))

    def _wait_no_longer(self, visitor: Visitor) -> None:
        """Who does not answer is not served any more."""
        wanted = self.insisting.get(visitor)
        if wanted:
            self.changes.extend((owner, None) for owner in self._owners_of(wanted, visitor))
            self.changes.append((visitor, wanted))
            self._next()

    def _apply(self, before: dict[Visitor, Registration | None], added: list[Visitor], gone: list[Visitor]) -> None:
        """Serve what is wanted now; one project's bad site never takes another's down."""
        folder = None
        try:
            folder = self.staging.stage(self._registrations())
            self.master.test(folder)
            self.staging.swap(folder)
        except (DevtlsError, OSError) as error:
            if folder:
                self.staging.discard(folder)
            self._undo(before, added, gone, error)
            return
        self.busy = True
        self.awaiting.append(lambda: self._served(added, gone))
        self.master.reload(self._live)

    def _undo(
        self,
        before: dict[Visitor, Registration | None],
        added: list[Visitor],
        gone: list[Visitor],
        error: DevtlsError | OSError,
    ) -> None:
        """It is refused, or the disk is full: who is to blame is found by trying one after the other."""
        if not added:
            sys.stderr.write(f"a site that is gone stays until the next change: {error}\n")
            self._say_bye(gone)
        elif len(added) == 1 and not gone:
            added[0].registration = before.get(added[0])
            self._refuse(added[0], "config", str(error))
        else:
            again: list[Change] = [(visitor, None) for visitor in gone]
            again += [(visitor, visitor.registration) for visitor in added]
            for visitor in added:
                visitor.registration = before.get(visitor)
            self.changes.extendleft(reversed(again))
            self.one_by_one = len(again)
        self.loop.call_soon(self._next)

    def _live(self) -> None:
        """What was swapped in is served, whatever died meanwhile."""
        self.busy = False
        self.deaths = 0
        awaiting, self.awaiting = self.awaiting, []
        for then in awaiting:
            then()
        self._take_over()
        if _put_log_aside(self.setup.folder / "gateway.log"):
            self.master.reopen_logs()
        self._next()

    def _served(self, added: Iterable[Visitor], gone: Iterable[Visitor]) -> None:
        for visitor in added:
            self._say(visitor, {"is": "registered"})
        self._say_bye(gone)

    def _say_bye(self, gone: Iterable[Visitor]) -> None:
        for visitor in gone:
            if visitor.link and visitor.said_goodbye:
                visitor.link.send({"is": "bye", "last": False})
                visitor.link.close()

    def _none_left(self, gone: list[Visitor], *, was_empty: bool) -> None:
        """The last one is out, or the one who started us will not come in; else wait for another."""
        others = [other for other in self.visitors if other.link and other not in gone]
        is_leaving = any(visitor.said_goodbye for visitor in gone)
        if not (self.changes or self.insisting) and (not was_empty or (is_leaving and not others)):
            self.end()
            return
        self._say_bye(gone)
        self.loop.call_later(LONELY, self._end_if_alone)
        self._next()

    def _master_died(self) -> None:
        """Start it again, a little later; one that never lives is given up, and every project is told by hanging up."""
        self.deaths += 1
        if self.deaths > MOST_DEATHS or has_changed(self.setup.nginx):
            self.end()  # what another binary can do, its projects have to know: they start another keeper
        else:
            self.loop.call_later(RESTART_AFTER, self._restart)

    def _restart(self) -> None:
        if not self.ending and self.master.pid is None and self._registrations():
            self.busy = True
            self.master.reload(self._live)

    def _end_if_alone(self) -> None:
        if not self.is_predecessor and not any(visitor.link for visitor in self.visitors):
            self.end()


def main(argv: list[str]) -> int:
    """Become the keeper: exit status 0 once it listens, in the background; 75 when there is one already."""
    setup = parse_setup(argv[1])
    os.umask(0o077)  # whatever the user's: nginx and we write for this user alone
    files.make_private_directory(setup.folder / "temp")
    for descriptor in setup.descriptors:
        # nginx leaves inherited sockets as they are; on a blocking one, the worker that loses the race for a connection
        # sleeps in accept, and every connection that it has with it.
        os.set_blocking(descriptor, False)
    lock = _take_lock(setup.folder / "lock", MOVING if setup.predecessor else 0.0)
    if lock is None:
        return os.EX_TEMPFAIL
    _put_log_aside(setup.folder / "gateway.log")
    _raise_descriptor_limit()
    loop = Loop()
    keeper = Keeper(loop, setup, lock)
    keeper.open()
    if os.fork():
        os._exit(0)
    os.setsid()
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()} {_started()}".encode())  # who the guardians must spare: see gateway.keeper_pid
    processes.set_subreaper()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.on_signal(number, keeper.end)
    loop.on_signal(signal.SIGQUIT, keeper.retire)
    loop.on_signal(signal.SIGCHLD, keeper.reap)
    _detach(setup.folder / "keeper.log")
    loop.run()
    return 0


def _take_lock(path: Path, patience: float) -> int | None:
    """The lock that makes us the keeper; a predecessor frees it once it is asked to."""
    end = time.monotonic() + patience
    while (lock := files.try_lock(path)) is None and time.monotonic() < end:
        time.sleep(0.005)
    return lock


def _started() -> int:
    """When this process started, so that its pid is never taken for another's."""
    identity = processes.identify(os.getpid())
    return identity.started if identity else 0


def _raise_descriptor_limit() -> None:
    """A proxied WebSocket takes two descriptors; the usual soft limit of 1024 would end at 500 of them."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _detach(log: Path) -> None:
    os.chdir("/")  # hold no directory of the user's
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, files.PRIVATE_FILE)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(descriptor)


def _put_log_aside(log: Path) -> bool:
    """Begin a new log when this one has grown large; whether it had."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".log.1"))
            return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv))
