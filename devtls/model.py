"""The values that travel between the parts: what is asked for, what serves it, what was seen."""

from __future__ import annotations

import enum
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from devtls.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# RFC 1123 labels, with the underscore left out: Java refuses it in a certificate, browsers in a cookie domain.
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label that makes browsers read an address: WHATWG URL, §3.5
HTTPS = 443
DEFAULT_HOST = "_"  # whose certificate is shown for localhost, for addresses and for names that nobody serves
DEFAULT_NAMES = ("localhost", "*.localhost", "127.0.0.1", "::1")  # what that certificate is for
LOCAL_NAMES = ("localhost", "test")  # RFC 6761; they share one authority, every other domain has its own
LONGEST_NAME = 243  # RFC 1035's 253, less the .localhost that is served beside it


Notice = tuple[str, tuple[str, ...]]  # a fact, and its cure lines


class Endpoint(Struct, frozen=True):
    """An address and port that something listens on, as numbers: ("127.0.0.1", 3000) or ("::1", 3000)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixSocket(Struct, frozen=True):
    """A stream socket in the file system that something listens on: unix:/run/app.sock."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = Endpoint | UnixSocket


class Scheme(enum.StrEnum):
    """What is spoken to a service; over the last two nginx speaks gRPC, which is HTTP/2 with trailers."""

    HTTP = "http"
    HTTPS = "https"
    GRPC = "grpc"
    GRPCS = "grpcs"

    @property
    def is_grpc(self) -> bool:
        """Whether no browser can ask it anything directly."""
        return self in {Scheme.GRPC, Scheme.GRPCS}


class Service(Struct, frozen=True):
    """A command that devtls runs, and the port it is told to listen on.

    Attributes:
        pool: what routes call it; the replicas of a service share it, else it is the name.
        is_sticky: a browser keeps the replica that answered it first, by a cookie.
    """

    name: str
    argv: tuple[str, ...]
    port: int
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    pool: str = ""
    scheme: Scheme = Scheme.HTTP
    is_sticky: bool = False

    @property
    def upstream(self) -> str:
        """The name that routes lead to."""
        return self.pool or self.name


class External(Struct, frozen=True):
    """A server that somebody else runs on this machine: Docker, a database's console, a teammate's tunnel."""

    address: Address
    scheme: Scheme = Scheme.HTTP

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"


class Files(Struct, frozen=True):
    """A folder whose files are served.

    Attributes:
        root: absolute.
        fallback: the file that answers where there is none, "index.html" for a single-page app; empty: 404.
    """

    root: Path
    fallback: str = ""

    def __str__(self) -> str:
        return f"files in {self.root}" + (f", else {self.fallback}" if self.fallback else "")


class Redirect(Struct, frozen=True):
    """Somewhere else; what was asked for below the prefix is asked for there.

    Attributes:
        to: a path of the same site or an https URL, without a slash at the end.
        domain: instead of that, another domain of the project.
    """

    to: str = ""
    domain: str = ""

    def __str__(self) -> str:
        return f"redirect to {self.domain or self.to or '/'}"


Target = str | External | Files | Redirect


NginxContext = Literal["server", "location"]  # of a domain, or of a route


class NginxText(Struct, frozen=True):
    """The user's own nginx directives, and where they are written: `line` is that of the first one in `file`."""

    text: str
    file: str
    line: int


class Route(Struct, frozen=True):
    """A path prefix, and what answers there.

    Attributes:
        prefix: "/", or "/api" without a slash at the end.
        target: a service, by what it is called as an upstream, or something that devtls does not run.
        host: the one domain it is for; empty for all of the project.
        is_stripped: the service gets the path without the prefix.
        nginx: the user's own directives for it.
    """

    prefix: str
    target: Target
    host: str = ""
    is_stripped: bool = False
    nginx: NginxText | None = None

    def is_for(self, host: str) -> bool:
        """Whether it is for this host: its own domain, the .localhost name of that, or any."""
        return not self.host or host in {self.host, f"{self.host}.localhost"}


