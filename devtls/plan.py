"""What has to be done so that a project is served: (Project, Found) -> Plan. Pure; nothing is touched here."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import ConflictError, DevtlsError
from devtls.model import (
    DEFAULT_HOST,
    LOCAL_NAMES,
    Endpoint,
    Notice,
    authority_of,
    choose_authority,
    is_local,
    spell_host,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtls.model import Authority, Leaf, Project

HTTPS = 443
HTTPS_WITHOUT_ROOT, HTTP_WITHOUT_ROOT = 8443, 8080


class PortState(enum.Enum):
    """Whether a port can be had."""

    FREE = enum.auto()
    NEEDS_ROOT = enum.auto()
    TAKEN = enum.auto()


class Port(Struct, frozen=True):
    """A port of this machine; `owner` says who has it when it is taken, `cure` how to end that."""

    number: int
    state: PortState
    owner: str = ""
    cure: tuple[str, ...] = ()


class StoreFound(Struct, frozen=True):
    """A place that browsers or programs take trusted roots from.

    Attributes:
        name: of the store, unique: "Debian's store", "Chromium (~/.pki/nssdb)".
        needs_root: whether changing it does.
        trusted: ids of the authorities it trusts already.
        outdated: ids of the authorities past their date that it still holds.
    """

    name: str
    needs_root: bool
    trusted: frozenset[str]
    outdated: frozenset[str] = frozenset()


class Found(Struct, frozen=True):
    """The machine as it was before anything was done.

    Attributes:
        can_be_root: whether root can be had: we are, or sudo is there.
        why_not_root: the fact, when it cannot.
        has_sudo: whether a person could have it in a terminal, all the same.
        authorities: of this user, those that can be used.
        stores: where roots are to be trusted.
        outdated: the authorities of this user that are past their date.

    What only a project asks for:

    Attributes:
        leaves: usable certificates by host.
        ipv6: whether ::1 can be bound.
        lan: the addresses by which other machines reach this one, when they are to.
        hosts_here: names that the hosts file sends to this machine already.
        hosts_foreign: (line number, line) that give one of our names to somebody else.
        asks_resolved: whether programs ask systemd-resolved for names, so that it can be told to ask the gateway.
        routed: domains below which it is told so.
        gateway: the sockets of the running gateway, https first; None when none runs.
        nginx: as people say it: "nginx 1.22.1".
        https, http: the ports, when no gateway runs; none for http beside an unusual port for https.
    """

    can_be_root: bool
    why_not_root: str
    authorities: tuple[Authority, ...]
    stores: tuple[StoreFound, ...]
    outdated: tuple[Authority, ...] = ()
    has_sudo: bool = True
    leaves: tuple[Leaf, ...] = ()
    ipv6: bool = False
    lan: tuple[str, ...] = ()
    hosts_here: frozenset[str] = frozenset()
    hosts_foreign: tuple[tuple[int, str], ...] = ()
    asks_resolved: bool = False
    routed: frozenset[str] = frozenset()
    gateway: tuple[Endpoint, ...] | None = None
    nginx: str = ""
    https: Port = Port(HTTPS, PortState.FREE)
    http: Port | None = None


class Already(Struct, frozen=True):
    """Something that is as it should be."""

    subject: str
    fact: str = ""


class CreateAuthority(Struct, frozen=True):
    """Make a certificate authority that can sign for these names and all below them, and for nothing else."""

    subtrees: tuple[str, ...]


class IssueLeaf(Struct, frozen=True):
    """Issue the certificate of one host."""

    host: str


class EditHosts(Struct, frozen=True):
    """Point names at this machine in the hosts file."""

    names: tuple[str, ...]


class TrustRoots(Struct, frozen=True):
    """Have a store trust the roots for these subtrees."""

    store: str
    needs_root: bool
    subtrees: tuple[tuple[str, ...], ...]


class RetireRoots(Struct, frozen=True):
    """Take roots that are past their date out of a store; `ids` are their authorities'."""

    store: str
    needs_root: bool
    ids: tuple[str, ...]


class BindPorts(Struct, frozen=True):
    """Listen on these endpoints, https first."""

    https: tuple[Endpoint, ...]
    http: tuple[Endpoint, ...]
    needs_root: bool


class LowerPorts(Struct, frozen=True):
    """Let every user of this machine listen on the ports from 80 up, now and after each start."""


class StartGateway(Struct, frozen=True):
    """Start the keeper, and nginx with the first site."""

    nginx: str


class ServeSite(Struct, frozen=True):
    """Register the domains with the gateway."""

    hosts: tuple[str, ...]


class RunService(Struct, frozen=True):
    """Start a service and supervise it."""

    name: str
    argv: tuple[str, ...]
    port: int


