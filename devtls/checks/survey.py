"""The order in which a question is answered: names, page, WebSocket; all that can wait waits at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.checks import names, resolution, wildcards
from devtls.checks.case import Case, works
from devtls.checks.diagnose import judge_websocket
from devtls.checks.discover import Candidate, clean_path
from devtls.checks.endpoints import find_endpoints
from devtls.checks.https import REDIRECTS, Page, get, judge_page
from devtls.checks.preview import Preview
from devtls.checks.scene import SECOND_LOOK, Scene, probe_all, together
from devtls.checks.site import find_location
from devtls.checks.websocket import Handshake, probe
from devtls.checks.wire import Plain, Secure
from devtls.model import Check, Endpoint, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devtls.checks.observation import Observation
    from devtls.checks.question import Question

MOST_SEARCHED = 8  # domains of one app on which a WebSocket is looked for; a thousand would be asked 20,000 times
NOBODY_THERE = {"service-not-listening", "service-unreachable", "no-answer"}  # a page's codes


def survey(
    question: Question,
    previewed: Callable[[tuple[Check, ...]], None] = lambda _checks: None,
    noted: Callable[[Sequence[str]], tuple[Check, ...]] = lambda _hosts: (),
) -> tuple[Check, ...]:
    """Answer a question; the checks are in the order of its domains.

    `previewed` is called, at most once and from any thread, when all is green at the first pong. `noted` says what else
    is to be known of these names; that is told with either, last.
    """
    hosts = [domain.name for domain in question.domains]
    notes = _guard("proxies", lambda: noted(hosts))
    routed = tuple(check for each in question.wildcards for check in _ask_wildcard(each))
    preview = Preview(len(question.domains), lambda checks: previewed((*checks, *routed, *notes)))
    if any(check.verdict is not Verdict.PASSED for check in routed):
        preview.cancel()
    answers = together([_asking_about(question, number, preview) for number in range(len(question.domains))])
    return (*(check for checks in answers for check in checks), *routed, *notes)


def _ask_wildcard(wildcard: str) -> tuple[Check, ...]:
    return _guard(wildcard, lambda: (wildcards.ask_about(wildcard),))


def _asking_about(question: Question, number: int, preview: Preview) -> Callable[[], tuple[Check, ...]]:
    subject = f"https://{question.authority(question.domains[number])}"
    return lambda: _guard(subject, lambda: _survey_domain(question, number, preview))


def _guard(subject: str, call: Callable[[], tuple[Check, ...]]) -> tuple[Check, ...]:
    """A server can be odder than we thought of: what we stumble over is an answer, too."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - see above; the others' answers must not be lost
        fact = f"the check itself failed: {type(error).__name__}: {error}"
        cure = ("This is a fault of devtls; please report it with the line above.",)
        return (Check(subject, Verdict.UNKNOWN, fact, "unknown", "check-failed", cure),)


def _survey_domain(question: Question, number: int, preview: Preview) -> tuple[Check, ...]:
    domain = question.domains[number]
    addresses = names.look_up(domain.name)
    name = names.judge_name(domain.name, addresses)
    endpoints = tuple(Endpoint(each, question.port) for each in names.addresses_to_ask(addresses, question.address))
    direct = Plain(question.service) if question.service else None
    scene = Scene(question, domain, Secure(endpoints, domain), direct, preview, number)
    wrong: tuple[Check, ...] = ()
    if name.verdict is not Verdict.PASSED:
        wrong = (resolution.explain(name, addresses, resolution.read_resolver()),)
        preview.cancel()
    if question.websocket_path is not None:
        named = Candidate(clean_path(question.websocket_path), is_stated=True)
        preview.expect(number, (_url(scene, named),))
        page, websocket = together([lambda: (_ask_page(scene)[0],), _asking(scene, named)])
        return (*wrong, *page, *websocket)
    check, seen = _ask_page(scene)
    return (*wrong, check, *_guard(f"wss://{scene.authority}", lambda: _ask_found(scene, check, seen)))


