"""The user's own directives where they belong in a site: imported only for a project that has some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from devtls.nginx.directives import (
    Directive,
    OwnText,
    for_location,
    leave_out,
    parse_own,
    render_own,
    settings_of,
)
from devtls.nginx.quoting import DOLLAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.model import NginxContext, NginxText, Project

INDENT = " " * 4


def parse_texts(project: Project) -> dict[NginxText, tuple[Directive, ...]]:
    """Return what the nginx texts of a project say.

    Raises:
        FileError: something is not allowed.
    """
    texts: list[tuple[NginxText | None, NginxContext]] = [(each.nginx, "server") for each in project.settings]
    texts += [(route.nginx, "location") for route in project.routes]
    return {
        text: parse_own(OwnText(text.text, text.file, text.line, context, project.directory))
        for text, context in texts
        if text
    }


def in_server(own: Sequence[Directive], headers: Sequence[tuple[str, str]]) -> str:
    """Return a domain's own as lines of its server; their locations keep our headers."""
    return f"{render_own(_with_headers(own, added(headers)), INDENT)}\n"


def without(limits: str, own: Sequence[Directive]) -> str:
    """Return what our server says, without what the domain's own replaces."""
    return leave_out(limits, settings_of(own))


def in_location(  # noqa: PLR0913 - who speaks in a location
    location: str,
    domain: Sequence[Directive],
    route: Sequence[Directive],
    passing: Sequence[tuple[str, ...]],
    ours: Sequence[Directive],
    *,
    is_exact: bool,
) -> str:
    """Return one of our locations with the user's own first, which for some is what makes them count.

    Args:
        location: as rendered: its head, what its upstream is called, and the rest.
        domain: the user's own for its server.
        route: the user's own for its route.
        passing: what a location inside must say to pass requests on.
        ours: headers, as `added` makes them.
        is_exact: it is a `location =`, which cannot have others inside.
    """
    said = _with_headers(for_location(domain, route, passing, is_exact=is_exact), ours)
    head, upstream, rest = location.split("\n", 2)
    lines = [head, upstream, *([render_own(said, INDENT * 2)] if said else [])]
    return "\n".join([*lines, leave_out(rest, settings_of((*domain, *route)))])


def headers_of(own: Sequence[Directive]) -> list[str]:
    """Return the headers that a domain's own add, for a location that adds one of ours and so would drop them."""
    return [render_own([each]) for each in own if each.name == "add_header"]


def added(headers: Sequence[tuple[str, str]], cookie: str = "") -> tuple[Directive, ...]:
    """Return what our locations add to each answer, and hide of it, as directives."""
    values = [(name, value.replace("$", DOLLAR)) for name, value in headers if value]
    values += [("Set-Cookie", cookie)] if cookie else []
    hidden = [Directive("proxy_hide_header", (name,), "") for name, _value in headers]
    return (*hidden, *(Directive("add_header", (name, value, "always"), "") for name, value in values))


def _with_headers(own: Sequence[Directive], ours: Sequence[Directive]) -> tuple[Directive, ...]:
    """The user's own, with ours repeated in their locations that would drop them: those that say one themselves."""
    return tuple(_complete(each, ours) if each.name == "location" else each for each in own)


def _complete(location: Directive, ours: Sequence[Directive]) -> Directive:
    block = _with_headers(location.block or (), ours)
    names = {each.name for each in block}
    return replace(location, block=(*(each for each in ours if each.name in names), *block))