Step = (
    CreateAuthority
    | IssueLeaf
    | EditHosts
    | TrustRoots
    | RetireRoots
    | BindPorts
    | LowerPorts
    | StartGateway
    | ServeSite
    | RunService
)
Item = Already | Step


class Plan(Struct, frozen=True):
    """What is so already and what is to be done, in order; and what cannot be done here, with its cure.

    Attributes:
        items: in the order in which they are told and done.
        notices: (fact, cure lines) pairs.
        hosts: every host that gets a certificate and is served.
        subtrees: the names of each authority that is used.
        without_hosts: what is told when the hosts file turns out not to be ours to change.
    """

    items: tuple[Item, ...]
    notices: tuple[Notice, ...]
    hosts: tuple[str, ...] = ()
    subtrees: tuple[tuple[str, ...], ...] = ()
    without_hosts: Notice | None = None

    @property
    def certified(self) -> tuple[str, ...]:
        """Every name that a certificate is needed for; the gateway that serves hosts has one of its own."""
        return (*self.hosts, DEFAULT_HOST) if self.hosts else ()

    @property
    def needs_root(self) -> bool:
        """Whether any step does."""
        return any(_needs_root(item) for item in self.items)


def hosts_of(project: Project) -> tuple[str, ...]:
    """Every host that is served: each domain, and DOMAIN.localhost, which browsers resolve with no hosts line."""
    wanted = [*project.domains, *(localhost_name(domain) for domain in project.domains)]
    return tuple(dict.fromkeys(wanted))


def localhost_name(domain: str) -> str:
    """The name of a domain that browsers lead to this machine by themselves."""
    return domain if domain == "localhost" or domain.endswith(".localhost") else f"{domain}.localhost"


def subtrees_of(project: Project) -> tuple[tuple[str, ...], ...]:
    """The authorities that a project needs: the local one, and one a custom domain, unless another covers it."""
    domains = (domain.removeprefix("*.") for domain in project.authority_names or project.domains)
    custom = [domain for domain in sorted(domains, key=lambda domain: domain.count(".")) if not is_local(domain)]
    apart = [domain for domain in custom if not any(domain.endswith(f".{other}") for other in custom)]
    return (LOCAL_NAMES, *((domain,) for domain in apart))


def make_plan(project: Project, found: Found, *, may_create: bool = True) -> Plan:
    """Return what has to be done so that a project is served, in order.

    Raises:
        ConflictError: the port asked for is somebody else's.
        DevtlsError: a new authority is needed, and none may be made.
    """
    hosts, wanted = hosts_of(project), _signers(project, found)
    trusted = () if project.is_isolated else wanted
    notices = list(_notices(project, trusted, found))
    items = (
        *_authorities(wanted, found, may_create=may_create),
        *_leaves((*hosts, DEFAULT_HOST), found),
        *_hosts(hosts, found),
        *_trust(trusted, found),
        *_gateway(project, found, notices),
        ServeSite(hosts),
        *(RunService(service.name, service.argv, service.port) for service in project.services),
    )
    items = _with_retirement(items, found)
    return Plan(items, tuple(notices), hosts, wanted, _without_hosts(project, found))


def _signers(project: Project, found: Found) -> tuple[tuple[str, ...], ...]:
    """The authorities that a project needs, and those that sign for one of its hosts since they are narrower."""
    signing = (choose_authority(found.authorities, [host]) for host in hosts_of(project))
    needed = subtrees_of(project)
    known = {authority for names in needed if (authority := choose_authority(found.authorities, names))}
    narrower = (authority.names for authority in signing if authority and authority not in known)
    return tuple(dict.fromkeys((*needed, *narrower)))


def make_trust_plan(wanted: tuple[tuple[str, ...], ...], found: Found, *, may_create: bool = True) -> Plan:
    """Return what has to be done so that every store trusts the authorities of these subtrees.

    Raises:
        DevtlsError: a new authority is needed, and none may be made.
    """
    items = (*_authorities(wanted, found, may_create=may_create), *_trust(wanted, found), *_retire(found))
    lacking = () if found.can_be_root else tuple(_untrusted_without_root(wanted, found))
    notices = ((f"root cannot be had: {found.why_not_root}", ()), *lacking) if lacking else ()
    return Plan(items, notices, subtrees=wanted)


def make_ports_plan(*, is_low: bool, is_kept: bool) -> Plan:
    """Return what has to be done so that every user may listen on the ports from 80 up; devtls may keep it so."""
    by_others = "" if is_kept else ", by a setting that is not of devtls"
    fact = f"every user of this machine may listen on them{by_others}"
    return Plan((Already("ports from 80 up", fact) if is_low else LowerPorts(),), ())


