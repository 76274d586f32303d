"""Where a page's WebSocket may be: read from its scripts, or known from its framework; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CANDIDATES = 12  # each costs the app one handshake in its log
MOST_SCRIPTS = 8
NEARBY = 300  # characters around `new WebSocket(` in which a lone path is taken for a hint

# A path as scripts write it: no quote, no space, no template in it.
PATH = r"(/[\w\-./?=&%~+@:,;!*]{0,200})"
SCRIPT = re.compile(r"<script\b([^>]{0,2000})>(.*?)(?:</script|\Z)", re.IGNORECASE | re.DOTALL)
SOURCE = re.compile(r"""\bsrc\s*=\s*["']?([^\s"'>]{1,500})""", re.IGNORECASE)
QUOTE = "[\"'`]"
# What a script says outright. Each is linear: bounded repeats, no nesting.
OUTRIGHT = (
    # new WebSocket("/chat"): relative addresses, https://websockets.spec.whatwg.org/#dom-websocket-websocket
    re.compile(rf"new\s+WebSocket\(\s*{QUOTE}{PATH}{QUOTE}"),
    # `wss://${location.host}/chat`, `${scheme}://${host}:${port}/chat`
    re.compile(rf"//\$\{{[^}}`]{{1,80}}\}}(?::\d{{1,5}}|:\$\{{[^}}`]{{1,80}}\}})?{PATH}`"),
    # "ws://" + location.host + "/chat", location.origin.replace(/^http/, "ws") + "/chat"
    re.compile(
        rf"location\.(?:host|hostname|origin|port|href)\b[^;\n]{{0,80}}?\+\s*{QUOTE}(?::\d{{1,5}})?{PATH}{QUOTE}"
    ),
)
ABSOLUTE = re.compile(rf"{QUOTE}wss?://([\w.\-\[\]:]{{1,260}}){PATH}{QUOTE}")
LONE_PATH = re.compile(rf"{QUOTE}{PATH}{QUOTE}")
HERE = {"localhost", "127.0.0.1", "[::1]", "0.0.0.0"}  # noqa: S104 - a name to compare with, nothing is bound


class Candidate(Struct, frozen=True):
    """A path that may be a WebSocket endpoint.

    Attributes:
        path: with its query.
        subprotocols: what the browser's client asks for; a server may insist.
        is_stated: the page itself names it, so that a refusal is a fault even when no handshake ever succeeds.
    """

    path: str
    subprotocols: tuple[str, ...] = ()
    is_stated: bool = False


SOCKET_IO = Candidate("/socket.io/?EIO=4&transport=websocket")
# Frameworks' own endpoints, asked for only when page and log name none: Next 16 and before, Vite, Rails, Socket.IO,
# webpack-dev-server, Phoenix, Streamlit, Blazor, and what examples call theirs.
KNOWN = (
    Candidate("/_next/hmr"),
    Candidate("/_next/webpack-hmr"),
    Candidate("/", ("vite-hmr",)),
    Candidate("/cable", ("actioncable-v1-json",)),
    SOCKET_IO,
    Candidate("/ws"),
    Candidate("/chat"),
    Candidate("/hmr"),
    Candidate("/socket"),
    Candidate("/websocket"),
    Candidate("/socket/websocket?vsn=2.0.0"),
    Candidate("/_stcore/stream"),
)

# Asked together with KNOWN: a server that opens this one opens all of them, and only "/" can stand for it.
NO_SUCH_PATH = Candidate("/devtls-asks-for-a-path-that-is-not-there")
ANY_PATH = Candidate("/")


def find_scripts(page: str) -> tuple[str, tuple[str, ...]]:
    """Return the page's inline scripts as one text, and the sources of the others, as written."""
    inline: list[str] = []
    sources: list[str] = []
    for attributes, text in SCRIPT.findall(page):
        source = SOURCE.search(attributes)
        if source is None:
            inline.append(text)
        else:
            sources.append(source[1].replace("&amp;", "&"))
    return "\n".join(inline), tuple(dict.fromkeys(sources))


def resolve_source(source: str, authority: str, page: str = "/") -> str | None:
    """Return the path of a script of the same origin, seen from the page; None for another origin."""
    from urllib.parse import urljoin, urlsplit

    try:
        address = urlsplit(urljoin(f"https://{authority}{page}", source))
    except ValueError:
        return None
    if address.scheme != "https" or address.netloc.lower() != authority.lower():
        return None
    return clean_path(address.path + (f"?{address.query}" if address.query else ""))


def find_candidates(text: str, domain: str) -> tuple[Candidate, ...]:
    """Return what a script names, the surest first."""
    found = [*_of_frameworks(text), *_outright(text, domain), *_nearby(text)]
    first: dict[str, Candidate] = {}
    for candidate in found:
        first.setdefault(candidate.path, candidate)
    return tuple(first.values())[:MOST_CANDIDATES]


def clean_path(path: str) -> str:
    """Return a path that can stand in a request line: absolute, ASCII, without a fragment."""
    from urllib.parse import quote

    path = path.partition("#")[0].strip()
    return quote(path if path.startswith("/") else f"/{path}", safe="/?=&%~+@:,;!*()[]$'-._")


def _outright(text: str, domain: str) -> Iterator[Candidate]:
    if "WebSocket" not in text:
        return
    for pattern in OUTRIGHT:
        for found in pattern.finditer(text):
            before = text[max(0, found.start() - 100) : found.end()]
            yield Candidate(found[1], is_stated="new WebSocket(" in before or "ws" in before[-len(found[0]) - 12 :])
    for host, path in ABSOLUTE.findall(text):
        if host.rpartition(":")[0] in {domain, *HERE} or host in {domain, *HERE}:
            yield Candidate(path, is_stated=host == domain)


def _nearby(text: str) -> Iterator[Candidate]:
    """Lone paths close to `new WebSocket(`: a hint, worth one handshake."""
    at = text.find("new WebSocket(")
    while at >= 0:
        for path in LONE_PATH.findall(text[max(0, at - NEARBY) : at + NEARBY]):
            if path != "/":
                yield Candidate(path)
        at = text.find("new WebSocket(", at + NEARBY)


def _of_frameworks(text: str) -> Iterator[Candidate]:
    if "vite-hmr" in text and (token := re.search(r"wsToken\s*=\s*[\"']([\w\-]{1,80})[\"']", text)):
        base = re.search(rf"socketHost\s*=\s*`[^`]{{0,200}}\$\{{[\"']{PATH}[\"']\}}", text)
        yield Candidate(f"{base[1] if base else '/'}?token={token[1]}", ("vite-hmr",), is_stated=True)
    if re.search(r"\bio(?:\.connect)?\(|socket\.io", text):
        own = re.search(rf"\bio(?:\.connect)?\([^)]{{0,200}}?\bpath\s*:\s*{QUOTE}{PATH}{QUOTE}", text)
        place = f"{own[1].rstrip('/')}/" if own else "/socket.io/"
        yield Candidate(f"{place}?EIO=4&transport=websocket")
    if "createConsumer(" in text or "actioncable" in text.lower():
        yield Candidate("/cable", ("actioncable-v1-json",))
    for path in re.findall(rf"new\s+SockJS\(\s*{QUOTE}{PATH}{QUOTE}", text):
        yield Candidate(f"{path.rstrip('/')}/websocket")
    for path in re.findall(rf"new\s+(?:\w{{1,20}}\.)?Socket\(\s*{QUOTE}{PATH}{QUOTE}\s*[,)]", text):
        yield Candidate(f"{path.rstrip('/')}/websocket?vsn=2.0.0")
    if "/_next/" in text:
        yield from KNOWN[:2]
