"""Keep a site with the gateway for as long as this process lives, whatever becomes of the keeper."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Protocol

from devtls import __version__
from devtls.errors import DevtlsError, NotRunningError
from devtls.nginx import gateway
from devtls.nginx.binary import ask_again
from devtls.system.channel import Client, Link

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from devtls.nginx.binary import Nginx
    from devtls.nginx.gateway import Greeting
    from devtls.system.channel import Message
    from devtls.system.loop import Loop
    from devtls.system.paths import Paths

LOOK_EVERY = 0.005  # s between looks whether the keeper that we started is there
ATTEMPTS = 8  # to find or start a keeper; with the pauses below that is a second
PAUSE = 0.125  # s between attempts
MOVING = 5.0  # s that a keeper's successor may take to listen, before another one is started


class Owner(Protocol):
    """Who a registration belongs to."""

    def describe_site(self, greeting: Greeting) -> Message | None:
        """The register message for this gateway: its sockets and nginx decide what the site looks like.

        None when there is nothing left to serve.
        """
        ...

    def site_is_taken(self, domains: Sequence[str], by: Message) -> None:
        """Another project has these domains from now on; the rest is to be described again."""
        ...

    def gateway_is_replaced(self, why: str) -> None:
        """This keeper is outdated, and a successor takes over from it."""
        ...

    def site_is_live(self, greeting: Greeting) -> None:
        """The gateway serves the site, as last described."""
        ...

    def site_is_refused(self, answer: Message) -> None:
        """The gateway will not serve it: another project has the domain, or nginx refuses the text."""
        ...

    def gateway_is_gone(self, fact: str) -> None:
        """No keeper answers, and none can be started."""
        ...

    def site_is_gone(self, *, is_last: bool) -> None:
        """After a goodbye: the site is no longer served, and nginx has ended when it was the last."""
        ...


class Registration:
    """A connection to the keeper; the site is served while it is open.

    Args:
        loop: who serves it.
        owner: who is told.
        paths, nginx, templates, environment: what a keeper is started with, when there is none.
        sockets: duplicates of the listening sockets; a new keeper lives on them when the old one is killed.
    """

    def __init__(  # noqa: PLR0913 - what a keeper needs
        self,
        loop: Loop,
        owner: Owner,
        *,
        paths: Paths,
        nginx: Nginx,
        templates: Path,
        environment: Mapping[str, str],
        sockets: Sequence[socket.socket],
    ) -> None:
        self._loop = loop
        self._owner = owner
        self._paths = paths
        self._nginx = nginx
        self._templates = templates
        self._environment = environment
        self._sockets = list(sockets)
        self._link: Link | None = None
        self._attempts = 0
        self._leaving = False
        self._is_starting = False
        self._is_gone = False
        self._awaiting = 0
        self._patient_until = 0.0
        self._has_replaced = False
        self._successor: subprocess.Popen[bytes] | None = None
        self.greeting: Greeting | None = None

    def open(self) -> None:
        """Connect to the keeper, starting one if need be, and register."""
        try:
            client = Client.connect(gateway.control_socket(self._paths))
        except NotRunningError:
            if self._leaving:
                self._leave(is_last=False)
            elif self._loop.clock() < self._patient_until:
                self._loop.call_later(PAUSE / 10, self._open_again)
            else:
                self._start_keeper()
            return
        self._is_starting = False
        self._link = Link(self._loop, client.detach(), self._received, self._lost)
        if self._leaving:
            self.goodbye()

    def _open_again(self) -> None:
        if not self._is_gone:  # who leaves while a keeper is being started waits for it, to say goodbye
            self.open()

    def update(self) -> None:
        """Describe the site anew: a service was found elsewhere."""
        if self._link and self.greeting:
            message = self._owner.describe_site(self.greeting)
            self._awaiting += message is not None
            self._link.send(message or {"do": "withdraw"})

    def goodbye(self) -> None:
        """Have the site taken out; `site_is_gone` follows."""
        self._leaving = True
        if self._link:
            self._link.send({"do": "goodbye"})
        elif not self._is_starting:  # a keeper that we are starting is told once it listens, or it would outlive us
            self._leave(is_last=False)

    def close(self) -> None:
        """Let go of the listening sockets."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.close()

    def _start_keeper(self) -> None:
        self._attempts += 1
        if self._attempts > ATTEMPTS or not self._sockets:
            self._owner.gateway_is_gone("the gateway does not start")
            return
        self._is_starting = True
        try:
            starting = self._start()
        except DevtlsError as error:
            self._owner.gateway_is_gone(str(error))
            return
        self._loop.call_later(LOOK_EVERY, lambda: self._look(starting))

    def _start(self, after: Greeting | None = None) -> subprocess.Popen[bytes]:
        """Start a keeper on our sockets, with what nginx can do now: it may have been upgraded since we looked."""
        self._nginx = ask_again(self._nginx, self._paths.state / "nginx.json")
        sockets, environment = self._sockets, self._environment
        return gateway.start(self._paths, self._nginx, self._templates, sockets, environment, after=after)

    def _replace(self, greeting: Greeting) -> None:
        """Have a keeper of today take over: it waits until the old one frees the way, which goes on serving."""
        self._nginx = greeting.nginx
        try:
            self._successor = self._start(greeting)
        except (DevtlsError, OSError):
            self.update()  # nginx is gone from the disk: what runs is all there is
            return
        self._reap()
        is_older = greeting.version != __version__
        why = f"it is of devtls {greeting.version}" if is_older else "its nginx was upgraded"
        self._owner.gateway_is_replaced(why)
        if self._link:
            self._link.send({"do": "hand-over"})

    def _reap(self) -> None:
        """Its first process ends once it listens; until then connecting is what tells."""
        if self._successor and self._successor.poll() is not None:
            if self._successor.stdout:
                self._successor.stdout.close()
            self._successor = None
        elif self._successor:
            self._loop.call_later(PAUSE / 10, self._reap)

    def _look(self, starting: subprocess.Popen[bytes]) -> None:
        status = starting.poll()
        if status is None:
            self._loop.call_later(LOOK_EVERY, lambda: self._look(starting))
            return
        said = starting.stdout.read().decode("utf-8", "replace").strip() if starting.stdout else ""
        if starting.stdout:
            starting.stdout.close()
        if status in {0, os.EX_TEMPFAIL}:  # 75: somebody else's keeper was first, or the last one is still ending
            self._patient_until = self._loop.clock() + (0 if status == 0 else PAUSE)
            self.open()
        elif self._leaving:
            self._leave(is_last=False)
        else:
            self._owner.gateway_is_gone(f"the gateway does not start: {said or f'exit status {status}'}")

    def _received(self, message: Message, descriptors: list[int]) -> None:
        if "hello" in message:
            self._greeted(message, [socket.socket(fileno=descriptor) for descriptor in descriptors])
            return
        for descriptor in descriptors:  # they belong to a hello
            os.close(descriptor)
        match message.get("is"):
            case "registered":
                self._awaiting -= 1
                if self.greeting and not self._awaiting:
                    self._owner.site_is_live(self.greeting)
            case "refused":
                self._awaiting -= 1
                self._owner.site_is_refused(message)
            case "taken":
                self._owner.site_is_taken(message["domains"], message["by"])
                self.update()
            case "moved":
                self._move()
            case "bye":
                self._leave(is_last=bool(message.get("last")))

    def _move(self) -> None:
        """Go to the successor, which is about to listen where this keeper did."""
        if not self._has_replaced:
            self._owner.gateway_is_replaced("another project found it outdated")
        self._patient_until = self._loop.clock() + MOVING
        if self._link:
            self._link.close()

    def _greeted(self, message: Message, sockets: list[socket.socket]) -> None:
        self._attempts = 0
        self._keep(sockets)
        try:
            self.greeting = gateway.parse_greeting(message)
        except DevtlsError as error:
            self._owner.gateway_is_gone(str(error))
            return
        if self._leaving:
            return
        if gateway.is_outdated(self.greeting) and not self._has_replaced:
            self._has_replaced = True
            self._replace(self.greeting)
        else:
            self.update()

    def _keep(self, sockets: list[socket.socket]) -> None:
        """Hold the sockets that the keeper serves on, instead of those we came with."""
        if sockets:
            self.close()
            self._sockets = sockets

    def _lost(self) -> None:
        self._link = None
        self._awaiting = 0
        if self._leaving:
            self._leave(is_last=False)
        else:
            self._loop.call_later(PAUSE / 10, self._open_again)

    def _leave(self, *, is_last: bool) -> None:
        """Tell the owner, once: a bye and a hang-up mean the same."""
        if self._is_gone:
            return
        self._is_gone = True
        self._owner.site_is_gone(is_last=is_last)
        if self._link:
            self._link.close()
