"""nginx configuration as text: values in, text out, for the binary that will read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.model import authority_of
from devtls.system.templates import fill

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from devtls.model import Endpoint, Leaf

UNSPEAKABLE = re.compile(r"[$\x00-\x1f\x7f]")  # nginx has no way to write a literal $ in a path


class Listen(Struct, frozen=True):
    """The sockets that the gateway holds; listen lines must match them exactly, or nginx binds anew and fails."""

    https: tuple[Endpoint, ...]
    http: tuple[Endpoint, ...]


class Site(Struct, frozen=True):
    """What one project asks the gateway to serve.

    Attributes:
        key: unique among projects, letters and digits; its upstreams are called by it.
        leaves: one host each.
        routes: (path prefix, upstream) pairs.
        upstreams: (name, endpoint) pairs: the family the service was found on.
        log_socket: the datagram socket that gets a line of JSON for each WebSocket handshake.
        page_socket: the stream socket that is asked for a page when an upstream cannot be reached.
    """

    key: str
    leaves: tuple[Leaf, ...]
    routes: tuple[tuple[str, str], ...]
    upstreams: tuple[tuple[str, Endpoint], ...]
    log_socket: Path
    page_socket: Path


def quote(text: str) -> str:
    """Return text as one quoted nginx parameter.

    Raises:
        DevtlsError: nginx cannot say it.
    """
    if UNSPEAKABLE.search(text):
        raise DevtlsError(
            f"nginx cannot read the path {text!r}: it has a $ or a control character",
            "Keep devtls elsewhere:",
            "  export XDG_DATA_HOME=/some/plain/path XDG_STATE_HOME=/some/plain/path",
        )
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render_gateway(  # noqa: PLR0913 - each is a part of the file
    listen: Listen,
    features: Collection[str],
    templates: Path,
    sites: Sequence[str] = (),
    *,
    user: str = "",
    spare: Leaf | None = None,
) -> str:
    """Return the gateway's whole configuration: one file, since the path of an included one may look like a pattern.

    Args:
        listen: the sockets it is handed.
        features: of the binary, as binary.PROBES names them.
        templates: the folder of templates.
        sites: what `render_site` made, one text a project.
        user: the user that workers run as when the master is root.
        spare: a certificate for unknown names, needed by nginx before 1.19.4, which cannot refuse a handshake.
    """
    refusal = "    ssl_reject_handshake on;"
    if "reject_handshake" not in features and spare:
        refusal = (
            f"    ssl_certificate {quote(str(spare.fullchain))};\n    ssl_certificate_key {quote(str(spare.key))};"
        )
    default_https = _server(
        _listen_lines(listen.https, features, tls=True, default=True), f"{refusal}\n    return 444;"
    )
    default_http = _server(_listen_lines(listen.http, features, tls=False, default=True), "    return 421;")
    servers = [default_https] + ([default_http] if listen.http else [])
    text = "\n".join(servers)
    owner = f"user {user};\n" if user else ""
    return fill(templates, "nginx/gateway.conf", user=owner, default_servers=text, sites="\n".join(sites))


def render_site(site: Site, listen: Listen, features: Collection[str], templates: Path) -> str:
    """Return the server blocks of one project."""
    locations = "".join(
        fill(
            templates,
            "nginx/location.conf",
            match=match,
            upstream=_upstream_name(site, upstream),
            number=str(_number(site, upstream)),
        )
        for prefix, upstream in site.routes
        for match in _matches(prefix)
    )
    log = quote(f"syslog:server=unix:{site.log_socket},nohostname,tag=devtls")
    parts = [_render_upstream(_upstream_name(site, name), endpoint) for name, endpoint in site.upstreams]
    pages = f"devtls_{site.key}_pages"
    parts.append(f"upstream {pages} {{\n    server {quote(f'unix:{site.page_socket}')} max_fails=0;\n}}")
    for leaf in site.leaves:
        parts.append(
            fill(
                templates,
                "nginx/site.conf",
                listen=_listen_lines(listen.https, features, tls=True),
                host=leaf.host,
                certificate=quote(str(leaf.fullchain)),
                key=quote(str(leaf.key)),
                log=log,
                pages=pages,
                locations=locations.rstrip("\n"),
            )
        )
        if listen.http:
            authority = authority_of(leaf.host, listen.https[0].port)
            lines = _listen_lines(listen.http, features, tls=False)
            parts.append(fill(templates, "nginx/redirect.conf", listen=lines, host=leaf.host, authority=authority))
    return "\n".join(parts)


def _matches(prefix: str) -> tuple[str, ...]:
    """The locations of a prefix: /api is /api and all below it, but not /apis; and never a 301 to /api/."""
    return ("/",) if prefix == "/" else (f"= {prefix.rstrip('/')}", f"{prefix.rstrip('/')}/")


def _upstream_name(site: Site, name: str) -> str:
    """Counted, since two names may differ only in what nginx cannot spell."""
    return f"devtls_{site.key}_{_number(site, name)}"


def _number(site: Site, name: str) -> int:
    return [each for each, _ in site.upstreams].index(name)


def _render_upstream(name: str, endpoint: Endpoint) -> str:
    # max_fails=0: nginx must not shun an app for 10 s after a restart; 4 s is below Node's own 5 s of keep-alive.
    return f"upstream {name} {{\n    server {endpoint} max_fails=0;\n    keepalive 16;\n    keepalive_timeout 4s;\n}}"


def _server(listen: str, body: str) -> str:
    return f"    server {{\n{listen}\n    {body}\n    }}"


def _listen_lines(endpoints: Sequence[Endpoint], features: Collection[str], *, tls: bool, default: bool = False) -> str:
    words = (" default_server" if default else "") + (" ssl" if tls else "")
    h2 = tls and "http2" in features
    lines = [f"    listen {endpoint}{words}{' http2' if tls and not h2 else ''};" for endpoint in endpoints]
    return "\n".join([*lines, *(["    http2 on;"] if h2 else [])])
