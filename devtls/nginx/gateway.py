"""The way to the gateway keeper: find it, start it, greet it."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls import __version__
from devtls.errors import DevtlsError, NotRunningError
from devtls.model import Endpoint
from devtls.nginx.binary import Nginx, has_changed, parse_nginx
from devtls.nginx.listen import Listen
from devtls.nginx.owners import MASTER, WORKER, count_orphans
from devtls.nginx.protocol import PROTOCOL, Setup, render_setup
from devtls.system import processes
from devtls.system.channel import Client
from devtls.system.files import read_or_none

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from devtls.system.channel import Message
    from devtls.system.paths import Paths


class Neighbour(Struct, frozen=True):
    """A project that the gateway serves."""

    directory: str
    domains: tuple[str, ...]
    pid: int


class Greeting(Struct, frozen=True):
    """What a keeper says of itself."""

    pid: int
    version: str
    nginx: Nginx
    listen: Listen
    neighbours: tuple[Neighbour, ...]

    def owner_of(self, domain: str) -> Neighbour | None:
        """The project that serves a domain."""
        return next((neighbour for neighbour in self.neighbours if domain in neighbour.domains), None)


def control_socket(paths: Paths) -> Path:
    """Where the keeper of this user listens."""
    return paths.socket(paths.gateway, "gateway.sock")


def gateway_pids(paths: Paths) -> tuple[int, ...]:
    """The processes that outlive any one project, though they may have become its children.

    They are the running keeper, and the workers of a killed one that still have others' WebSockets.
    """
    text = (read_or_none(paths.gateway / "lock") or b"").decode("ascii", "replace").strip()
    workers = tuple(each.pid for each in processes.find_using(paths.gateway, WORKER, unless_below=MASTER))
    try:
        pid, started = map(int, text.split())
    except ValueError:
        return workers
    return (pid, *workers) if processes.identify(pid) == processes.Identity(pid, started) else workers


def parse_greeting(message: Message) -> Greeting:
    """Return a keeper's hello.

    Raises:
        DevtlsError: it speaks another protocol.
    """
    if message.get("hello") != "devtls-gateway" or message.get("protocol") != PROTOCOL:
        raise DevtlsError(
            f"the running gateway is of devtls {message.get('version', 'unknown')} and speaks another protocol",
            "Stop the projects it serves (devtls ps --all), then run the same command again.",
        )
    return Greeting(
        pid=message["pid"],
        version=message["version"],
        nginx=parse_nginx(message["nginx"]),
        listen=Listen(*(tuple(Endpoint(*pair) for pair in message[kind]) for kind in ("https", "http"))),
        neighbours=tuple(Neighbour(s["directory"], tuple(s["domains"]), s["pid"]) for s in message["sites"]),
    )


def is_outdated(greeting: Greeting) -> bool:
    """Whether a keeper is of an older devtls, or its nginx has been upgraded since it was asked what it can do."""
    theirs, ours = (tuple(map(int, re.findall(r"\d+", version))) for version in (greeting.version, __version__))
    return theirs < ours or has_changed(greeting.nginx)


def was_killed(paths: Paths) -> bool:
    """Whether a keeper was killed, and a project that it served is there to bring it back."""
    return count_orphans(paths.gateway) > 0


def greet(paths: Paths) -> tuple[Greeting, list[socket.socket], Client] | None:
    """Connect to the running keeper: its hello, duplicates of its listening sockets (https first), the connection.

    None when no keeper runs.
    """
    try:
        client = Client.connect(control_socket(paths))
    except NotRunningError:
        return None
    with contextlib.ExitStack() as undo:
        undo.callback(client.close)
        try:
            first = client.receive()
        except TimeoutError:
            return None
        if first is None:
            return None
        message, descriptors = first
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        for each in sockets:
            undo.callback(each.close)
        greeting = parse_greeting(message)
        undo.pop_all()
    return greeting, sockets, client


def start(  # noqa: PLR0913 - what a keeper needs
    paths: Paths,
    nginx: Nginx,
    templates: Path,
    sockets: Sequence[socket.socket],
    environment: Mapping[str, str],
    *,
    after: Greeting | None = None,
) -> subprocess.Popen[bytes]:
    """Start a keeper on listening sockets; it is there when the returned process ends with 0, or 75: one was already.

    Args:
        paths: of the user.
        nginx: the binary it will run.
        templates: the folder of templates.
        sockets: the ones of :443 first, then those of :80, told apart by the smaller port.
        environment: of the user; the marker of a session is taken out of it.
        after: the keeper that is to hand over to it; it waits for that, and for the projects served there.
    """
    ports = sorted({sock.getsockname()[1] for sock in sockets}, key=[s.getsockname()[1] for s in sockets].index)
    kinds: dict[int, list[tuple[Endpoint, int]]] = {port: [] for port in ports}
    for sock in sockets:
        host, port = sock.getsockname()[:2]
        kinds[port].append((Endpoint(host, port), sock.fileno()))
    https, http = [*kinds.values(), []][:2]
    setup = Setup(
        paths.gateway,
        control_socket(paths),
        templates,
        nginx,
        tuple(https),
        tuple(http),
        predecessor=processes.identify(after.pid) if after else None,
        expected=len(after.neighbours) + 1 if after else 0,
    )
    return subprocess.Popen(
        # -P: a json.py in the folder where `devtls up` runs is not ours to import
        [sys.executable, "-P", "-m", "devtls.nginx.keeper", render_setup(setup)],
        env={name: value for name, value in environment.items() if name not in processes.MARKERS},
        pass_fds=[sock.fileno() for sock in sockets],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
