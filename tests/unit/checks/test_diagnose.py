from __future__ import annotations

import pytest
from msgspec.structs import replace

from devtls.checks.case import CONNECTION, UPGRADE, VERSION, Case, missing_lines
from devtls.checks.causes import RULES
from devtls.checks.diagnose import judge_websocket
from devtls.checks.observation import Fault, Observation
from devtls.checks.site import Location
from devtls.model import Endpoint, Verdict

OPEN = Observation(101, "Switching Protocols", ping=0.0004)
MUTE = Observation(101, "Switching Protocols")
NOT_FOUND = Observation(404, "Not Found", body=b"<title>Error</title><pre>Cannot GET /chat</pre>")
CLOSED = Observation(101, "Switching Protocols", ping=0.001, close_code=1008, close_reason="policy")
NOT_LISTENING = Observation(
    fault=Fault("service", "service-not-listening", "nothing listens on 127.0.0.1:3000", ("  devtls logs",))
)
BARE_WORD = Observation(fault=Fault("service", "not-http", "the answer is not HTTP: Unauthorized"))
SILENT = Observation(fault=Fault("service", "no-answer", "no answer within 3 s", ("  devtls logs",)))
WEBPACK = replace(OPEN, message='{"type":"error","data":"Invalid Host/Origin header"}')
BAD_ACCEPT = Observation(101, fault=Fault("service", "handshake-invalid", "a browser refuses this answer"))

GOOD = Location("location /", "1.1", (("upgrade", "$u"), ("connection", "$c"), ("host", "$http_host")), is_whole=True)
BROKEN = Location("location /", "", (("host", "$http_host"),), is_whole=True)
HOSTLESS = Location("location /", "1.1", (("upgrade", "$http_upgrade"), ("connection", "upgrade")), is_whole=True)
HIDDEN = replace(BROKEN, is_whole=False)


def case(
    gateway: Observation,
    direct: Observation | None = None,
    bare: Observation | None = None,
    local: Observation | None = None,
    location: Location | None = GOOD,
) -> Case:
    service = Endpoint("127.0.0.1", 3000)
    url = "wss://love.cat/chat"
    return Case(url, "love.cat", "/chat", gateway, direct, bare, local, service, location, "site.conf")


def status(code: int, body: bytes = b"", **headers: str) -> Observation:
    return Observation(code, body=body, headers=tuple(headers.items()))


@pytest.mark.parametrize(
    ("seen", "layer", "code"),
    [
        (case(NOT_FOUND, OPEN, OPEN, OPEN, BROKEN), "gateway", "ws-upgrade-missing"),
        (case(status(400), OPEN, OPEN, OPEN, BROKEN), "gateway", "ws-upgrade-missing"),
        (case(status(426), OPEN, OPEN, OPEN, BROKEN), "gateway", "ws-upgrade-missing"),
        (case(status(505), OPEN, OPEN, OPEN, BROKEN), "gateway", "ws-upgrade-missing"),
        (case(status(200, b"<html>"), OPEN, OPEN, OPEN, BROKEN), "gateway", "ws-upgrade-missing"),
        (case(NOT_FOUND, OPEN, OPEN, OPEN, None), "gateway", "ws-upgrade-missing"),
        (case(NOT_FOUND, OPEN, OPEN, OPEN, HIDDEN), "gateway", "ws-upgrade-missing"),
        (case(NOT_FOUND, location=BROKEN), "gateway", "ws-upgrade-missing"),
        (case(status(403), OPEN, OPEN, OPEN, HOSTLESS), "gateway", "host-lost"),
        (case(status(404), OPEN, OPEN, OPEN, HOSTLESS), "gateway", "host-lost"),
        (case(status(403), status(403), OPEN, OPEN), "origin", "origin-refused"),
        (case(status(502), BARE_WORD, OPEN, OPEN), "origin", "origin-refused"),
        (case(CLOSED, CLOSED, OPEN, OPEN), "origin", "origin-refused"),
        (case(status(400), status(400), status(400), OPEN), "service", "host-blocked"),
        (case(status(403, b"Blocked request. This host is not allowed")), "service", "host-blocked"),
        (case(WEBPACK, WEBPACK, WEBPACK, OPEN), "service", "host-blocked"),
        (case(status(502), NOT_LISTENING, NOT_LISTENING, NOT_LISTENING), "service", "service-unreachable"),
        (case(status(502), OPEN, OPEN, OPEN), "gateway", "upstream-unreachable"),
        (case(status(504), NOT_FOUND, NOT_FOUND, NOT_FOUND), "gateway", "upstream-unreachable"),
        (case(status(301, location="/chat/"), OPEN, OPEN, OPEN), "gateway", "ws-redirected"),
        (case(NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND), "service", "ws-path-unknown"),
        (case(status(401), status(401), status(401), status(401)), "service", "service-refuses"),
        (case(SILENT, SILENT, SILENT, SILENT), "service", "service-refuses"),
        (case(CLOSED, CLOSED, CLOSED, CLOSED), "service", "ws-closed"),
        (case(CLOSED, OPEN, OPEN, OPEN), "gateway", "ws-closed-by-gateway"),
        (case(WEBPACK), "service", "ws-closed"),
        (case(BAD_ACCEPT, BAD_ACCEPT), "service", "handshake-invalid"),
        (case(BAD_ACCEPT, OPEN), "gateway", "handshake-changed"),
        (case(MUTE, MUTE), "service", "ping-unanswered"),
        (case(SILENT), "service", "no-answer"),
        (case(status(418)), "unknown", "unknown"),
        (case(status(403), OPEN, OPEN, OPEN), "unknown", "unknown"),
    ],
)
def test_what_was_seen_names_the_layer_and_the_cause(seen: Case, layer: str, code: str) -> None:
    check = judge_websocket(seen)
    assert (check.verdict, check.layer, check.code) == (Verdict.FAILED, layer, code)
    assert check.fact
    assert check.cure


