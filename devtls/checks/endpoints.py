"""Finding a page's WebSocket endpoints by asking: its scripts, the access log, what frameworks use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.checks import http1
from devtls.checks.discover import (
    ANY_PATH,
    KNOWN,
    MOST_CANDIDATES,
    MOST_SCRIPTS,
    NO_SUCH_PATH,
    Candidate,
    clean_path,
    find_candidates,
    find_scripts,
    resolve_source,
)
from devtls.checks.https import REDIRECTS, get
from devtls.checks.scene import SECOND_LOOK, Scene, probe_all, together
from devtls.checks.websocket import Handshake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from devtls.checks.observation import Observation
    from devtls.checks.wire import Way

MOST_ENDPOINTS = 3
SCRIPT_BYTES = http1.MOST_BODY // 2  # eight scripts: 1 MiB


def find_endpoints(scene: Scene, seen: Observation) -> tuple[Candidate, ...]:
    """Return what answers as a WebSocket; else what the page insists on; else nothing."""
    page = _follow(scene, seen).body.decode("utf-8", "replace")
    inline, sources = find_scripts(page)
    own = [path for source in sources if (path := resolve_source(source, scene.authority))][:MOST_SCRIPTS]
    scripts = together([_fetching(scene, path) for path in own])
    text = "\n".join([inline, *sources, *(found.body.decode("utf-8", "replace") for found in scripts)])
    logged = [Candidate(clean_path(path)) for path in scene.question.seen_paths[:MOST_CANDIDATES]]
    named = _unique([*find_candidates(text, scene.domain.name), *logged])
    known = [candidate for candidate in KNOWN if candidate.path not in {each.path for each in named}]
    stated = [candidate for candidate in named if candidate.is_stated]
    return tuple((_answering(scene, named) or stated[:1] or _guess(scene, known))[:MOST_ENDPOINTS])


def _guess(scene: Scene, known: list[Candidate]) -> list[Candidate]:
    found = _answering(scene, [*known, NO_SUCH_PATH])
    return [ANY_PATH] if NO_SUCH_PATH in found else found


def _follow(scene: Scene, seen: Observation) -> Observation:
    """One redirect within the origin, as to /login: only to read the scripts of the page behind it."""
    if seen.status not in REDIRECTS:
        return seen
    place = resolve_source(seen.header("location"), scene.authority)
    return seen if place is None else get(scene.gateway, scene.authority, place, scene.deadline(SECOND_LOOK))


def _fetching(scene: Scene, path: str) -> Callable[[], Observation]:
    return lambda: get(scene.gateway, scene.authority, path, scene.deadline(SECOND_LOOK), SCRIPT_BYTES)


def _unique(candidates: Iterable[Candidate]) -> list[Candidate]:
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.path, candidate)
    return list(first.values())[:MOST_CANDIDATES]


def _answering(scene: Scene, candidates: list[Candidate]) -> list[Candidate]:
    """Those at which a WebSocket opens, or is refused in the words of a WebSocket server."""
    way: Way = scene.direct or scene.gateway
    origins = (scene.origin, None)
    first, second = (
        [Handshake(scene.authority, each.path, origin, each.subprotocols) for each in candidates] for origin in origins
    )
    seen = probe_all(scene, way, first, guess=True)
    refused = [index for index, found in enumerate(seen) if is_refusal(found)]
    bare = dict(zip(refused, probe_all(scene, way, [second[index] for index in refused], guess=True), strict=True))
    return [
        each
        for index, each in enumerate(candidates)
        if is_endpoint(seen[index]) or (index in bare and bare[index].is_open)
    ]


def is_endpoint(seen: Observation) -> bool:
    """Whether a WebSocket server is there; express-ws opens any path and at once closes those that it does not know."""
    if seen.is_open or seen.status == 426:  # noqa: PLR2004 - Upgrade Required, RFC 9110 §15.5.22
        return True
    return not seen.is_switched and bool(seen.header("sec-websocket-version"))


def is_refusal(seen: Observation) -> bool:
    """Whether it may be a gate for browsers: Next.js answers a foreign origin with a bare word, not HTTP."""
    return seen.status in {400, 401, 403, 502} or (seen.fault is not None and seen.fault.code == "not-http")
