"""Why a name does not lead to this machine, as far as its files tell; `explain` is pure, `read_resolver` reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from devtls.checks.names import is_loopback
from devtls.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devtls.model import Check

HOSTS, NSSWITCH, RESOLV = Path("/etc/hosts"), Path("/etc/nsswitch.conf"), Path("/etc/resolv.conf")
NSCD = Path("/run/nscd/socket")
RESOLVED = Path("/etc/systemd/resolved.conf")
ROUTES = Path("/proc/net/route")
TUNNELS = ("tun", "tap", "wg", "ppp", "utun", "tailscale", "nordlynx", "proton")
LOCAL_SERVICES = ("mymachines", "myhostname")  # they answer for containers and for this machine's own name alone
# What glibc does without a hosts: line: nsswitch.conf(5), and the manual's "NSS Basics".
UNSAID = ("dns", "[!UNAVAIL=return]", "files")
WORD = re.compile(r"\[[^\]]*\]|\S+")


class Resolver(Struct, frozen=True):
    """What decides where a name leads.

    Attributes:
        hosts: the hosts file's text.
        nsswitch: the text; None where there is none: musl asks the hosts file first, as macOS does.
        resolv: /etc/resolv.conf's text.
        resolved: the settings of systemd-resolved, as text.
        has_nscd: the name service cache runs.
        tunnel: the network device of the default route, when it is a VPN's; or nothing.
    """

    hosts: str
    nsswitch: str | None = None
    resolv: str = ""
    resolved: str = ""
    has_nscd: bool = False
    tunnel: str = ""


class HostsLine(Struct, frozen=True):
    """A line of the hosts file that gives a name an address; counted from 1."""

    number: int
    address: str
    text: str


class Order(Struct, frozen=True):
    """Who is asked for hosts, with what is between brackets; `number` is the line's, 0 where it is not there."""

    number: int
    words: tuple[str, ...]

    @property
    def before_files(self) -> tuple[str, ...]:
        """The services that are asked before the hosts file; all of them when it is not asked at all."""
        services = [word for word in self.words if not word.startswith("[")]
        return tuple(services[: services.index("files")] if "files" in services else services)

    @property
    def cured(self) -> str:
        """The line with the hosts file first; the words in brackets after it went with its old place."""
        words = list(self.words)
        while "files" in words:
            place = words.index("files")
            end = place + 1
            while end < len(words) and words[end].startswith("["):
                end += 1
            del words[place:end]
        return " ".join(["hosts:", "files", *words])


def parse_hosts(text: str, host: str) -> tuple[HostsLine, ...]:
    """Return the lines that name a host, whatever address they give it."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        address, *names = line.partition("#")[0].split() or [""]
        if host in {name.lower() for name in names}:
            found.append(HostsLine(number, address, line.strip()))
    return tuple(found)


def parse_nsswitch(text: str) -> Order:
    """Return the order in which hosts are looked up; the last line counts, as for glibc."""
    order = Order(0, UNSAID)
    for number, line in enumerate(text.splitlines(), 1):
        database, colon, rest = line.partition("#")[0].partition(":")
        if colon and database.strip() == "hosts":
            order = Order(number, tuple(WORD.findall(rest)))
    return order


def parse_tunnel(routes: str) -> str:
    """Return the VPN's device that the default route of /proc/net/route is through, or nothing."""
    for line in routes.splitlines()[1:]:
        device, target, *_rest = [*line.split(), "", ""]
        if target == "00000000" and device.startswith(TUNNELS):
            return device
    return ""


def explain(check: Check, addresses: tuple[str, ...], resolver: Resolver) -> Check:
    """Return a red check of a name (`names.judge_name`) with the cause and its cure, as far as they can be told."""
    if check.verdict is not Verdict.FAILED:
        return check
    host, lines = check.subject, parse_hosts(resolver.hosts, check.subject)
    foreign = [line for line in lines if not is_loopback(line.address) and line.address in addresses]
    if foreign:
        return _by_another_line(check, foreign)
    if not any(is_loopback(line.address) for line in lines):
        fact = f"{check.fact}: {HOSTS} has no line for it"
        return replace(check, fact=fact, evidence=_evidence(resolver))
    check = replace(check, fact=f"{check.fact}, though {HOSTS} leads it here", evidence=_evidence(resolver))
    return _though_line_is_there(check, host, resolver)


