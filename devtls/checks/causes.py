"""The catalogue of causes: what a WebSocket's failure looks like, who is at fault, and what cures it; pure.

The first rule that applies names the cause; a new cause is a new `Rule` at its place in `RULES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.checks.case import CONNECTION, UPGRADE, VERSION, Case, Rule, fails, is_error_message, missing_lines, works
from devtls.checks.https import HOST_GATES, REDIRECTS, cure_host_gate
from devtls.checks.observation import SWITCHING

if TYPE_CHECKING:
    from devtls.checks.observation import Observation

NO_CODE = 1005  # RFC 6455 §7.1.5: a close frame without a status code
NGINX_CANNOT_REACH = {502, 503, 504}
HOST_VALUES = {"$host", "$http_host"}


def _is_host_gate(case: Case) -> bool:
    """The name is refused, with or without Origin; the service's own address is not."""
    told = any(gate in seen.body for seen in (case.gateway, case.direct) if seen is not None for gate in HOST_GATES)
    return told or (works(case.local) and fails(case.direct) and fails(case.bare))


def _is_origin_gate(case: Case) -> bool:
    return works(case.bare) and fails(case.direct)


def _is_upgrade_missing(case: Case) -> bool:
    if case.gateway.status is None or case.gateway.is_switched or case.gateway.status in {401, 403, *REDIRECTS}:
        return False
    location = case.location
    if case.direct is None:  # nothing to compare with: then the text alone must be certain
        return location is not None and location.is_whole and len(missing_lines(location)) > 0
    known_good = location is not None and location.is_whole and not missing_lines(location)
    return works(case.direct) and not known_good and case.gateway.status not in NGINX_CANNOT_REACH


def _is_host_lost(case: Case) -> bool:
    location = case.location
    if location is None or not location.is_whole or location.header("host") in HOST_VALUES:
        return False
    return case.direct is None or works(case.direct)


def _is_redirect(case: Case) -> bool:
    return case.gateway.status in REDIRECTS


def _is_not_listening(case: Case) -> bool:
    fault = case.direct.fault if case.direct else None
    return fault is not None and fault.code in {"service-not-listening", "service-unreachable"}


def _is_cut_off(case: Case) -> bool:
    """Through nginx nothing comes back, direct all is well."""
    return case.gateway.status in NGINX_CANNOT_REACH and (case.direct is None or case.direct.status is not None)


def _is_refused_by_service(case: Case) -> bool:
    return case.gateway.status != SWITCHING and case.direct is not None and not case.direct.is_switched


def _closes(case: Case) -> bool:
    return case.gateway.is_switched and (case.gateway.close_code is not None or is_error_message(case.gateway))


def _breaks_rules(case: Case) -> bool:
    return case.gateway.fault is not None and case.gateway.status is not None


def _is_mute(case: Case) -> bool:
    return case.gateway.is_open and case.gateway.ping is None


def _cure_upgrade(case: Case) -> tuple[str, ...]:
    lines = missing_lines(case.location) or (VERSION, UPGRADE, CONNECTION)
    where = case.location.heading if case.location else f"the location that serves {case.path}"
    place = f"{where} of {case.site}" if case.site else f"{where} in the nginx configuration"
    return (f"Add to {place}:", *(f"  {line}" for line in lines))


def _cure_origin(case: Case) -> tuple[str, ...]:
    if case.path.startswith("/_next/"):
        return ("Let Next.js accept this origin, in next.config.js:", f"  allowedDevOrigins: ['{case.domain}'],")
    return (
        f"Add https://{case.domain} to the origins that the app accepts.",
        "Rails: config.action_cable.allowed_request_origins · Django: ALLOWED_HOSTS · Socket.IO: cors.origin",
    )


def _cure_host(case: Case) -> tuple[str, ...]:
    where = case.location.heading if case.location else "the location"
    return (f"Add to {where} of {case.site}:", "  proxy_set_header Host $http_host;")


def _cure_logs(_case: Case) -> tuple[str, ...]:
    return ("Look at the app's output for this handshake:", "  devtls logs")


def _cure_path(case: Case) -> tuple[str, ...]:
    return (f"{case.path} may not be the WebSocket's path; name the right one:", "  devtls up --ws /path")


def _cure_service(case: Case) -> tuple[str, ...]:
    fault = case.direct.fault if case.direct else None
    return fault.cure if fault and fault.cure else _cure_logs(case)