def _needs_root(item: Item) -> bool:
    return isinstance(item, EditHosts | LowerPorts) or (
        isinstance(item, TrustRoots | RetireRoots | BindPorts) and item.needs_root
    )


def _authorities(wanted: tuple[tuple[str, ...], ...], found: Found, *, may_create: bool) -> Iterator[Item]:
    for subtrees in wanted:
        authority = choose_authority(found.authorities, subtrees)
        if authority:
            yield Already(f"CA for {' and '.join(subtrees)}", f"valid until {authority.not_after:%Y-%m-%d}")
        elif not may_create:
            raise DevtlsError(
                f"{' and '.join(subtrees)} needs a new certificate authority, and --no-new-ca forbids one",
                "Take a name that an authority is there for, or leave --no-new-ca out. They are listed by:",
                "  devtls doctor",
            )
        else:
            yield CreateAuthority(subtrees)


def _leaves(hosts: tuple[str, ...], found: Found) -> Iterator[Item]:
    usable = {leaf.host: leaf for leaf in found.leaves}
    for host in hosts:
        if host in usable:
            yield Already(f"certificate {spell_host(host)}", f"valid until {usable[host].not_after:%Y-%m-%d}")
        else:
            yield IssueLeaf(host)


def _hosts(hosts: tuple[str, ...], found: Found) -> Iterator[Item]:
    concrete = tuple(host for host in hosts if "*" not in host)
    missing = tuple(host for host in concrete if host not in found.hosts_here)
    if not missing:
        yield Already("/etc/hosts", ", ".join(concrete))
    elif found.can_be_root:
        yield EditHosts(missing)


def _trust(wanted: tuple[tuple[str, ...], ...], found: Found) -> Iterator[Item]:
    for store in found.stores if wanted else ():
        missing = tuple(subtrees for subtrees in wanted if not _is_trusted(subtrees, store, found))
        if not missing:
            yield Already(f"trust: {store.name}")
        elif found.can_be_root or not store.needs_root:
            yield TrustRoots(store.name, store.needs_root, missing)


def _retire(found: Found) -> Iterator[RetireRoots]:
    for store in found.stores:
        if store.outdated and (found.can_be_root or not store.needs_root):
            yield RetireRoots(store.name, store.needs_root, tuple(sorted(store.outdated)))


def _with_retirement(items: tuple[Item, ...], found: Found) -> tuple[Item, ...]:
    """Roots past their date are taken out on the way; alone they are not worth a password."""
    asks = any(_needs_root(item) for item in items)
    retired = tuple(item for item in _retire(found) if asks or not item.needs_root)
    place = next((place for place, item in enumerate(items) if isinstance(item, BindPorts | StartGateway | ServeSite)))
    return (*items[:place], *retired, *items[place:])


def _is_trusted(subtrees: tuple[str, ...], store: StoreFound, found: Found) -> bool:
    authority = choose_authority(found.authorities, subtrees)
    return authority is not None and authority.id in store.trusted


def _gateway(project: Project, found: Found, notices: list[Notice]) -> Iterator[Item]:
    if found.gateway:
        port = found.gateway[0].port
        if project.https_port not in {None, port}:
            raise ConflictError(
                f"the gateway of your running projects listens on {port}, not on {project.https_port}",
                "Leave --https-port out, or stop the other projects first (devtls ps --all).",
            )
        if project.is_on_lan and not any(each.host in found.lan for each in found.gateway):
            raise ConflictError(
                "the gateway of your running projects listens on this machine only",
                "Stop them first (devtls ps --all), or leave --lan out.",
            )
        yield Already("gateway", f"{found.nginx} on {port}")
        return
    yield from _ports(project, found, notices)
    yield StartGateway(found.nginx)


def _ports(project: Project, found: Found, notices: list[Notice]) -> Iterator[Item]:
    if found.https.state is PortState.TAKEN:
        raise ConflictError(
            f"port {found.https.number} is taken by {found.https.owner}",
            *found.https.cure,
            "Or take another port:",
            f"  devtls up {' '.join(project.domains)} --https-port {_another(found.https.number)} …",
        )
    needs_root = found.https.state is PortState.NEEDS_ROOT and found.can_be_root
    yield BindPorts(_both(served_port(found), found), _redirect(found, notices), needs_root)


def _redirect(found: Found, notices: list[Notice]) -> tuple[Endpoint, ...]:
    """Where http:// is redirected from; losing it never costs https."""
    if served_port(found) != found.https.number:
        return _both(HTTP_WITHOUT_ROOT, found)
    if found.http is None:
        return ()
    if found.http.state is PortState.TAKEN:
        fact = f"port {found.http.number} is taken by {found.http.owner}: http:// is not redirected, https:// works"
        notices.append((fact, found.http.cure))
        return ()
    if found.http.state is PortState.NEEDS_ROOT and found.https.state is not PortState.NEEDS_ROOT:
        return ()  # it is not worth a password
    return _both(found.http.number, found)


