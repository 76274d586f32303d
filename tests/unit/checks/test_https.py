from __future__ import annotations

import pytest
from msgspec.structs import replace

from devtls.checks.https import Page, judge_page
from devtls.checks.observation import Fault, Observation
from devtls.model import Endpoint, Verdict

FINE = Observation(200, "OK", seconds=0.0113, valid_until="2026-12-22")
REFUSED = Observation(fault=Fault("service", "service-not-listening", "nothing listens on 127.0.0.1:3000", ("c",)))
SILENT = Observation(fault=Fault("service", "no-answer", "no answer within 10 s", ("c",)))
BROKEN_TLS = Observation(fault=Fault("gateway", "port-hijacked", "something else answers", ("c",), ("e",)))


def page(gateway: Observation, direct: Observation | None = None) -> Page:
    return Page("https://love.cat", "love.cat", gateway, direct, Endpoint("127.0.0.1", 3000))


def test_an_answer_is_shown_with_its_time_and_the_last_day_of_the_certificate() -> None:
    check = judge_page(page(FINE))
    assert (check.verdict, check.fact) == (Verdict.PASSED, "200 in 12 ms · certificate valid until 2026-12-22")


@pytest.mark.parametrize("status", [204, 301, 401, 404, 499])
def test_any_status_below_500_counts_as_answered(status: int) -> None:
    check = judge_page(page(Observation(status)))
    assert check.verdict is Verdict.PASSED
    assert check.fact.startswith(f"{status} in ")


def test_a_redirect_shows_where_it_leads_without_control_characters() -> None:
    seen = replace(FINE, status=302, headers=(("location", "/login\x1b[31m"),))
    assert judge_page(page(seen)).fact.startswith("302 to /login·[31m in 12 ms")


@pytest.mark.parametrize(
    ("gateway", "direct", "layer", "code"),
    [
        (Observation(502), REFUSED, "service", "service-not-listening"),
        (Observation(502), FINE, "gateway", "upstream-unreachable"),
        (Observation(500), Observation(500), "service", "service-error"),
        (Observation(500), None, "service", "service-error"),
        (SILENT, SILENT, "service", "no-answer"),
        (SILENT, FINE, "gateway", "upstream-unreachable"),
        (BROKEN_TLS, None, "gateway", "port-hijacked"),
        (Observation(403, body=b"Blocked request. This host is not allowed."), None, "service", "host-blocked"),
    ],
)
def test_a_page_that_does_not_work_names_the_layer(
    gateway: Observation, direct: Observation | None, layer: str, code: str
) -> None:
    check = judge_page(page(gateway, direct))
    assert (check.verdict, check.layer, check.code) == (Verdict.FAILED, layer, code)
    assert check.cure
