"""What keeper and projects say to each other, in JSON lines (devtls.system.channel), protocol 1.

    keeper   {"hello": "devtls-gateway", "protocol": 1, "version", "pid", "nginx", "https", "http", "sites"} + sockets
    project  {"do": "register", "site": text, "facts": {"directory", "domains", "pid", "session", "spare"}}
    keeper   {"is": "registered"} once the site is live | {"is": "refused", "why": "domain" | "config", ...}
    project  {"do": "goodbye"}
    keeper   {"is": "bye", "last": bool} once the site, and with the last one nginx, is gone

A keeper is started with one JSON document, its Setup.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.model import Endpoint, Leaf
from devtls.nginx.binary import Nginx
from devtls.nginx.render import Listen

if TYPE_CHECKING:
    from devtls.system.channel import Message

PROTOCOL = 1


class Setup(Struct, frozen=True):
    """What a keeper is started with; sockets as (endpoint, descriptor) pairs."""

    folder: Path
    control: Path
    templates: Path
    nginx: Nginx
    https: tuple[tuple[Endpoint, int], ...]
    http: tuple[tuple[Endpoint, int], ...]

    @property
    def listen(self) -> Listen:
        """The endpoints alone."""
        return Listen(tuple(endpoint for endpoint, _ in self.https), tuple(endpoint for endpoint, _ in self.http))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The sockets alone, https first."""
        return tuple(descriptor for _, descriptor in (*self.https, *self.http))


class Registration(Struct, frozen=True):
    """A project's site, and who it is."""

    site: str
    directory: str
    domains: tuple[str, ...]
    pid: int
    session: str
    spare: Leaf | None

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
    spare = facts.get("spare")
    return Registration(site, directory, domains, pid, session, parse_spare(spare) if spare else None)


def parse_spare(spare: Message) -> Leaf:
    """Return the certificate for unknown names; only its files matter."""
    from datetime import UTC, datetime

    return Leaf("", Path(spare["fullchain"]), Path(spare["key"]), 0, datetime.fromtimestamp(0, UTC))


def parse_setup(text: str) -> Setup:
    """Return the setup that `gateway.start` wrote."""
    words = json.loads(text)
    nginx = words["nginx"]

    def sockets(name: str) -> tuple[tuple[Endpoint, int], ...]:
        return tuple((Endpoint(host, port), descriptor) for host, port, descriptor in words[name])

    return Setup(
        folder=Path(words["folder"]),
        control=Path(words["control"]),
        templates=Path(words["templates"]),
        nginx=Nginx(nginx["path"], tuple(nginx["version"]), frozenset(nginx["features"])),
        https=sockets("https"),
        http=sockets("http"),
    )
