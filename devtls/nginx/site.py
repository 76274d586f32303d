"""What one project asks the gateway to serve, and its server blocks as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from devtls.model import DomainSettings, Endpoint, External, Redirect, Route, Scheme, authority_of, routes_of
from devtls.nginx.listen import listen_lines
from devtls.nginx.location import Manners, Way, render_location, render_server
from devtls.nginx.quoting import quote
from devtls.system.templates import fill

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from devtls.model import Address, Leaf, NginxText
    from devtls.nginx.directives import Directive
    from devtls.nginx.listen import Listen

# max_fails=0: nginx must not shun an app for 10 s after a restart; 4 s is below Node's own 5 s of keep-alive.
# 128: a browser has a hundred streams open over HTTP/2, and with 16 every second request made a connection of its own.
KEPT = ("keepalive 128", "keepalive_timeout 4s")


class Upstream(Struct, frozen=True):
    """Where a target is reached.

    Attributes:
        target: what routes say: the name of a service, or somebody else's server.
        addresses: one for each replica, on the family it was found on.
        is_sticky: a browser keeps the replica that answered it first.
    """

    target: str | External
    addresses: tuple[Address, ...]
    scheme: Scheme = Scheme.HTTP
    is_sticky: bool = False


class Site(Struct, frozen=True):
    """What one project asks the gateway to serve.

    Attributes:
        key: unique among projects, letters and digits; its upstreams and variables are called by it.
        leaves: one host each.
        upstreams: in the order by which the page for a service that is down knows them.
        log_socket: the datagram socket that gets a line of JSON for each WebSocket handshake.
        page_socket: the stream socket that is asked for a page when an upstream cannot be reached.
        headers: (name, value) pairs of each answer; an empty value takes one out.
        is_prod_like: with the limits that nginx comes with.
        settings: what holds for some of the hosts only.
        own: the user's own directives, as they were understood.
    """

    key: str
    leaves: tuple[Leaf, ...]
    routes: tuple[Route, ...]
    upstreams: tuple[Upstream, ...]
    log_socket: Path
    page_socket: Path
    headers: tuple[tuple[str, str], ...] = ()
    is_prod_like: bool = False
    settings: tuple[DomainSettings, ...] = ()
    own: Mapping[NginxText, tuple[Directive, ...]] = field(default_factory=dict)


def render_site(site: Site, listen: Listen, features: Collection[str], templates: Path) -> str:
    """Return the upstreams and the server blocks of one project."""
    numbers = {upstream.target: number for number, upstream in enumerate(site.upstreams)}
    parts = [_render_upstream(site, number) for number in range(len(site.upstreams))]
    pages = f"devtls_{site.key}_pages"
    if parts:
        parts.append(_block("upstream", pages, [f"server {quote(f'unix:{site.page_socket}')} max_fails=0"]))
    log = quote(f"syslog:server=unix:{site.log_socket},nohostname,tag=devtls")
    for leaf in site.leaves:
        manners = _manners(site, leaf.host)
        routes = [_settle(route, leaf.host, listen) for route in routes_of(site.routes, leaf.host)]
        ways = [_way(site, route, numbers) for route in routes]
        locations = [
            render_location(route, way, manners, templates, site.own[route.nginx] if route.nginx else ())
            for route, way in zip(routes, ways, strict=True)
        ]
        if any(ways):
            locations.append(fill(templates, "nginx/pages.conf", pages=pages))
        parts.append(
            fill(
                templates,
                "nginx/site.conf",
                listen=listen_lines(listen.https, features, tls=True),
                host=leaf.host,
                certificate=quote(str(leaf.fullchain)),
                key=quote(str(leaf.key)),
                log=log,
                limits=_limits(site, manners, templates),
                own=render_server(manners),  # last, so that nginx blames the user's when a location is there twice
                locations="".join(locations).rstrip("\n"),
            )
        )
        if listen.http:
            authority = authority_of(leaf.host if "*" not in leaf.host else "$host", listen.https[0].port)
            lines = listen_lines(listen.http, features, tls=False)
            parts.append(fill(templates, "nginx/redirect.conf", listen=lines, host=leaf.host, authority=authority))
    return "\n".join(parts)


def _manners(site: Site, host: str) -> Manners:
    """What all locations of a host have in common."""
    settings = next((each for each in site.settings if each.is_for(host)), DomainSettings(()))
    own = site.own[settings.nginx] if settings.nginx else ()
    return Manners((*site.headers, *settings.headers), is_patient=not site.is_prod_like, own=own)


def _limits(site: Site, manners: Manners, templates: Path) -> str:
    limits = "" if site.is_prod_like else fill(templates, "nginx/generous.conf")
    if not manners.own:
        return limits
    from devtls.nginx.own import without

    return without(limits, manners.own)


def _settle(route: Route, host: str, listen: Listen) -> Route:
    """A redirect to another domain of the project goes to its .localhost name when it was asked for by one."""
    if not isinstance(route.target, Redirect) or not route.target.domain:
        return route
    domain = route.target.domain
    if host.endswith(".localhost") and not domain.endswith("localhost"):
        domain = f"{domain}.localhost"
    return replace(route, target=Redirect(f"https://{authority_of(domain, listen.https[0].port)}"))


def _way(site: Site, route: Route, numbers: dict[str | External, int]) -> Way | None:
    """How a route's upstream is reached; nothing for one that has none."""
    if not isinstance(route.target, str | External):
        return None
    number = numbers[route.target]
    name, upstream = _name(site, number), site.upstreams[number]
    if not upstream.is_sticky:
        return Way(number, upstream.scheme, name)
    return Way(number, upstream.scheme, f"${name}_choice", cookie=f"${name}_cookie")


