from __future__ import annotations

import pytest

from devtls.checks.wildcards import judge_wildcard, sample_of
from devtls.model import Verdict


def test_a_name_below_that_leads_here_is_as_it_should_be() -> None:
    check = judge_wildcard("*.love.cat", ("127.0.0.1", "::1"), is_answered=True)
    assert (check.verdict, check.fact) == (Verdict.PASSED, "each name below leads to 127.0.0.1 and ::1")
    assert sample_of("*.love.cat") == "devtls-check.love.cat"


@pytest.mark.parametrize(
    ("addresses", "words"),
    [((), "does not lead anywhere"), (("203.0.113.7",), "leads to 203.0.113.7"), (("127.0.0.1", "9.9.9.9"), "9.9.9.9")],
)
def test_served_and_not_resolved_is_told_with_who_is_at_fault(addresses: tuple[str, ...], words: str) -> None:
    gateway = judge_wildcard("*.love.cat", addresses, is_answered=False)
    resolved = judge_wildcard("*.love.cat", addresses, is_answered=True)
    for check in (gateway, resolved):
        assert check.verdict is Verdict.FAILED
        assert check.fact.startswith("served, not resolved: devtls-check.love.cat")
        assert words in check.fact
    assert (gateway.code, gateway.cure[-1]) == ("route-not-answered", "  sudo ss -lunp 'sport = :15353'")
    assert (resolved.code, resolved.cure[-1]) == ("route-not-taken", "  sudo systemctl restart systemd-resolved")
