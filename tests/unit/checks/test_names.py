from __future__ import annotations

import pytest

from devtls.checks.names import addresses_to_ask, judge_name, look_up
from devtls.model import Verdict


@pytest.mark.parametrize(
    ("host", "addresses", "code"),
    [
        ("love.cat", ("127.0.0.1",), ""),
        ("love.cat", ("::1", "127.0.0.1"), ""),
        ("love.cat", ("127.0.1.1",), ""),
        ("love.cat", (), "name-unknown"),
        ("love.cat", ("203.0.113.7",), "name-elsewhere"),
        ("love.cat", ("127.0.0.1", "203.0.113.7"), "name-elsewhere"),
        ("love.cat.localhost", (), ""),
        ("localhost", ("203.0.113.7",), ""),
    ],
)
def test_a_name_must_lead_to_this_machine_alone(host: str, addresses: tuple[str, ...], code: str) -> None:
    check = judge_name(host, addresses)
    assert check.code == code
    assert check.verdict is (Verdict.FAILED if code else Verdict.PASSED)
    assert bool(check.cure) == bool(code)
    if code:
        assert check.layer == "hosts"
        assert f"  echo '127.0.0.1 {host}' | sudo tee -a /etc/hosts" in check.cure


def test_nginx_is_asked_where_the_name_leads_or_else_on_this_machine() -> None:
    assert addresses_to_ask(("::1", "127.0.0.1"), "127.0.0.1") == ("::1", "127.0.0.1")
    assert addresses_to_ask(("203.0.113.7",), "127.0.0.1") == ("127.0.0.1",)
    assert addresses_to_ask((), "127.0.0.1") == ("127.0.0.1",)


def test_localhost_is_looked_up_as_programs_do() -> None:
    assert set(look_up("localhost")) & {"127.0.0.1", "::1"}
    assert look_up("not a name") == ()