def _another(port: int) -> int:
    return HTTPS_WITHOUT_ROOT if port != HTTPS_WITHOUT_ROOT else port + 1000


def _both(port: int, found: Found) -> tuple[Endpoint, ...]:
    hosts = ("127.0.0.1", *(["::1"] if found.ipv6 else []), *found.lan)
    return tuple(Endpoint(host, port) for host in hosts)


def _notices(project: Project, trusted: tuple[tuple[str, ...], ...], found: Found) -> Iterator[Notice]:
    for number, line in found.hosts_foreign:
        yield (
            f"/etc/hosts line {number} gives one of these names to somebody else; it is left as it is: {line.strip()}",
            ("Remove it yourself if it is out of date:", f"  sudo sed -i {number}d /etc/hosts"),
        )
    if project.is_on_lan:
        places, names = ", ".join(found.lan) or "no address of this machine", ", ".join(project.domains)
        yield (
            f"{places} serves {names} to everybody in your network",
            (
                "A phone has to trust the authority, and needs a name server that leads the names here:",
                "  devtls trust --export",
            ),
        )
    for domain in project.domains:
        is_named = any(name.endswith(domain[1:]) and "*" not in name for name in project.domains)
        if "*" in domain and not is_named and not _is_routed(domain.removeprefix("*."), found):
            yield _unresolved(domain, found)
    if found.can_be_root:
        return
    lacking = tuple(_without_root(project, trusted, found))
    if lacking:
        yield f"root cannot be had: {found.why_not_root}", ()
    yield from lacking


def _is_routed(domain: str, found: Found) -> bool:
    return any(domain == each or domain.endswith(f".{each}") for each in found.routed)


def _unresolved(wildcard: str, found: Found) -> Notice:
    """Names below it are served, and who wants to reach them has to be told where."""
    example, domain = wildcard.replace("*", "shop"), wildcard.removeprefix("*.")
    can_be_routed = found.asks_resolved and localhost_name(domain) != domain
    route = ("Have systemd-resolved ask the gateway for all of them:", f"  devtls hosts route {domain}")
    beside = "name those that have to resolve everywhere, beside it:"
    return (
        f"{wildcard} is served, and no hosts file can hold it; browsers find {localhost_name(example)}",
        (
            *(route if can_be_routed else ()),
            f"Or {beside}" if can_be_routed else beside.capitalize(),
            f"  devtls up … '{wildcard}' {example}",
        ),
    )


def _without_root(project: Project, trusted: tuple[tuple[str, ...], ...], found: Found) -> Iterator[Notice]:
    """What is missing because root cannot be had."""
    if any(host not in found.hosts_here for host in hosts_of(project) if "*" not in host):
        yield _without_hosts(project, found)
    yield from _untrusted_without_root(trusted, found)
    if not found.gateway and found.https.state is PortState.NEEDS_ROOT:
        by_hand = '  su -c "/sbin/sysctl -w net.ipv4.ip_unprivileged_port_start=80"'
        cure = (
            (
                "Have root give every user of this machine the ports from 80 up, in a terminal:",
                "  devtls trust --low-ports",
            )
            if found.has_sudo
            else ("Have root give every user of this machine the ports from 80 up, until it restarts:", by_hand)
        )
        yield f"port {found.https.number} needs root: it is served on {served_port(found)}", cure


def _untrusted_without_root(wanted: tuple[tuple[str, ...], ...], found: Found) -> Iterator[Notice]:
    for store in found.stores:
        if store.needs_root and not all(_is_trusted(subtrees, store, found) for subtrees in wanted):
            yield (
                f"the {store.name} is as it was: curl, git and Python refuse the certificate",
                ("Have what you start from a terminal trust it:", '  eval "$(devtls env)"'),
            )


def _without_hosts(project: Project, found: Found) -> Notice:
    """What works when the hosts file is not ours to change, and what to have done."""
    missing = [host for host in hosts_of(project) if host not in found.hosts_here and "*" not in host]
    near = authority_of(localhost_name(project.domains[0]), served_port(found))
    return (
        f"/etc/hosts is as it was; browsers reach https://{near}",
        ("Have root add this line, for the names themselves:", f"  127.0.0.1 {' '.join(missing)}"),
    )


def served_port(found: Found) -> int:
    """What is or will be served on: the port asked for, unless it needs a root that cannot be had."""
    if found.gateway:
        return found.gateway[0].port
    needs_root = found.https.state is PortState.NEEDS_ROOT and not found.can_be_root
    return HTTPS_WITHOUT_ROOT if needs_root else found.https.number