def _by_another_line(check: Check, lines: Iterable[HostsLine]) -> Check:
    numbers = [line.number for line in lines]
    fact = f"{check.fact}: {HOSTS} says so in line {', '.join(map(str, numbers))}"
    delete = "".join(f"{number}d;" for number in numbers)[:-1]
    cure = ("Remove what is out of date:", f"  sudo sed -i '{delete}' {HOSTS}")
    evidence = tuple(f"line {line.number}: {line.text}" for line in lines)
    return replace(check, fact=fact, code="hosts-line", cure=cure, evidence=evidence)


def _though_line_is_there(check: Check, host: str, resolver: Resolver) -> Check:
    order = parse_nsswitch(resolver.nsswitch) if resolver.nsswitch is not None else None
    asked_first = [name for name in order.before_files if not _is_local_only(name, host)] if order else []
    if order and "files" not in order.words:
        told = f"{check.fact}: {NSSWITCH} does not have the hosts file asked"
        return replace(
            check, fact=told, code="nsswitch-no-files", cure=_cure_order(order), evidence=_line(order, check)
        )
    if order and asked_first and asked_first != ["resolve"]:
        told = f"{check.fact}: {NSSWITCH} has {' and '.join(asked_first)} asked first"
        return replace(check, fact=told, code="nsswitch-order", cure=_cure_order(order), evidence=_line(order, check))
    if order and asked_first and _ignores_hosts(resolver.resolved):
        told = f"{check.fact}: systemd-resolved is asked first, and told not to read it (ReadEtcHosts=no)"
        return replace(
            check, fact=told, code="resolved-no-hosts", cure=_cure_order(order), evidence=_line(order, check)
        )
    if resolver.has_nscd:
        cure = ("Have the name service cache forget what it knew:", "  sudo nscd --invalidate=hosts")
        return replace(check, fact=f"{check.fact}: nscd may answer from memory", code="name-cached", cure=cure)
    if asked_first:
        cure = ("Have systemd-resolved forget what it knew:", "  sudo resolvectl flush-caches")
        return replace(
            check, fact=f"{check.fact}: systemd-resolved may answer from memory", code="name-cached", cure=cure
        )
    look = (
        "See what the hosts file says, and what programs are told:",
        f"  getent -s files ahosts {host}",
        f"  getent ahosts {host}",
    )
    return replace(check, code="name-elsewhere", cure=look)


def _is_local_only(service: str, host: str) -> bool:
    return service in LOCAL_SERVICES or (service.startswith("mdns") and not host.endswith(".local"))


def _cure_order(order: Order) -> tuple[str, ...]:
    if not order.number:
        return ("Have the hosts file asked first:", f"  echo '{order.cured}' | sudo tee -a {NSSWITCH}")
    return ("Have the hosts file asked first:", f"  sudo sed -i '{order.number}s/.*/{order.cured}/' {NSSWITCH}")


def _line(order: Order, check: Check) -> tuple[str, ...]:
    said = f"line {order.number}: hosts: {' '.join(order.words)}" if order.number else "it has no line for hosts"
    return (f"{NSSWITCH}, {said}", *check.evidence)


def _ignores_hosts(settings: str) -> bool:
    values = re.findall(r"^\s*ReadEtcHosts\s*=\s*(\S+)", settings, re.MULTILINE)
    return bool(values) and values[-1].lower() in {"no", "false", "off", "0"}


def _evidence(resolver: Resolver) -> tuple[str, ...]:
    servers = re.findall(r"^\s*nameserver\s+(\S+)", resolver.resolv, re.MULTILINE)
    through = (f"the default route is through {resolver.tunnel}, a VPN's",) if resolver.tunnel else ()
    return (*((f"{RESOLV} has {', '.join(servers)} asked",) if servers else ()), *through)


def read_resolver() -> Resolver:
    """Read this machine's; what is not there says nothing."""
    settings = [RESOLVED, *sorted(RESOLVED.with_name("resolved.conf.d").glob("*.conf"))]
    return Resolver(
        _read(HOSTS) or "",
        _read(NSSWITCH),
        _read(RESOLV) or "",
        "\n".join(text for each in settings if (text := _read(each))),
        NSCD.exists(),
        parse_tunnel(_read(ROUTES) or ""),
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None