class DomainSettings(Struct, frozen=True):
    """What holds for a domain and those served like it.

    Attributes:
        hosts: the domains of the project that it is about.
        headers: (name, value) pairs that each answer carries, besides the project's.
        nginx: the user's own directives for them.
    """

    hosts: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()
    nginx: NginxText | None = None

    def is_for(self, host: str) -> bool:
        """Whether it is for this host: one of its own, or the .localhost name of one."""
        return host in self.hosts or host.removesuffix(".localhost") in self.hosts


def pools_of(services: Iterable[Service]) -> dict[str, tuple[Service, ...]]:
    """The replicas of each service, by what routes call it."""
    pools: dict[str, tuple[Service, ...]] = {}
    for service in services:
        pools[service.upstream] = (*pools.get(service.upstream, ()), service)
    return pools


def routes_of(routes: Iterable[Route], host: str) -> tuple[Route, ...]:
    """The routes of one host, the longest prefix first; one for this host alone goes before one for all."""
    chosen: dict[str, Route] = {}
    for route in sorted(routes, key=lambda route: not route.host):
        if route.is_for(host):
            chosen.setdefault(route.prefix, route)
    return tuple(sorted(chosen.values(), key=lambda route: -len(route.prefix)))


class Project(Struct, frozen=True):
    """Everything one `devtls up` serves.

    Attributes:
        directory: the folder it is started in; with the user's id it is the project's identity.
        domains: ASCII host names, without a trailing dot; the first is DEVTLS_URL.
        websocket_path: where the WebSocket endpoint is, when the user said so.
        app_port: the port asked for the app; None means that a free one was chosen.
        https_port: the port asked for; None means 443, else the best that can be had.
        is_isolated: no store is touched; only the environment of services and of `devtls exec` trusts it.
        headers: (name, value) pairs that each answer carries, whatever the app says; an empty value takes one out.
        is_prod_like: nginx keeps the limits it comes with: 60 s of silence, 1 MB of body, buffered answers.
        authority_names: what its authorities are for, when that is more than the domains: a worktree shares its
            repository's.
        is_on_lan: served on the addresses of this machine's networks, too.
        settings: what holds for some of the domains only; each domain has one at most.
        fixed_ports: the ports that services were given, by their names; the others were free.
    """

    directory: Path
    domains: tuple[str, ...]
    services: tuple[Service, ...]
    routes: tuple[Route, ...]
    websocket_path: str | None = None
    https_port: int | None = None
    app_port: int | None = None
    start_timeout: float = 60.0
    is_isolated: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    is_prod_like: bool = False
    is_on_lan: bool = False
    authority_names: tuple[str, ...] = ()
    settings: tuple[DomainSettings, ...] = ()
    fixed_ports: Mapping[str, int] = field(default_factory=dict)


def foreign_of(project: Project) -> tuple[External, ...]:
    """The servers that somebody else runs, each once."""
    return tuple(dict.fromkeys(route.target for route in project.routes if isinstance(route.target, External)))


class Authority(Struct, frozen=True):
    """A local certificate authority on disk: a constrained root, and the constrained issuer that signs.

    Attributes:
        id: 8 hexadecimal digits; unique on this machine, part of every name it has elsewhere.
        subtrees: the DNS names it may sign, each with all below it: ("love.cat",) or ("localhost", "test").
        directory: holds root.pem and issuer.pem.
        fingerprint: SHA-256 of the root's DER, lower-case hexadecimal.
        not_after: of root and issuer; aware, UTC.
        not_before: the same; a clock that was wrong when it was made puts it into the future.
        addresses: that it may sign besides this machine's own, which every authority may: ("192.168.1.20",).
    """

    id: str
    subtrees: tuple[str, ...]
    directory: Path
    fingerprint: str
    not_after: datetime
    not_before: datetime = datetime.min.replace(tzinfo=UTC)
    addresses: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may sign, as it is told."""
        return self.subtrees + self.addresses

    @property
    def name(self) -> str:
        """What its root is called in the stores: "devtls-1a2b3c4d"."""
        return f"devtls-{self.id}"

    @property
    def root(self) -> Path:
        """The root certificate, PEM, 0644."""
        return self.directory / "root.pem"

    def covers(self, host: str) -> bool:
        """Whether it may sign for this host name, wildcard ("*.love.cat") or address."""
        if host == DEFAULT_HOST:
            host = "localhost"
        if is_address(host):
            return host in self.addresses or is_loopback(host)
        host = host.removeprefix("*.")
        return any(host == tree or host.endswith(f".{tree}") for tree in self.subtrees)


def spell_host(host: str) -> str:
    """A host as people are told it."""
    return "localhost, 127.0.0.1" if host == DEFAULT_HOST else host


def choose_authority(authorities: Iterable[Authority], names: Iterable[str]) -> Authority | None:
    """Return the authority that signs for all of these names: the narrowest, then the one that lasts longest."""
    wanted = tuple(names)
    able = [each for each in authorities if all(map(each.covers, wanted))]
    return max(able, key=lambda each: (-len(each.names), each.not_after), default=None)


class Leaf(Struct, frozen=True):
    """A served certificate on disk.

    Attributes:
        host: the one DNS name it is for.
        fullchain: leaf and issuer, PEM, 0644.
        key: PKCS#8, PEM, 0600.
        serial: as in the certificate; what a handshake must show.
        not_after: aware, UTC.
    """

    host: str
    fullchain: Path
    key: Path
    serial: int
    not_after: datetime


class Verdict(enum.StrEnum):
    """What a check found out; UNKNOWN is neither green nor red, NOTED is fine and worth knowing."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOTED = "noted"


