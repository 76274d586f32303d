"""One GET as a browser sends it, and what its answer says about the page."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.checks import http1
from devtls.checks.observation import Fault, Observation, ProbeError
from devtls.checks.wire import Deadline, Plain, Stream, Way, connect
from devtls.model import Check, Verdict

if TYPE_CHECKING:
    from devtls.model import Endpoint

PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"  # what Chromium and Firefox accept of a page
BODY_PATIENCE = 2.0  # seconds; the body is only read for the WebSocket paths in it
REDIRECTS = range(300, 400)
# The development servers' own words: Vite 5.4.12 and later, webpack-dev-server 4 and 5.
HOST_GATES = (b"Blocked request. This host", b"Invalid Host header", b"Invalid Host/Origin header")


class Page(Struct, frozen=True):
    """What was seen of a page: through nginx, and straight from the service when that did not go well."""

    url: str
    domain: str
    gateway: Observation
    direct: Observation | None = None
    service: Endpoint | None = None


def get(way: Way, authority: str, path: str, deadline: Deadline, most: int = http1.MOST_BODY) -> Observation:
    """Ask for `path`, follow nothing, and keep at most `most` bytes of the body."""
    started = time.perf_counter()
    try:
        with connect(way, deadline) as connection:
            connection.sendall(http1.render_get(path, _headers(way, authority)))
            stream = Stream(connection, deadline)
            head = http1.read_head(stream)
            seconds = time.perf_counter() - started
            stream.deadline = deadline.sooner(BODY_PATIENCE)
            body = http1.read_body(stream, head, most)
            return Observation(head.status, head.reason, head.headers, body, seconds, _last_day(way, connection))
    except ProbeError as error:
        return Observation(seconds=time.perf_counter() - started, fault=error.fault)
    except OSError as error:
        fault = http1.closed_early(f"the connection broke: {error.strerror or error}")
        return Observation(seconds=time.perf_counter() - started, fault=fault)


def forwarded(authority: str) -> tuple[tuple[str, str], ...]:
    """The headers that a correct proxy adds; a direct probe sends them, so that only the proxy differs."""
    host, _, port = authority.partition(":")
    return (
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", host if not port else authority),
        ("X-Forwarded-Port", port or "443"),
    )


def judge_page(page: Page) -> Check:
    """Say whether the page works, and who is at fault when not; pure."""
    seen = page.gateway
    if seen.fault is not None and not _is_service_fault(seen.fault):
        return _red(page, seen.fault)
    if seen.is_answered and not any(gate in seen.body for gate in HOST_GATES):
        return Check(page.url, Verdict.PASSED, _fact(seen))
    if seen.is_answered:
        return _red(page, _host_gate(page))
    return _red(page, _broken(page))


def format_seconds(seconds: float) -> str:
    """Whole milliseconds, never 0: "12 ms"."""
    return f"{max(1, math.ceil(seconds * 1000))} ms"


def _headers(way: Way, authority: str) -> tuple[tuple[str, str], ...]:
    added = forwarded(authority) if isinstance(way, Plain) else ()
    return (
        ("Host", authority),
        ("User-Agent", http1.BROWSER),
        ("Accept", PAGE),
        ("Accept-Encoding", "identity"),
        ("Accept-Language", "en"),
        ("Connection", "close"),
        *added,
    )


def _last_day(way: Way, connection: object) -> str:
    if isinstance(way, Plain):
        return ""
    import ssl

    from devtls.checks.tls import last_day

    return last_day(connection) if isinstance(connection, ssl.SSLSocket) else ""


def _fact(seen: Observation) -> str:
    status = str(seen.status)
    if seen.status in REDIRECTS and (place := seen.header("location")):
        from devtls.checks.observation import printable

        status = f"{status} to {printable(place)}"
    until = f" · certificate valid until {seen.valid_until}" if seen.valid_until else ""
    return f"{status} in {format_seconds(seen.seconds)}{until}"


def _is_service_fault(fault: Fault) -> bool:
    return fault.layer == "service"


def _host_gate(page: Page) -> Fault:
    return Fault("service", "host-blocked", f"{page.gateway.status}: {page.gateway.quote}", cure_host_gate(page.domain))


def cure_host_gate(domain: str) -> tuple[str, ...]:
    """What lets a development server accept a domain."""
    return (
        f"The development server does not accept the host {domain}. For Vite, in vite.config:",
        f"  server: {{ allowedHosts: ['{domain}'] }}",
        "For webpack-dev-server, in devServer:",
        f"  allowedHosts: ['{domain}']",
    )


def _broken(page: Page) -> Fault:
    """A 5xx, or no answer although TLS stands: the service's own answer tells whose fault it is."""
    seen, direct = page.gateway, page.direct
    evidence: tuple[str, ...] = (f"through nginx: {seen.describe()}",)
    logs = ("Look at the app's output:", "  devtls logs")
    if direct is None:
        return Fault("service", "service-error", seen.describe(), logs, evidence)
    evidence = (*evidence, f"direct to {page.service}: {direct.describe()}")
    if direct.fault is not None:
        return Fault("service", direct.fault.code, f"{_short(seen)}: {direct.fault.fact}", direct.fault.cure, evidence)
    if direct.is_answered:
        cure = ("Compare proxy_pass in the nginx configuration with the address that the app listens on.",)
        fact = f"{_short(seen)} through nginx, but {direct.status} from the app itself"
        return Fault("gateway", "upstream-unreachable", fact, cure, evidence)
    return Fault("service", "service-error", f"the app fails: {direct.describe()}", logs, evidence)


def _short(seen: Observation) -> str:
    return str(seen.status) if seen.status is not None else seen.describe()


def _red(page: Page, fault: Fault) -> Check:
    return Check(page.url, Verdict.FAILED, fault.fact, fault.layer, fault.code, fault.cure, fault.evidence)