def _cure_closing(case: Case) -> tuple[str, ...]:
    """express-ws opens any path and closes, without a code, those that it does not know."""
    return (*_cure_path(case), *_cure_logs(case)) if case.gateway.close_code == NO_CODE else _cure_logs(case)


def _quote(seen: Observation | None) -> str:
    return seen.describe() if seen else ""


def _closing_fact(case: Case) -> str:
    seen = case.gateway
    told = seen.message if is_error_message(seen) else seen.describe_close()
    return f"101, but right after it: {told}"


RULES = (
    Rule(
        "service",
        "host-blocked",
        _is_host_gate,
        lambda case: f"the service refuses the host {case.domain}: {_quote(case.direct or case.gateway)}",
        lambda case: cure_host_gate(case.domain),
        "the service does not refuse the host name alone",
    ),
    Rule(
        "origin",
        "origin-refused",
        _is_origin_gate,
        lambda case: f"the service refuses the origin https://{case.domain}: {_quote(case.direct)}",
        _cure_origin,
        "the service does not refuse the origin alone",
    ),
    Rule(
        "gateway",
        "ws-upgrade-missing",
        _is_upgrade_missing,
        lambda case: (
            f"{case.gateway.status} through nginx, which does not pass the upgrade on"
            + (", 101 direct" if case.direct else "")
        ),
        _cure_upgrade,
        "nginx is told to pass the upgrade on, or nothing shows that it is not",
    ),
    Rule(
        "gateway",
        "host-lost",
        lambda case: _is_host_lost(case) and not case.gateway.is_switched and not _is_redirect(case),
        lambda case: f"{_quote(case.gateway)}: nginx does not pass the host name on",
        _cure_host,
        "nginx passes the host name on, or nothing shows that it does not",
    ),
    Rule(
        "service",
        "service-unreachable",
        lambda case: _is_not_listening(case) and not case.gateway.is_switched,
        lambda case: f"{case.gateway.status or 'no answer'} through nginx: {_quote(case.direct)}",
        _cure_service,
        "the service answers",
    ),
    Rule(
        "gateway",
        "upstream-unreachable",
        _is_cut_off,
        lambda case: (
            f"{case.gateway.status}: nginx cannot reach the service"
            + (f", although {case.service} answers" if case.direct else "")
        ),
        lambda _case: ("Compare proxy_pass in the nginx configuration with the address that the app listens on.",),
    ),
    Rule(
        "gateway",
        "ws-redirected",
        lambda case: _is_redirect(case) and (case.direct is None or case.direct.status not in REDIRECTS),
        lambda case: f"{case.gateway.status} to {case.gateway.header('location')}: browsers do not follow it",
        lambda case: (f"Make one location serve {case.path} itself, without a trailing slash in its prefix.",),
    ),
    Rule(
        "service",
        "ws-path-unknown",
        lambda case: _is_refused_by_service(case) and case.direct is not None and case.direct.status in {200, 404},
        lambda case: f"the service has no WebSocket at {case.path}: {_quote(case.direct)}",
        _cure_path,
    ),
    Rule(
        "service",
        "service-refuses",
        _is_refused_by_service,
        lambda case: f"the service refuses, asked directly too: {_quote(case.direct)}",
        _cure_logs,
    ),
    Rule(
        "service",
        "handshake-invalid",
        lambda case: _breaks_rules(case) and not works(case.direct),
        lambda case: case.gateway.fault.fact if case.gateway.fault else "",
        _cure_logs,
    ),
    Rule(
        "gateway",
        "handshake-changed",
        _breaks_rules,
        lambda case: case.gateway.fault.fact if case.gateway.fault else "",
        lambda _case: ("nginx changes the answer; look for proxy_hide_header and proxy_set_header Sec-WebSocket-*.",),
    ),
    Rule(
        "gateway",
        "ws-closed-by-gateway",
        lambda case: _closes(case) and works(case.direct),
        lambda case: f"{_closing_fact(case)}; direct it stays open",
        lambda _case: ("Look at the path that proxy_pass makes of this one: a URI in proxy_pass replaces the prefix.",),
    ),
    Rule("service", "ws-closed", _closes, _closing_fact, _cure_closing),
    Rule("service", "ping-unanswered", _is_mute, lambda _case: "101, but a ping gets no pong", _cure_logs),
    Rule(
        "service",
        "no-answer",
        lambda case: case.gateway.status is None and not works(case.direct),
        lambda case: _quote(case.gateway),
        _cure_logs,
    ),
)
