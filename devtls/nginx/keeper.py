"""The gateway keeper: holds the listening sockets of one user, and serves each project while its connection is open.

One per user, `python -P -m devtls.nginx.keeper`, started by the first `devtls up`, ended by the last. What it says and
understands is in devtls.nginx.protocol. A registration lives exactly as long as its connection: nothing is stale after
a kill.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls import __version__
from devtls.errors import DevtlsError
from devtls.nginx.master import Master
from devtls.nginx.protocol import PROTOCOL, Registration, Setup, parse_registration, parse_setup
from devtls.nginx.render import render_gateway
from devtls.system import channel, files, processes
from devtls.system.loop import Loop

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from devtls.system.channel import Message

LONELY = 10.0  # s that a keeper without a project waits for one
SWEEP_GRACE = 2.0  # s between TERM and KILL for what a killed session left behind
MOST_DEATHS = 5  # of a master, in a row, before it served anything
RESTART_AFTER = 0.25  # s; a master that dies at once is not restarted in a tight loop
DESCRIPTORS = 65536  # enough for the 16384 connections of gateway.conf in each worker
LARGEST_LOG = 10 * 1024 * 1024  # bytes; a log beyond that is put aside at the next start


class Visitor(Struct, eq=False):
    """A connection, and the registration that lives as long as it does."""

    link: channel.Link | None = None
    registration: Registration | None = None
    said_goodbye: bool = False


class Keeper:
    """Owns the sockets and nginx; applies one change of the sites after the other."""

    def __init__(self, loop: Loop, setup: Setup) -> None:
        self.loop = loop
        self.setup = setup
        self.master = Master(loop, setup.nginx, setup.folder, setup.descriptors, self._master_died)
        self.visitors: list[Visitor] = []
        self.changes: deque[tuple[Visitor, Registration | None]] = deque()
        self.generation = 0
        self.busy = False
        self.awaiting: list[Callable[[], None]] = []
        self.deaths = 0
        self.ending = False
        self.server: socket.socket | None = None

    def open(self) -> None:
        """Listen for projects."""
        self.server = channel.listen(self.setup.control)
        self.loop.watch(self.server.fileno(), self._accept)
        self.loop.call_later(LONELY, self._end_if_alone)

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
        if self.server:
            self.loop.unwatch(self.server.fileno())
            self.server.close()
            self.setup.control.unlink(missing_ok=True)
        self.master.stop(self._ended)

    def _ended(self) -> None:
        (self.setup.folder / "live").unlink(missing_ok=True)
        shutil.rmtree(self.setup.folder / "conf", ignore_errors=True)
        for visitor in tuple(self.visitors):
            if visitor.link and visitor.said_goodbye:
                visitor.link.send({"is": "bye", "last": True})
            if visitor.link:
                visitor.link.close()
        self.loop.stop()

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
        nginx = self.setup.nginx
        return {
            "hello": "devtls-gateway",
            "protocol": PROTOCOL,
            "version": __version__,
            "pid": os.getpid(),
            "nginx": {"path": nginx.path, "version": list(nginx.version), "features": sorted(nginx.features)},
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
            case "goodbye":
                visitor.said_goodbye = True
                self._change(visitor, None)
            case other:
                self._refuse(visitor, "message", f"{other!r} is not a word of protocol {PROTOCOL}")

    def _refuse(self, visitor: Visitor, why: str, message: str, **facts: object) -> None:
        self._say(visitor, {"is": "refused", "why": why, "message": message, **facts})

    def _say(self, visitor: Visitor, message: Message) -> None:
        if visitor.link:
            visitor.link.send(message)

    def _left(self, visitor: Visitor) -> None:
        visitor.link = None
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

    def _change(self, visitor: Visitor, registration: Registration | None) -> None:
        if registration is None and self._is_last(visitor):
            self.end()  # whatever is on its way, nobody waits for it
            return
        self.changes.append((visitor, registration))
        self._next()

    def _is_last(self, visitor: Visitor) -> bool:
        """Whether nobody else has a site, or asks for one."""
        others = [other for other in self.visitors if other is not visitor]
        return (
            visitor.registration is not None
            and not any(other.registration for other in others)
            and not any(wanted for _, wanted in self.changes)
        )

    def _next(self) -> None:
        """Apply the next change of the sites, unless one is on its way."""
        if self.busy or self.ending or not self.changes:
            return
        visitor, registration = self.changes.popleft()
        if registration is None:
            self._remove(visitor)
        elif visitor.link is None:
            self._next()  # it left while it waited
        elif owner := self._owner_of(registration, visitor):
            domain = next(domain for domain in registration.domains if domain in owner.domains)
            self._refuse(visitor, "domain", f"{domain} is served already", domain=domain, owner=owner.facts)
            self._next()
        else:
            self._add(visitor, registration)

    def _owner_of(self, wanted: Registration, visitor: Visitor) -> Registration | None:
        others = [other.registration for other in self.visitors if other is not visitor and other.registration]
        return next((other for other in others if set(other.domains) & set(wanted.domains)), None)

    def _remove(self, visitor: Visitor) -> None:
        had, visitor.registration = visitor.registration, None
        if visitor.link is None and visitor in self.visitors:
            self.visitors.remove(visitor)
        others = [other for other in self.visitors if other is not visitor and other.link]
        if not self._registrations() and (had or (visitor.said_goodbye and not others)):
            self.end()  # the last one is out, or the one who started us will not come in
        elif had:
            self._forget(visitor)
        else:
            self._said_bye(visitor)
            self.loop.call_later(LONELY, self._end_if_alone)
            self._next()

    def _forget(self, visitor: Visitor) -> None:
        """Serve the others without this one; on a full disk its site stays until the next change."""
        folder = self._staged()
        try:
            self._stage(folder)
            self.master.test(folder)
            self._swap(folder)
        except (DevtlsError, OSError) as error:
            sys.stderr.write(f"a site that is gone stays until the next change: {error}\n")
            shutil.rmtree(folder, ignore_errors=True)
            self._said_bye(visitor)
            self._next()
            return
        self._go_live(lambda: self._said_bye(visitor))

    def _said_bye(self, visitor: Visitor) -> None:
        if visitor.link and visitor.said_goodbye:
            visitor.link.send({"is": "bye", "last": False})
            visitor.link.close()

    def _add(self, visitor: Visitor, registration: Registration) -> None:
        before, visitor.registration = visitor.registration, registration
        folder = self._staged()
        try:
            self._stage(folder)
            self.master.test(folder)
            self._swap(folder)
        except (DevtlsError, OSError) as error:
            visitor.registration = before  # one project's bad site never takes another's down
            shutil.rmtree(folder, ignore_errors=True)
            self._refuse(visitor, "config", str(error))
            self._next()
            return
        self._go_live(lambda: self._say(visitor, {"is": "registered"}))

    def _go_live(self, then: Callable[[], None]) -> None:
        """Have nginx read what was swapped in; `then` is called once it serves it, whatever dies meanwhile."""
        self.busy = True
        self.awaiting.append(then)
        self.master.reload(self._live)

    def _live(self) -> None:
        self.busy = False
        self.deaths = 0
        awaiting, self.awaiting = self.awaiting, []
        for then in awaiting:
            then()
        self._next()

    def _staged(self) -> Path:
        self.generation += 1
        return self.setup.folder / "conf" / f"{os.getpid()}-{self.generation}"

    def _stage(self, folder: Path) -> None:
        """Write the configuration of the sites as they are now into a folder of its own."""
        files.make_private_directory(folder)
        sites = self._registrations()
        user = "root" if os.geteuid() == 0 else ""
        spare = next((site.spare for site in sites if site.spare), None)
        features = self.setup.nginx.features
        texts = [site.site for site in sites]
        main = render_gateway(self.setup.listen, features, self.setup.templates, texts, user=user, spare=spare)
        (folder / "nginx.conf").write_text(main, "utf-8")

    def _swap(self, folder: Path) -> None:
        """Make a staged folder the live one; nginx reads through the symlink at its next reload."""
        live = self.setup.folder / "live"
        coming = self.setup.folder / "live.next"
        coming.unlink(missing_ok=True)
        coming.symlink_to(folder)
        coming.replace(live)
        for old in folder.parent.iterdir():
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)

    def _master_died(self) -> None:
        """Start it again, a little later; one that never lives is given up, and every project is told by hanging up."""
        self.deaths += 1
        if self.deaths > MOST_DEATHS:
            self.end()
        else:
            self.loop.call_later(RESTART_AFTER, self._restart)

    def _restart(self) -> None:
        if not self.ending and self.master.pid is None and self._registrations():
            self.busy = True
            self.master.reload(self._live)

    def _end_if_alone(self) -> None:
        if not any(visitor.link for visitor in self.visitors):
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
    lock = files.try_lock(setup.folder / "lock")
    if lock is None:
        return os.EX_TEMPFAIL
    _put_log_aside(setup.folder / "gateway.log")
    _raise_descriptor_limit()
    loop = Loop()
    keeper = Keeper(loop, setup)
    keeper.open()
    if os.fork():
        os._exit(0)
    os.setsid()
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()} {_started()}".encode())  # who the guardians must spare: see gateway.keeper_pid
    processes.set_subreaper()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.on_signal(number, keeper.end)
    loop.on_signal(signal.SIGCHLD, keeper.reap)
    _detach(setup.folder / "keeper.log")
    loop.run()
    return 0


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


def _put_log_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
