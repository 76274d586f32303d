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
from typing import TYPE_CHECKING

from devtls import __version__
from devtls.nginx.binary import has_changed, nginx_facts
from devtls.nginx.master import Master
from devtls.nginx.protocol import PROTOCOL, Setup, parse_registration, parse_setup
from devtls.nginx.responder import Responder
from devtls.nginx.sites import Sites, Visitor
from devtls.system import channel, files, processes
from devtls.system.loop import Loop
from devtls.system.name_route import leads, look_at_route

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from devtls.system.channel import Message
    from devtls.system.name_route import NameRoute

LONELY = 10.0  # s that a keeper without a project waits for one
SWEEP_GRACE = 2.0  # s between TERM and KILL for what a killed session left behind
MOST_DEATHS = 5  # of a master, in a row, before it served anything
RESTART_AFTER = 0.25  # s; a master that dies at once is not restarted in a tight loop
DESCRIPTORS = 65536  # enough for the 16384 connections of gateway.conf in each worker
LARGEST_LOG = 10 * 1024 * 1024  # bytes; a log beyond that is put aside
HANDING_OVER = 5.0  # s that a predecessor may take to free the way
RELIEF = 10.0  # s after which a predecessor lets nginx go, although its successor has not said that it serves


class Keeper:
    """Owns the sockets and nginx, and lets projects come and go (nginx.sites.Owner)."""

    def __init__(
        self, loop: Loop, setup: Setup, lock: int | None = None, look: Callable[[], NameRoute] = look_at_route
    ) -> None:
        self.loop = loop
        self.setup = setup
        self.lock = lock
        self.master = Master(loop, setup.nginx, setup.folder, setup.descriptors, self._master_died)
        self.sites = Sites(loop, setup, self.master, self)
        self.responder = Responder(loop, ipv6=any(endpoint.host == "::1" for endpoint, _ in setup.https))
        self.look = look
        self.routed = look().domains
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
        self.ending = self.sites.is_closed = True
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
            if not self.is_predecessor:  # its path is the successor's now
                self.setup.control.unlink(missing_ok=True)
        self.responder.close()

    def _resolve(self) -> None:
        """Answer for the wildcards that are served, when systemd-resolved is told to ask us for some of them."""
        if self.ending or self.is_predecessor:
            return
        domains = [name for registration in self.sites.registrations() for name in registration.domains]
        wildcards = [name for name in domains if name.startswith("*.")]
        self.responder.serve(wildcards if any(leads(self.routed, name) for name in wildcards) else ())

    def _ended(self) -> None:
        if not self.is_predecessor:
            self.sites.clear()
        for visitor in tuple(self.sites.visitors):
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
        self.sites.visitors.append(visitor)
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
            "sites": [registration.facts for registration in self.sites.registrations()],
        }

    def _received(self, visitor: Visitor, message: Message, descriptors: list[int]) -> None:
        for descriptor in descriptors:  # nobody has reason to send us any
            os.close(descriptor)
        match message.get("do"):
            case "register":
                try:
                    registration = parse_registration(message)
                except (KeyError, TypeError, ValueError) as error:
                    visitor.refuse("message", f"the registration is not understood: {error!r}")
                    return
                self.sites.change(visitor, registration)
            case "withdraw":
                self.sites.change(visitor, None)
            case "goodbye":
                visitor.said_goodbye = True
                self.sites.change(visitor, None)
            case "hand-over":
                self._hand_over()
            case "look":
                self.routed = self.look().domains
                self._resolve()
                visitor.say({"is": "looked"})
            case other:
                visitor.refuse("message", f"{other!r} is not a word of protocol {PROTOCOL}")

    def _left(self, visitor: Visitor) -> None:
        visitor.link = None
        if self.is_predecessor:  # it has gone to the successor
            return
        if visitor.registration and not visitor.said_goodbye:
            self._sweep(visitor.registration.session)
        self.sites.change(visitor, None)

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
        self.is_predecessor = self.sites.is_closed = True
        self._stop_listening()
        if self.lock is not None:
            os.close(self.lock)
        sys.stderr.write("a successor takes over\n")
        for visitor in self.sites.visitors:
            visitor.say({"is": "moved"})
        self.loop.call_later(RELIEF, self.retire)

    def _take_over(self) -> None:
        if self.setup.predecessor and not self.has_taken_over:
            processes.send([self.setup.predecessor], signal.SIGQUIT)
        self.has_taken_over = True

    # nginx.sites.Owner

    def sites_are_live(self) -> None:
        """All who came over are served: a predecessor need not serve them any longer."""
        self.deaths = 0
        self._take_over()
        self._resolve()
        if _put_log_aside(self.setup.folder / "gateway.log"):
            self.master.reopen_logs()

    def is_lonely(self) -> None:
        """Wait a while for somebody to come in."""
        self._resolve()
        self.loop.call_later(LONELY, self._end_if_alone)

    def nobody_left(self) -> None:
        """The last one out ends it."""
        self.end()

    # nginx

    def _master_died(self) -> None:
        """Start it again, a little later; one that never lives is given up, and every project is told by hanging up."""
        if self.sites.start_failed():
            return
        self.deaths += 1
        if self.deaths > MOST_DEATHS or has_changed(self.setup.nginx):
            self.end()  # what another binary can do, its projects have to know: they start another keeper
        else:
            self.loop.call_later(RESTART_AFTER, self._restart)

    def _restart(self) -> None:
        if not self.ending and self.master.pid is None and self.sites.registrations():
            self.sites.serve_again()

    def _end_if_alone(self) -> None:
        if not self.is_predecessor and not any(visitor.link for visitor in self.sites.visitors):
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
    lock = _take_lock(setup.folder / "lock", HANDING_OVER if setup.predecessor else 0.0)
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
    os.write(lock, f"{os.getpid()} {_started()}".encode())  # who the guardians must spare: see gateway.gateway_pids
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