class Check(Struct, frozen=True):
    """One question asked of the running system, its answer, and the cure when it is red.

    Attributes:
        subject: what was asked, usually a URL: "wss://love.cat/chat".
        fact: the answer in words: "101 · ping 1 ms".
        layer: who is at fault: "gateway", "service", "origin", "hosts", "certificate"; empty when green.
        code: a stable name of the cause, for scripts: "ws-upgrade-missing"; empty when green.
        cure: lines to do; one that begins with two spaces is to be typed or pasted.
        evidence: lines that show why.
    """

    subject: str
    verdict: Verdict
    fact: str
    layer: str = ""
    code: str = ""
    cure: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


def is_address(name: str) -> bool:
    """Whether this is an IP address and not a host name; parse_domain takes none of them for one."""
    return ":" in name or NUMBER.fullmatch(name.rpartition(".")[2]) is not None


def is_loopback(address: str) -> bool:
    """Whether an address, in its canonical form, is this machine's own; without ipaddress, which costs 4 ms."""
    return address == "::1" or address.startswith("127.")


def is_local(domain: str) -> bool:
    """Whether a name is at or below one that is nobody's real name."""
    return any(domain == name or domain.endswith(f".{name}") for name in LOCAL_NAMES)


def authority_of(host: str, port: int) -> str:
    """The host of an https URL, with its port only where it must be said."""
    return host if port == HTTPS else f"{host}:{port}"


def parse_domain(text: str) -> str:
    """Return a host name in its ASCII form, lower case, without the trailing dot.

    International names become punycode (IDNA 2008, UTS 46 mapping).

    Raises:
        UsageError: with the label at fault.
    """
    name = text.strip().rstrip(".") if text.endswith(".") and not text.endswith("..") else text.strip()
    if not name.isascii():
        name = _parse_international(name)
    name = name.lower()
    if not name or len(name) > LONGEST_NAME:
        raise UsageError(f"{text!r} is not a host name", "Give a name such as love.cat or shop.test.")
    for label in name.split("."):
        if not LABEL.fullmatch(label):
            raise UsageError(
                f"{text!r} is not a host name: {_fault_of(label)}",
                "Use letters, digits and hyphens, in labels of up to 63 characters, such as love.cat.",
            )
    if NUMBER.fullmatch(name.rsplit(".", 1)[-1]):
        raise UsageError(f"{text!r} is an address, not a host name", "Give a name such as love.cat or shop.test.")
    return name


def _parse_international(name: str) -> str:
    import idna

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise UsageError(f"{name!r} is not a host name: {error}", "Check its spelling.") from error


def _fault_of(label: str) -> str:
    if not label:
        return "a label between two dots is empty"
    if len(label) > 63:  # noqa: PLR2004 - RFC 1035 §2.3.4
        return f"the label {label[:12]}… has {len(label)} characters"
    if label.startswith("-") or label.endswith("-"):
        return f"the label {label!r} begins or ends with a hyphen"
    return f"{label!r} has a character that host names cannot have"
