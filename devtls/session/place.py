"""The session's place in the gateway: described to it, kept, and left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from devtls import report
from devtls.model import DEFAULT_HOST, foreign_of, pools_of
from devtls.nginx.access import AccessLog
from devtls.nginx.registration import Registration
from devtls.nginx.site import Site, Upstream, render_site
from devtls.system import files, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devtls.model import NginxText, Project
    from devtls.nginx.access import SeenHandshake
    from devtls.nginx.directives import Directive
    from devtls.nginx.gateway import Greeting
    from devtls.session.certificates import Certificates
    from devtls.session.services import Services
    from devtls.session.setup import Setup
    from devtls.session.voice import Voice
    from devtls.system.channel import Message
    from devtls.system.loop import Loop

LOOK_EVERY = 0.002  # s; the keeper ends within 10 ms of its last project


class Owner(Protocol):
    """Who is told how it stands."""

    def place_is_live(self) -> None:
        """The gateway serves the site."""
        ...

    def place_is_refused(self, fact: str, exit_code: int) -> None:
        """The site cannot be served."""
        ...

    def place_is_taken(self, fact: str) -> None:
        """Another project has some of the domains, or all of them, by force."""
        ...


class Place:
    """A project in the gateway (nginx.registration.Owner)."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a session that meet here
        self,
        loop: Loop,
        setup: Setup,
        services: Services,
        certificates: Certificates,
        voice: Voice,
        owner: Owner,
        seen: Callable[[SeenHandshake], None],
    ) -> None:
        self._loop = loop
        self._setup = setup
        self._services = services
        self._certificates = certificates
        self._voice = voice
        self._owner = owner
        self._left: Callable[[], None] | None = None
        self._own = _own_of(setup.project)  # once: what links lead to may change while it is served
        self._text = ""
        self._access_log = AccessLog(loop, setup.log_socket, seen)
        self._registration = Registration(
            loop,
            self,
            paths=setup.paths,
            nginx=setup.nginx,
            templates=setup.templates,
            environment=setup.environment,
            sockets=setup.sockets,
        )
        self._lock = setup.start_lock
        self.keeper_pid: int | None = None
        self._taken: set[str] = set()
        self._is_replaced = False
        self.is_live = False

    def open(self) -> None:
        """Register, starting the gateway if need be."""
        self._registration.open()

    def update(self) -> None:
        """Describe the site anew."""
        self.is_live = False
        self._registration.update()

    def leave(self, left: Callable[[], None]) -> None:
        """Have the site taken out; `left` is called when it is, and when the gateway has ended if it was the last."""
        self._left = left
        self._registration.goodbye()

    def close(self) -> None:
        """Let go of sockets and files."""
        self._unlock()
        self._registration.close()
        self._access_log.close()

    # nginx.registration.Owner

    @property
    def hosts(self) -> tuple[str, ...]:
        """What is ours: all that was asked for, but for what another project took."""
        return tuple(host for host in self._setup.hosts if host not in self._taken)

    def describe_site(self, greeting: Greeting) -> Message | None:
        """The register message: the site as this gateway's nginx understands it."""
        setup = self._setup
        if not self.hosts:
            return None
        listen = greeting.listen if setup.project.is_on_lan else greeting.listen.here
        text = render_site(self._site(), listen, greeting.nginx.features, setup.templates)
        self._text = text
        files.write_atomically(setup.folder / "site.conf", text.encode())
        leaf = self._certificates.leaf(DEFAULT_HOST)
        facts = {
            "directory": str(setup.project.directory),
            "domains": list(self.hosts),
            "pid": os.getpid(),
            "session": setup.session,
            "leaf": {"fullchain": str(leaf.fullchain), "key": str(leaf.key)},
        }
        is_new = self.keeper_pid is None  # later it takes nobody's domain any more: `--force` is for once
        return {"do": "register", "site": text, "force": setup.is_forced and is_new, "facts": facts}

    def site_is_live(self, greeting: Greeting) -> None:
        """The gateway serves us."""
        if self.keeper_pid is None:
            fact = f"{greeting.nginx.name} serves {', '.join(self.hosts)}"
            self._voice.say([report.render_done("gateway", fact, self._voice.style)])
        elif self.keeper_pid != greeting.pid and not self._is_replaced:
            self._voice.tell(f"the gateway was gone and is back, pid {greeting.pid}")
        self._is_replaced = False
        self.keeper_pid = greeting.pid
        self._unlock()
        self.is_live = True
        self._owner.place_is_live()

    def site_is_refused(self, answer: Message) -> None:
        """Another project has the domain, or nginx refuses what we rendered."""
        if owner := answer.get("owner"):
            place = f"{owner['directory']} (pid {owner['pid']})"
            self._owner.place_is_refused(f"{answer['domain']} is served already, by the project in {place}", 4)
        else:
            said = answer.get("message", "")
            if at_line := self._locate(said, answer.get("line", 1)):
                self._owner.place_is_refused(f"nginx refuses your own directives: {at_line}", 2)
            else:
                self._owner.place_is_refused(f"nginx refuses the configuration of this project: {said}", 1)

    def _locate(self, said: str, first: int) -> str | None:
        """What nginx said at the line of the user's own; `first`: of our text in what nginx read."""
        if not self._own:
            return None
        from devtls.nginx.directives import locate

        return locate(said, "\n" * (first - 1) + self._text)

    def gateway_is_gone(self, fact: str) -> None:
        """No gateway can be had."""
        self._owner.place_is_refused(f"{fact}; its log is {self._setup.paths.gateway / 'gateway.log'}", 1)

    def site_is_taken(self, domains: Sequence[str], by: Message) -> None:
        """`devtls up --force` elsewhere."""
        self._taken.update(domains)
        self.is_live = self.is_live and bool(self.hosts)
        rest = f"{', '.join(self.hosts)} is still served" if self.hosts else "nothing of this one is served any more"
        taken = ", ".join(domains)
        self._owner.place_is_taken(f"{taken} was taken by the project in {by['directory']} (pid {by['pid']}); {rest}")

    def gateway_is_replaced(self, why: str) -> None:
        """No connection is dropped by that."""
        self._is_replaced = True
        self._voice.tell(f"the gateway that runs is replaced, since {why}; connections go on")

    def site_is_gone(self, *, is_last: bool) -> None:
        """We are out of it; the last one out sees the keeper end."""
        if is_last and self.keeper_pid and processes.identify(self.keeper_pid):
            self._loop.call_later(LOOK_EVERY, lambda: self.site_is_gone(is_last=True))
        elif self._left:
            self._left()

    def _site(self) -> Site:
        setup, project = self._setup, self._setup.project
        pools = pools_of(project.services).items()
        upstreams = [
            Upstream(name, self._services.endpoints(name), replicas[0].scheme, is_sticky=replicas[0].is_sticky)
            for name, replicas in pools
        ]
        upstreams += [Upstream(target, (target.address,), target.scheme) for target in foreign_of(project)]
        return Site(
            setup.folder.name,
            tuple(self._certificates.leaf(host) for host in self.hosts),
            project.routes,
            tuple(upstreams),
            setup.log_socket,
            setup.page_socket,
            project.headers,
            is_prod_like=project.is_prod_like,
            settings=project.settings,
            own=self._own,
        )

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _own_of(project: Project) -> dict[NginxText, tuple[Directive, ...]]:
    if not any((*(each.nginx for each in project.settings), *(route.nginx for route in project.routes))):
        return {}
    from devtls.nginx.own import parse_texts

    return parse_texts(project)
