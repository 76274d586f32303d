"""The nginx text that decides over one path: read for evidence, never a replacement for `nginx -t`."""

from __future__ import annotations

import re

from msgspec import Struct

TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\$\{\w+\}|[^\s{};])+""", re.DOTALL)
LONGEST_PREFIX_WINS = {"", "^~"}


class Directive(Struct, frozen=True):
    """A directive with its arguments, and its block when it has one."""

    name: str
    arguments: tuple[str, ...]
    block: tuple[Directive, ...] = ()


class Location(Struct, frozen=True):
    """What nginx does for one path.

    Attributes:
        heading: "location /chat", or "server" when no location matches.
        http_version: of proxy_http_version; empty when it is not said.
        headers: proxy_set_header in effect: name in lower case, value.
        is_whole: no include hides more.
    """

    heading: str
    http_version: str
    headers: tuple[tuple[str, str], ...]
    is_whole: bool

    def header(self, name: str) -> str | None:
        """The value set for this (lower-case) name; None when nothing is said about it."""
        return next((value for key, value in self.headers if key == name), None)


def parse_site(text: str) -> tuple[Directive, ...]:
    """Text to directives; forgiving, since nginx itself has accepted the text already."""
    frames: list[list[Directive]] = [[]]
    heads: list[list[str]] = []
    words: list[str] = []
    for token in TOKEN.findall(text):
        if token.startswith("#"):
            continue
        if token == "{":  # noqa: S105 - a brace, no secret
            heads.append(words)
            frames.append([])
        elif token == "}" and heads:  # noqa: S105 - as above
            head, block = heads.pop(), tuple(frames.pop())
            if head:
                frames[-1].append(Directive(head[0], tuple(head[1:]), block))
        elif token == ";" and words:  # noqa: S105 - as above
            frames[-1].append(Directive(words[0], tuple(words[1:])))
        elif token not in {";", "}"}:
            words = [*words, token[1:-1] if token[0] in "\"'" else token]
            continue
        words = []
    return tuple(frames[0])


def find_location(text: str, host: str, path: str) -> Location | None:
    """Return what nginx does for `path` on `host`; None when the text has no server for this host."""
    path = path.partition("?")[0]
    servers = _servers(parse_site(text), ())
    found = [_descend(levels, path) for levels in servers if host in _names(levels[-1])]
    # A host has two servers, :80 (a redirect) and :443; the one that passes on is the one in question.
    proxied = [levels for levels in found if any(part.name == "proxy_pass" for part in levels[-1].block)]
    chosen = next(iter([*proxied, *found]), None)
    return None if chosen is None else _effective(chosen)


def _servers(parts: tuple[Directive, ...], above: tuple[Directive, ...]) -> list[tuple[Directive, ...]]:
    """Each server with the blocks it inherits from, outermost first."""
    level = Directive("", (), parts)
    found = [(*above, level, part) for part in parts if part.name == "server" and part.block]
    for part in parts:
        if part.name == "http":
            found += _servers(part.block, (*above, level))
    return found


def _names(server: Directive) -> set[str]:
    return {name for part in server.block if part.name == "server_name" for name in part.arguments}


def _descend(levels: tuple[Directive, ...], path: str) -> tuple[Directive, ...]:
    """Follow the locations that match, as nginx does: exact, `^~`, the first regex, the longest prefix."""
    locations = [part for part in levels[-1].block if part.name == "location"]
    chosen = _choose(locations, path)
    return levels if chosen is None else _descend((*levels, chosen), path)


def _choose(locations: list[Directive], path: str) -> Directive | None:
    prefixes: list[tuple[int, Directive]] = []
    patterns: list[Directive] = []
    for location in locations:
        kind, place = ("", *location.arguments)[-2:] if location.arguments else ("", "")
        if kind == "=" and place == path:
            return location
        if kind in LONGEST_PREFIX_WINS and path.startswith(place):
            prefixes.append((len(place), location))
        if kind in {"~", "~*"} and _matches(place, path, kind):
            patterns.append(location)
    longest = max(prefixes, key=lambda found: found[0])[1] if prefixes else None
    if longest is not None and "^~" in longest.arguments:
        return longest
    return patterns[0] if patterns else longest


def _matches(pattern: str, path: str, kind: str) -> bool:
    try:
        return re.search(pattern, path, re.IGNORECASE if kind == "~*" else 0) is not None
    except re.error:  # PCRE knows more than Python
        return False


def _effective(levels: tuple[Directive, ...]) -> Location:
    """The innermost level that sets any header sets them all: nginx inherits all of them or none."""
    version, headers = "", ()  # type: str, tuple[tuple[str, str], ...]
    for level in levels:
        own = tuple(
            (part.arguments[0].lower(), part.arguments[1])
            for part in level.block
            if part.name == "proxy_set_header" and len(part.arguments) > 1
        )
        headers = own or headers
        for part in level.block:
            if part.name == "proxy_http_version" and part.arguments:
                version = part.arguments[0]
    heading = " ".join((levels[-1].name, *levels[-1].arguments))
    is_whole = not any(part.name == "include" for level in levels for part in level.block)
    return Location(heading, version, headers, is_whole)
