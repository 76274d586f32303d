"""What answers below a path or at a host: the words of --route, --redirect, --root and --header."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from devtls.errors import UsageError
from devtls.model import Endpoint, External, Files, Redirect, Route, Scheme, UnixSocket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.model import Target

HIGHEST_PORT = 65535

PREFIX = re.compile(r"/[A-Za-z0-9._~!&'()*+,=:@/-]*")  # RFC 3986 pchar, less what nginx or a reader would stumble on
SERVER = re.compile(r"(?:(https?|grpcs?)://)?(?:(127\.\d+\.\d+\.\d+|localhost|\[::1\]):)?(\d{1,5})(/?)")
SOCKET = re.compile(r"(?:(https?|grpcs?)\+)?unix:(/[^$:,\x00-\x1f\x7f]*[^$:,/\x00-\x1f\x7f])(/?)")
LONGEST_SOCKET = 107  # bytes; sun_path of unix(7) less the final NUL
ELSEWHERE_URL = re.compile(r"https://([A-Za-z0-9.*-]+(?::\d{1,5})?)(/[A-Za-z0-9._~!&()*+,=:@/%?-]*)?")
UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#%&'*+.^_`|~-]+")  # RFC 9110 §5.6.2, less the $ that nginx reads
# Between two hops, or nginx' own: RFC 9110 §7.6.1. One that is set by hand breaks the connection that carries it.
NOBODYS_HEADERS = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    "sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol", "date", "server", "x-devtls",
})  # fmt: skip

HEADER_CURE = ("Give a name and a value:", '  --header "X-Frame-Options: DENY"')


def parse_routes(
    routes: Sequence[str], redirects: Sequence[str], domains: Sequence[str], directory: Path
) -> list[Route]:
    """Return all routes but the app's own, in the order given; the target of a command is its text.

    Raises:
        UsageError: with the one at fault.
    """
    made = [_parse_route(text, domains, directory) for text in routes]
    made += [_parse_redirect(text, domains) for text in redirects]
    for number, route in enumerate(made):
        if any((each.host, each.prefix) == (route.host, route.prefix) for each in made[:number]):
            raise UsageError(
                f"the route {route.host}{route.prefix} is given twice", "Give each host and path prefix once."
            )
    return made


def _parse_route(text: str, domains: Sequence[str], directory: Path) -> Route:
    place, _equals, words = text.partition("=")
    parsed = _parse_place(place, domains)
    if not parsed or not words.strip():
        raise UsageError(
            f"{text!r} is not a route",
            "Give a path or a host, and a port, an address, a folder or a command:",
            "  --route /api=8080",
            "  --route /api=8080/                  # the slash at the end: without /api",
            "  --route api.love.cat=grpc://127.0.0.1:50051",
            "  --route /docs=site",
            '  --route "/api=python api.py"',
        )
    target, is_stripped = _parse_target(words.strip(), directory)
    host, prefix = parsed
    return Route(prefix, target, host, is_stripped)


def _parse_redirect(text: str, domains: Sequence[str]) -> Route:
    place, _equals, to = text.partition("=")
    parsed, destination = _parse_place(place, domains), parse_destination(to, domains)
    if not parsed or not destination:
        raise UsageError(
            f"{text!r} is not a redirect",
            "Give what is asked for, and where it has gone: a path, a domain of this project, or an https URL:",
            "  --redirect /old=/new",
            "  --redirect www.love.cat=love.cat",
        )
    host, prefix = parsed
    return Route(prefix, destination, host)


def parse_destination(text: str, domains: Sequence[str]) -> Redirect | None:
    """Where a redirect leads: a path, a domain of the project or an https URL; None when it is nothing of these."""
    if text in domains:
        return Redirect(domain=text)
    if ELSEWHERE_URL.fullmatch(text) or (PREFIX.fullmatch(text) and not text.startswith("//")):
        return Redirect(text.rstrip("/"))
    return None


def parse_prefix(text: str) -> str | None:
    """A path without the slash at its end, but for "/" itself; None when it is no path that a route can have."""
    return text.rstrip("/") or "/" if PREFIX.fullmatch(text) else None


def _parse_place(text: str, domains: Sequence[str]) -> tuple[str, str] | None:
    """The host and the path prefix of a route, "api.love.cat/v2"; None when it has neither.

    Raises:
        UsageError: the host is another project's, or it is where the app is.
    """
    host, _slash, path = text.partition("/")
    prefix = parse_prefix(f"/{path}")
    if not text or prefix is None:
        return None
    if host and host not in domains:
        raise UsageError(
            f"{host} is no domain of this project", "Name it, too:", f"  devtls up {' '.join(domains)} {host} …"
        )
    if prefix == "/" and not host:
        raise UsageError("the route / is the app's", "Give the app with --app or --root, or another path or host.")
    return host, prefix


def _parse_target(text: str, directory: Path) -> tuple[Target, bool]:
    """Somebody else's server, a folder, or the text of a command; and whether the prefix is taken off."""
    if server := parse_server(text):
        return server
    if "://" in text:
        raise UsageError(
            f"{text} is not on this machine",
            "A route leads to this machine: http, https, grpc or grpcs, 127.0.0.1, localhost or [::1], and a port:",
            "  --route /api=https://127.0.0.1:8443",
        )
    if (directory / text).is_dir():
        return Files(parse_root(text, directory)), False
    return text, False


