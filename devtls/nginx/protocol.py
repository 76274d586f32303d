"""What keeper and projects say to each other, in JSON lines (devtls.system.channel), protocol 1.

    keeper   {"hello": "devtls-gateway", "protocol": 1, "version", "pid", "nginx", "https", "http", "sites"} + sockets
    project  {"do": "register", "site": text, "force": bool,
              "facts": {"directory", "domains", "pid", "session", "leaf"}}
    keeper   {"is": "registered"} once the site is live | {"is": "refused", "why": "domain" | "config", "message", ...}
              and for "config" the "line" on which its site begins in what nginx read
    project  {"do": "withdraw"}                   no site for now; the connection stays
    project  {"do": "goodbye"}
    keeper   {"is": "bye", "last": bool} once the site, and with the last one nginx, is gone
    anybody  {"do": "look"}                       systemd-resolved is told to ask for other names than before
    keeper   {"is": "looked"}

    keeper   {"is": "taken", "domains", "by": facts}   another project forces its way in: register the rest, within 1 s
    project  {"do": "hand-over"}                       to a successor that was started on the same sockets
    keeper   {"is": "moved"}                           to everybody: the successor takes the registrations, within 5 s

A keeper is started with one JSON document, its Setup.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.model import Endpoint, Leaf
from devtls.nginx.binary import Nginx, nginx_facts, parse_nginx
from devtls.nginx.listen import Listen
from devtls.system.processes import Identity

if TYPE_CHECKING:
    from devtls.system.channel import Message

PROTOCOL = 1


class Setup(Struct, frozen=True):
    """What a keeper is started with; sockets as (endpoint, descriptor) pairs.

    Attributes:
        predecessor: the keeper that hands over to this one, and serves until all are here.
        expected: how many registrations come from it.
    """

    folder: Path
    control: Path
    templates: Path
    nginx: Nginx
    https: tuple[tuple[Endpoint, int], ...]
    http: tuple[tuple[Endpoint, int], ...]
    predecessor: Identity | None = None
    expected: int = 0

    @property
    def listen(self) -> Listen:
        """The endpoints alone."""
        return Listen(tuple(endpoint for endpoint, _ in self.https), tuple(endpoint for endpoint, _ in self.http))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The sockets alone, https first."""
        return tuple(descriptor for _, descriptor in (*self.https, *self.http))


class Registration(Struct, frozen=True):
    """A project's site, and who it is.

    Attributes:
        leaf: a certificate for localhost and for addresses; every project has the same.
        is_forced: it takes its domains from whoever has them.
    """

    site: str
    directory: str
    domains: tuple[str, ...]
    pid: int
    session: str
    leaf: Leaf
    is_forced: bool = False

    @property
    def facts(self) -> Message:
        """What others may know of it."""
        return {"directory": self.directory, "domains": list(self.domains), "pid": self.pid}


def parse_registration(message: Message) -> Registration:
    """Return the registration in a message.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    facts = message["facts"]
    site, directory, session = message["site"], facts["directory"], facts["session"]
    domains, pid = tuple(facts["domains"]), facts["pid"]
    if not all(isinstance(text, str) for text in (site, directory, session, *domains)):
        raise TypeError("site, directory, session and domains are texts")
    if not domains or not isinstance(facts["domains"], list) or not isinstance(pid, int):
        raise ValueError("a list of domains and a pid are needed")
    is_forced = message.get("force", False) is True
    return Registration(site, directory, domains, pid, session, _parse_leaf(facts["leaf"]), is_forced)


def _parse_leaf(leaf: Message) -> Leaf:
    """The certificate for names that nobody serves; only its files matter."""
    from datetime import UTC, datetime

    return Leaf("", Path(leaf["fullchain"]), Path(leaf["key"]), 0, datetime.fromtimestamp(0, UTC))


def render_setup(setup: Setup) -> str:
    """Return the one JSON document that a keeper is started with."""
    before = setup.predecessor
    return json.dumps(
        {
            "folder": str(setup.folder),
            "control": str(setup.control),
            "templates": str(setup.templates),
            "nginx": nginx_facts(setup.nginx),
            "https": [(endpoint.host, endpoint.port, descriptor) for endpoint, descriptor in setup.https],
            "http": [(endpoint.host, endpoint.port, descriptor) for endpoint, descriptor in setup.http],
            "predecessor": [before.pid, before.started] if before else None,
            "expected": setup.expected,
        }
    )


def parse_setup(text: str) -> Setup:
    """Return the setup in such a document."""
    words = json.loads(text)

    def sockets(name: str) -> tuple[tuple[Endpoint, int], ...]:
        return tuple((Endpoint(host, port), descriptor) for host, port, descriptor in words[name])

    return Setup(
        folder=Path(words["folder"]),
        control=Path(words["control"]),
        templates=Path(words["templates"]),
        nginx=parse_nginx(words["nginx"]),
        https=sockets("https"),
        http=sockets("http"),
        predecessor=Identity(*words["predecessor"]) if words["predecessor"] else None,
        expected=words["expected"],
    )