def test_an_open_websocket_is_green() -> None:
    check = judge_websocket(case(OPEN))
    assert (check.verdict, check.fact) == (Verdict.PASSED, "101 · ping 1 ms")
    assert (check.layer, check.code, check.cure, check.evidence) == ("", "", (), ())


def test_a_tls_fault_is_told_as_it_is() -> None:
    fault = Fault("certificate", "certificate-expired", "the certificate expired", ("  devtls up love.cat",), ("e",))
    check = judge_websocket(case(Observation(fault=fault)))
    assert (check.layer, check.code, check.fact, check.cure) == (fault.layer, fault.code, fault.fact, fault.cure)


def test_the_founding_fault_shows_its_proof_and_the_browsers_words() -> None:
    check = judge_websocket(case(NOT_FOUND, OPEN, OPEN, OPEN, BROKEN))
    assert check.fact == "404 through nginx, which does not pass the upgrade on, 101 direct"
    assert check.cure == ("Add to location / of site.conf:", f"  {VERSION}", f"  {UPGRADE}", f"  {CONNECTION}")
    assert check.evidence[0] == "through nginx: 404 Not Found: Cannot GET /chat"
    assert "the browser's console: Error during WebSocket handshake: Unexpected response code: 404" in check.evidence


def test_an_unknown_cause_says_what_was_ruled_out() -> None:
    check = judge_websocket(case(status(418)))
    assert "the cause is not known" in check.fact
    ruled_out = [line for line in check.evidence if line.startswith("ruled out: ")]
    assert len(ruled_out) == len([rule for rule in RULES if rule.rules_out])


def test_nextjs_gets_its_own_cure() -> None:
    seen = replace(case(status(502), BARE_WORD, OPEN, OPEN), path="/_next/hmr")
    assert judge_websocket(seen).cure[-1] == "  allowedDevOrigins: ['love.cat'],"


@pytest.mark.parametrize(
    ("location", "missing"),
    [
        (GOOD, ()),
        (BROKEN, (VERSION, UPGRADE, CONNECTION)),
        (replace(GOOD, http_version=""), (VERSION,)),
        (replace(GOOD, http_version="1.0"), (VERSION,)),
        (replace(GOOD, headers=(("upgrade", "$http_upgrade"),)), (CONNECTION,)),
        (replace(GOOD, headers=(("upgrade", "$http_upgrade"), ("connection", ""))), (CONNECTION,)),
        (replace(GOOD, headers=(("upgrade", "$http_upgrade"), ("connection", "$http_upgrade"))), (CONNECTION,)),
        (replace(GOOD, headers=(("upgrade", ""), ("connection", "Upgrade"))), (UPGRADE,)),
        (HIDDEN, (VERSION, UPGRADE, CONNECTION)),
        (None, (VERSION, UPGRADE, CONNECTION)),
    ],
)
def test_only_missing_lines_are_named(location: Location | None, missing: tuple[str, ...]) -> None:
    assert missing_lines(location) == missing


def test_every_cause_has_a_name_of_its_own() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
