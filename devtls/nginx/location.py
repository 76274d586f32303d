"""What nginx does for one route: a location of its own for each kind of target, with the whole set of directives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from devtls.model import External, Files, Redirect, Scheme
from devtls.nginx.quoting import quote_literal
from devtls.system.templates import fill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from devtls.model import Route
    from devtls.nginx.directives import Directive

INDENT = " " * 8


class Way(Struct, frozen=True):
    """How an upstream is reached.

    Attributes:
        number: by which the page for a service that is down knows it.
        upstream: the name of the upstream, or the variable that holds it.
        cookie: the variable of the cookie by which a browser keeps its replica; empty for none.
    """

    number: int
    scheme: Scheme
    upstream: str
    cookie: str = ""


class Manners(Struct, frozen=True):
    """What all locations of a project have in common.

    Attributes:
        headers: (name, value) pairs of each answer; an empty value takes one out.
        is_patient: silence is borne for an hour and nothing is buffered; else nginx does as it comes.
        own: the user's own directives for the server that they are in.
    """

    headers: tuple[tuple[str, str], ...] = ()
    is_patient: bool = True
    own: tuple[Directive, ...] = ()


def render_server(manners: Manners) -> str:
    """Return what a server says besides its locations: headers for answers that none of ours gives, and the user's."""
    headers = "".join(f"{INDENT[4:]}{line}\n" for line in _render_headers(manners.headers, ""))
    if not manners.own:
        return headers
    from devtls.nginx.own import in_server

    return headers + in_server(manners.own, manners.headers)


def render_location(
    route: Route, way: Way | None, manners: Manners, templates: Path, own: Sequence[Directive] = ()
) -> str:
    """Return the locations of a route.

    Args:
        route: with a redirect's domain settled.
        way: there when its target is an upstream.
        manners: of its server.
        templates: the folder of templates.
        own: the user's own directives for the route, when its target is an upstream.
    """
    match route.target:
        case str() | External():
            assert way  # noqa: S101 - see above
            return _render_upstream(route, way, manners, templates, own)
        case Files(root, fallback):
            return _render_files(route.prefix, root, fallback, manners, templates)
        case Redirect(to):  # that of a domain has been settled
            return _render_redirect(route.prefix, to, templates)
        case _:
            assert_never(route.target)


def matches(prefix: str) -> tuple[str, ...]:
    """The locations of a prefix: /api is /api and all below it, but not /apis; and never a 301 to /api/."""
    return ("/",) if prefix == "/" else (f"= {prefix}", f"{prefix}/")


def _render_upstream(route: Route, way: Way, manners: Manners, templates: Path, own: Sequence[Directive]) -> str:
    module, to = "grpc" if way.scheme.is_grpc else "proxy", f"{way.scheme}://{way.upstream}"
    prefix = f"^{re.escape(route.prefix)}/?(.*)$"
    more = []
    if way.scheme in {Scheme.HTTPS, Scheme.GRPCS}:  # a dev server's own certificate is nobody's business
        more += [f"{module}_ssl_server_name on;", f"{module}_ssl_name $host;"]
    if route.is_stripped:
        more += [
            f'rewrite "{prefix}" "/$1" break;',
            f"{module}_set_header X-Forwarded-Prefix {quote_literal(route.prefix)};",
        ]
    more += _render_headers(manners.headers, f"{module}_hide_header")
    if way.cookie:
        more.append(f"add_header Set-Cookie {way.cookie} always;")
    if manners.is_patient:
        more += fill(templates, f"nginx/patient-{module}.conf").splitlines()
    texts = {
        match: fill(
            templates,
            f"nginx/location-{module}.conf",
            match=match,
            number=str(way.number),
            to=to,
            more=_indent(more),
        )
        for match in matches(route.prefix)
    }
    if not (own or manners.own):
        return "".join(texts.values())
    from devtls.nginx.own import added, in_location

    rewrite = [("rewrite", prefix, "/$1", "break")] if route.is_stripped else []
    passing = [("set", "$devtls_upstream", str(way.number)), *rewrite, (f"{module}_pass", to)]
    ours = added(manners.headers, way.cookie)
    return "".join(
        in_location(text, manners.own, own, passing, ours, is_exact=match.startswith("="))
        for match, text in texts.items()
    )


def _render_files(prefix: str, root: Path, fallback: str, manners: Manners, templates: Path) -> str:
    folder = quote_literal(f"{root}/") if prefix != "/" else quote_literal(str(root))
    # An app's own router gets every path that is no file; a folder without an index is one of them.
    tries = f"$uri $uri/index.html {quote_literal(f'/{fallback}')} =404" if fallback else "$uri $uri/ =404"
    more = _render_headers(manners.headers, "")
    if manners.own:
        from devtls.nginx.own import headers_of

        more += headers_of(manners.own)
    if manners.is_patient and not any(name.lower() == "cache-control" for name, _value in manners.headers):
        more.append("add_header Cache-Control no-cache;")  # a file that was just saved is the one to be seen
    text = fill(
        templates,
        "nginx/location-files.conf",
        match=f"{prefix.rstrip('/')}/",
        place=f"{'root' if prefix == '/' else 'alias'} {folder};",
        tries=tries,
        prefix=prefix,
        more=_indent(more),
    )
    if prefix == "/":
        return text
    return f'{INDENT[4:]}location = {prefix} {{ return 307 "{prefix}/$is_args$args"; }}\n{text}'


def _render_redirect(prefix: str, to: str, templates: Path) -> str:
    # What follows is taken as it was asked for, and never "//…", which a browser reads as another site.
    rest = r"(/(?!/).*)" if not to else r"((?:/(?!/)|\?).*)"
    return "".join(
        fill(
            templates,
            "nginx/location-redirect.conf",
            match=match,
            pattern=f"^{re.escape(prefix.rstrip('/'))}{rest}$",
            to=to,
            bare=to or "/",
        )
        for match in matches(prefix)
    )


def _render_headers(headers: Sequence[tuple[str, str]], hide: str) -> list[str]:
    """Lines that set what each answer carries, instead of what the app says; 204 and 500 carry it, too."""
    hidden = [f"{hide} {quote_literal(name)};" for name, _value in headers] if hide else []
    added = [f"add_header {quote_literal(name)} {quote_literal(value)} always;" for name, value in headers if value]
    return hidden + added


def _indent(lines: Sequence[str]) -> str:
    return "".join(f"{INDENT}{line.strip()}\n" for line in lines)