def parse_server(text: str) -> tuple[External, bool] | None:
    """Somebody else's server, and whether a slash at the end takes the prefix off; None when it is no address.

    Raises:
        UsageError: it is one that cannot be.
    """
    if socket := SOCKET.fullmatch(text):
        if len(socket[2].encode()) > LONGEST_SOCKET:
            raise UsageError(f"the path {socket[2]} is too long for a socket", "Put it where the path is shorter.")
        return External(UnixSocket(socket[2]), Scheme(socket[1] or "http")), bool(socket[3])
    if server := SERVER.fullmatch(text):
        host = {None: "127.0.0.1", "localhost": "127.0.0.1", "[::1]": "::1"}.get(server[2], server[2])
        if not 0 < int(server[3]) <= HIGHEST_PORT:
            raise UsageError(f"{server[3]} is not a port", "Ports are 1 to 65535.")
        return External(Endpoint(host, int(server[3])), Scheme(server[1] or "http")), bool(server[4])
    return None


def parse_root(text: str, directory: Path) -> Path:
    """Return the folder whose files are served, absolute.

    Raises:
        UsageError: it is none.
    """
    root = find_folder(text, directory)
    see_that_nginx_can_name(root)
    return root


def find_folder(text: str, directory: Path) -> Path:
    """Return a folder, absolute and without links.

    Raises:
        UsageError: it is none.
    """
    root = Path(os.path.realpath(directory / text))  # Path.resolve raises at a link to itself
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir raises at a name that is too long
        raise UsageError(
            f"{text!r} is not a folder", "Build it first, or correct its name; this shows what is there:", "  ls"
        )
    return root


def see_that_nginx_can_name(folder: Path) -> None:
    """See that files can be served from a folder.

    Raises:
        UsageError: its name has what nginx cannot say.
    """
    if UNSPEAKABLE.search(str(folder)):
        raise UsageError(f"nginx cannot name the folder {str(folder)!r}", "Move it below a plain name.")


def parse_header(text: str) -> tuple[str, str]:
    """Return name and value of a response header; an empty value takes the app's out.

    Raises:
        UsageError: it is none, or not ours to set.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(f"{text!r} is not a header", *HEADER_CURE)
    return make_header(name.strip(), value.strip())


def make_header(name: str, value: str) -> tuple[str, str]:
    """Return a response header.

    Raises:
        UsageError: it is none, or not ours to set.
    """
    if not HEADER_NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not the name of a header", *HEADER_CURE)
    if name.lower() in NOBODYS_HEADERS:
        raise UsageError(f"the header {name} belongs to the connection itself", "Leave it to nginx.")
    if not value.isprintable() or not value.isascii():
        raise UsageError(f"the header {name} has a character that headers cannot have", "Use ASCII.")
    return name, value