def _name(site: Site, number: int) -> str:
    """Counted, since two names may differ only in what nginx cannot spell."""
    return f"devtls_{site.key}_{number}"


def _render_upstream(site: Site, number: int) -> str:
    name, upstream = _name(site, number), site.upstreams[number]
    pool = _block("upstream", name, [*map(_server, upstream.addresses), *KEPT])
    return "\n".join([pool, *_stickiness(name, number, upstream)]) if upstream.is_sticky else pool


def _stickiness(name: str, number: int, upstream: Upstream) -> list[str]:
    """Upstreams and maps by which a browser keeps its replica: the cookie says which, and a dead one is replaced.

    Not ip_hash: every browser here is 127.0.0.1. Not nginx' own `sticky`: it came with 1.29.6.
    """
    cookie = f"devtls_replica_{number}"
    replicas = [str(place) for place in range(len(upstream.addresses))]
    first = [
        _block(
            "upstream",
            f"{name}_{replica}",
            [
                _server(each) + (" backup" if str(place) != replica else "")
                for place, each in enumerate(upstream.addresses)
            ]
            + list(KEPT),
        )
        for replica in replicas
    ]
    choice = [f"default {name};", *(f"{replica} {name}_{replica};" for replica in replicas)]
    answered = ['default "";', *(f'"{address}" {r};' for r, address in zip(replicas, upstream.addresses, strict=True))]
    told = [f'default "{cookie}=${name}_answered; Path=/; Secure; HttpOnly; SameSite=Lax";', '~^= "";']
    told += [f'"{replica}={replica}" "";' for replica in replicas]
    return [
        *first,
        _block("map", f"$cookie_{cookie} ${name}_choice", choice),
        _block("map", f"$upstream_addr ${name}_answered", answered),
        _block("map", f'"${name}_answered=$cookie_{cookie}" ${name}_cookie', told),
    ]


def _server(address: Address) -> str:
    place = str(address) if isinstance(address, Endpoint) else quote(str(address))
    return f"server {place} max_fails=0"


def _block(kind: str, name: str, lines: Sequence[str]) -> str:
    body = "".join(f"    {line.removesuffix(';')};\n" for line in lines)
    return f"{kind} {name} {{\n{body}}}"
