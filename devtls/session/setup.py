"""What a session is started with, and where it can be met."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from devtls.system import files, processes
from devtls.system.processes import SESSION_MARKER

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from devtls.model import Authority, Leaf, Project, Route, Service
    from devtls.nginx.binary import Nginx
    from devtls.report import Style
    from devtls.system.paths import Paths

LEFTOVER_GRACE = 1.0  # s between TERM and KILL for what a killed session left behind


class Setup(Struct, frozen=True):
    """All that was found or made before a session begins.

    Attributes:
        hosts: every host served, the domains first; each has a leaf, and an authority that covers it.
        names: what browsers are told, one a domain: itself, or its .localhost name when only that leads here.
        sockets: the gateway's listening sockets, https first; bound for it or duplicated from it.
        start_lock: the descriptor that keeps other `up`s from starting a gateway meanwhile; closed once ours is there.
        session: unique; marks every process that it starts.
        screen: the descriptor for people; document: the one for the status document in JSON, or None.
        columns: of the terminal; None when there is none.
        since: time.monotonic() of the command's start.
        closing_words: lines told before Ready.
        is_forced: the domains are taken from whoever has them.
        trust: for each service the variables by which it trusts the authorities.
    """

    project: Project
    hosts: tuple[str, ...]
    names: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    authorities: tuple[Authority, ...]
    paths: Paths
    nginx: Nginx
    templates: Path
    environment: Mapping[str, str]
    sockets: Sequence[socket.socket]
    https_port: int
    start_lock: int | None
    session: str
    style: Style
    screen: int
    document: int | None
    columns: int | None
    since: float
    closing_words: tuple[str, ...] = ()
    trust: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    is_forced: bool = False

    @property
    def folder(self) -> Path:
        """The state of this project."""
        return self.paths.project(self.project.directory)

    @property
    def log_socket(self) -> Path:
        """Where nginx tells of handshakes."""
        return self.paths.socket(self.folder, "log.sock")

    @property
    def page_socket(self) -> Path:
        """Where nginx asks for a page while a service cannot answer."""
        return self.paths.socket(self.folder, "page.sock")

    @property
    def control_socket(self) -> Path:
        """Where other commands ask."""
        return self.paths.control(self.project.directory)

    def log(self, service: str) -> Path:
        """What a service printed."""
        return self.folder / "logs" / f"{service}.log"


def begin_session(paths: Paths, directory: Path) -> str:
    """Return a new session's name; what a killed one left behind is ended first. The project's lock must be held."""
    record = paths.project(directory) / "session"
    before = (files.read_or_none(record) or b"").decode("ascii", "replace").strip()
    if before:
        processes.end(lambda: processes.find_marked(SESSION_MARKER, before), LEFTOVER_GRACE)
    session = os.urandom(8).hex()
    files.write_atomically(record, session.encode())
    return session


def words_of(project: Project) -> dict[str, Any]:
    """What was asked for, for comparing with what another `up` in the same folder asks for."""
    return {
        "domains": list(project.domains),
        "services": {each.name: _words_of_service(each, project.directory) for each in project.services},
        "routes": {f"{route.host}{route.prefix}": _words_of_route(route) for route in project.routes},
        "headers": [list(header) for header in project.headers],
        "prod_like": project.is_prod_like,
        "websocket_path": project.websocket_path,
        "https_port": project.https_port,
        "app_port": project.app_port,
        "ports": dict(project.fixed_ports),
        "settings": [
            [list(each.hosts), [list(header) for header in each.headers], each.nginx.text if each.nginx else ""]
            for each in project.settings
        ],
    }


def _words_of_service(service: Service, directory: Path) -> list[str]:
    words = [*map("=".join, service.environment.items()), *service.argv]
    elsewhere = [f"in {service.directory}"] if service.directory != directory else []
    return [*words, *elsewhere, *([service.scheme] if service.scheme != "http" else [])]


def _words_of_route(route: Route) -> str:
    words = f"{route.target}, without {route.prefix}" if route.is_stripped else str(route.target)
    return f"{words}, with {route.nginx.text}" if route.nginx else words