def _ask_page(scene: Scene) -> tuple[Check, Observation]:
    seen = get(scene.gateway, scene.authority, "/", scene.deadline())
    tls_stands = seen.fault is None or seen.fault.layer == "service"
    direct = None
    if scene.direct is not None and tls_stands and not seen.is_answered:
        direct = get(scene.direct, scene.authority, "/", scene.deadline(SECOND_LOOK))
    page = judge_page(Page(f"{scene.origin}", scene.domain.name, seen, direct, scene.question.service))
    scene.preview.page(scene.number, page)
    return page, seen


def _ask_found(scene: Scene, page: Check, seen: Observation) -> tuple[Check, ...]:
    subject = f"wss://{scene.authority}"
    if seen.status is None or page.code in NOBODY_THERE:
        return (Check(subject, Verdict.UNKNOWN, f"not asked, since {page.subject} does not answer"),)
    if not scene.question.is_searched or scene.number >= MOST_SEARCHED or _leads_elsewhere(scene, seen):
        return ()
    found = find_endpoints(scene, seen)
    if not found:
        fact = "no WebSocket endpoint found; name it with --ws /path"
        return (Check(subject, Verdict.UNKNOWN, fact, code="ws-not-found", cure=("  devtls up --ws /path",)),)
    scene.preview.expect(scene.number, tuple(_url(scene, candidate) for candidate in found))
    answers = together([_asking(scene, candidate) for candidate in found])
    return tuple(check for checks in answers for check in checks)


def _leads_elsewhere(scene: Scene, seen: Observation) -> bool:
    """Whether the page is on another host: www.love.cat that redirects to love.cat has no WebSocket of its own."""
    place = seen.header("location") if seen.status in REDIRECTS else ""
    return place.startswith("https://") and place.split("/")[2] != scene.authority


def _url(scene: Scene, candidate: Candidate) -> str:
    return f"wss://{scene.authority}{candidate.path}"


def _asking(scene: Scene, candidate: Candidate) -> Callable[[], tuple[Check, ...]]:
    return lambda: _guard(_url(scene, candidate), lambda: (_ask_websocket(scene, candidate),))


def _ask_websocket(scene: Scene, candidate: Candidate) -> Check:
    """Ask as a browser; when that is red, ask the service itself in three ways at once."""
    browser = Handshake(scene.authority, candidate.path, scene.origin, candidate.subprotocols)
    url = _url(scene, candidate)

    def ponged(seen: Observation) -> None:
        scene.preview.pong(scene.number, url, judge_websocket(Case(url, scene.domain.name, candidate.path, seen)))

    seen = probe(scene.gateway, browser, scene.deadline(), ponged=ponged)
    if works(seen) and seen.ping is not None:
        return judge_websocket(Case(url, scene.domain.name, candidate.path, seen))
    direct = bare = local = None
    if scene.direct is not None and (seen.fault is None or seen.fault.layer == "service"):
        direct, bare, local = _ask_service(scene, candidate)
    site = scene.question.site
    return judge_websocket(
        Case(
            url,
            scene.domain.name,
            candidate.path,
            seen,
            direct,
            bare,
            local,
            scene.question.service,
            find_location(_read(scene), scene.domain.name, candidate.path),
            str(site) if site else "",
        )
    )


def _ask_service(scene: Scene, candidate: Candidate) -> list[Observation]:
    here = str(scene.question.service)
    asked = (
        Handshake(scene.authority, candidate.path, scene.origin, candidate.subprotocols),
        Handshake(scene.authority, candidate.path, None, candidate.subprotocols),
        Handshake(here, candidate.path, f"http://{here}", candidate.subprotocols),
    )
    return probe_all(scene, scene.direct or scene.gateway, asked)


def _read(scene: Scene) -> str:
    if scene.question.site is None:
        return ""
    try:
        return scene.question.site.read_text("utf-8", "replace")
    except OSError:  # evidence only: the probes stand without it
        return ""
