"""Look at the machine: what is there before anything is done."""

from __future__ import annotations

import os
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from devtls import hosts
from devtls.ca.store import find_authority, load_authorities, load_leaf
from devtls.errors import ConflictError
from devtls.model import DEFAULT_HOST, Endpoint
from devtls.nginx.binary import find_nginx
from devtls.nginx.gateway import greet, was_killed
from devtls.plan import HTTPS, Found, Port, PortState, StoreFound, hosts_of, make_plan, make_trust_plan
from devtls.system import ports
from devtls.system.files import read_or_none
from devtls.system.name_route import is_resolved_asked, look_at_route
from devtls.system.root import HOSTS, find_sudo
from devtls.system.run import run
from devtls.trust import Held, Stores, find_stores

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from devtls.model import Authority, Project
    from devtls.nginx.binary import Nginx
    from devtls.nginx.gateway import Greeting
    from devtls.plan import Plan
    from devtls.system.paths import Paths
    from devtls.trust import Store

COMING_BACK = 5.0  # s; the projects of a gateway that was killed have it back after one
LOOK_EVERY = 0.02  # s between looks for it
HTTP_BESIDE = {443: 80, 8443: 8080}  # where http:// is redirected from; beside another https port it is not


class Machine(Struct, frozen=True):
    """The values of `found`, and the things that they were read off."""

    found: Found
    hosts_file: bytes
    stores: Stores


class Gateway(Struct, frozen=True):
    """What serves, or will.

    Attributes:
        greeting: of the keeper that runs; None when none does.
        sockets: duplicates of its listening sockets, https first; empty when none runs.
    """

    nginx: Nginx
    greeting: Greeting | None
    sockets: Sequence[socket.socket]


def look(
    project: Project, paths: Paths, environment: Mapping[str, str], *, is_interactive: bool, is_forced: bool = False
) -> tuple[Machine, Gateway]:
    """Return what is there for a project; with a person at the terminal, sudo may ask for a password.

    Raises:
        ConflictError: another project serves one of the domains.
        DevtlsError: there is no usable nginx, or a key is readable by others.
    """
    served = hosts_of(project)
    greeting, sockets = _greet(paths)
    if not is_forced:
        _refuse_served(project, served, greeting)
    nginx = greeting.nginx if greeting else find_nginx(environment, paths.state / "nginx.json")
    now = datetime.now(UTC)
    ipv6 = ports.has_ipv6()
    machine = _look_at_stores(paths, environment, now)
    https = project.https_port or HTTPS
    found = replace(
        machine.found,
        ipv6=ipv6,
        lan=ports.lan_addresses() if project.is_on_lan else (),
        leaves=tuple(leaf for host in (*served, DEFAULT_HOST) if (leaf := load_leaf(paths, host, now))),
        hosts_here=hosts.names_led_here(machine.hosts_file).intersection(served),
        hosts_foreign=tuple(
            (line.number, line.text) for line in hosts.find_foreign(machine.hosts_file, served, ipv6=ipv6)
        ),
        asks_resolved=is_resolved_asked(),
        routed=frozenset(look_at_route().domains),
        gateway=greeting.listen.https if greeting else None,
        nginx=nginx.name,
        https=Port(https, PortState.FREE) if greeting else _look_at_port(https),
        http=_look_at_port(HTTP_BESIDE[https]) if https in HTTP_BESIDE and not greeting else None,
    )
    found = _with_root(found, lambda found: make_plan(project, found), is_interactive=is_interactive)
    return replace(machine, found=found), Gateway(nginx, greeting, sockets)


def look_at_trust(
    wanted: tuple[tuple[str, ...], ...], paths: Paths, environment: Mapping[str, str], *, is_interactive: bool
) -> Machine:
    """Return what is there for trusting the authorities of these subtrees."""
    machine = _look_at_stores(paths, environment, datetime.now(UTC))
    found = _with_root(machine.found, lambda found: make_trust_plan(wanted, found), is_interactive=is_interactive)
    return replace(machine, found=found)


def _look_at_stores(paths: Paths, environment: Mapping[str, str], now: datetime) -> Machine:
    everything = load_authorities(paths)
    authorities = tuple(ca for ca in everything if find_authority([ca], ca.names[0], now))
    outdated = tuple(ca for ca in everything if ca.not_after < now)
    stores = find_stores(paths.home, environment, run, paths)
    found = Found(
        can_be_root=True,
        why_not_root="",
        authorities=authorities,
        outdated=outdated,
        stores=tuple(_look_at_store(store, authorities, outdated) for store in stores.found),
    )
    return Machine(found, read_or_none(HOSTS) or b"", stores)


def _look_at_store(store: Store, authorities: Sequence[Authority], outdated: Sequence[Authority]) -> StoreFound:
    return StoreFound(
        store.name,
        store.needs_root,
        trusted=frozenset(ca.id for ca in authorities if store.is_trusted(ca)),
        outdated=frozenset(ca.id for ca in outdated if store.holds(Held(ca.name, ca.fingerprint))),
    )


def _with_root(found: Found, plan: Callable[[Found], Plan], *, is_interactive: bool) -> Found:
    """Note when root cannot be had; sudo is asked only when the plan needs it, and nobody is there to be asked."""
    may_be_asked = is_interactive and find_sudo()
    if not may_be_asked and plan(found).needs_root and (why_not := _why_not_root()):
        return replace(found, can_be_root=False, why_not_root=why_not, has_sudo=find_sudo() is not None)
    return found


def _greet(paths: Paths) -> tuple[Greeting | None, Sequence[socket.socket]]:
    met = greet(paths)
    patience = time.monotonic() + COMING_BACK
    while met is None and time.monotonic() < patience and was_killed(paths):
        time.sleep(LOOK_EVERY)
        met = greet(paths)
    if met is None:
        return None, ()
    greeting, sockets, client = met
    client.close()
    return greeting, sockets


def _refuse_served(project: Project, served: Sequence[str], greeting: Greeting | None) -> None:
    """Another project's domain is a conflict before anything is touched."""
    for host in served:
        owner = greeting.owner_of(host) if greeting else None
        if owner and Path(owner.directory) != project.directory:
            raise ConflictError(
                f"{host} is served already, by the project in {owner.directory} (pid {owner.pid})",
                "Stop it there, take another domain, or take this one over:",
                f"  cd {shlex.quote(owner.directory)} && devtls down",
                "  devtls up --force …",
            )


def _why_not_root() -> str:
    """Why nothing can be done as root, when nobody is there to type a password; nothing when it can."""
    if os.geteuid() == 0:
        return ""
    sudo = find_sudo()
    if not sudo:
        return "there is no sudo on this machine"
    is_free = run([sudo, "-n", "--", "/bin/true"], check=False).status == 0
    return "" if is_free else "sudo needs a password, and there is no terminal to ask on"


def _look_at_port(number: int) -> Port:
    endpoint = Endpoint("127.0.0.1", number)
    binding = ports.bind([endpoint])
    for listener in binding.sockets:
        listener.close()
    if not binding.refused:
        return Port(number, PortState.FREE)
    owner = ports.find_owner(endpoint)  # without the right to bind, a port that is taken is refused the same way
    if owner:
        return Port(number, PortState.TAKEN, str(owner), owner.cure(number))
    if binding.refused[0].reason is ports.Reason.DENIED:
        return Port(number, PortState.NEEDS_ROOT)
    return Port(number, PortState.TAKEN, "somebody who cannot be seen", ports.Owner(None, "", None, "").cure(number))
