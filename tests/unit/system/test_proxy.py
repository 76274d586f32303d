from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib import request

import pytest

from devtls.system.proxy import find_proxy, is_excepted, without_proxy

if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTS = ("love.cat", "love.cat.localhost")
OURS = "love.cat,love.cat.localhost,localhost,.localhost,127.0.0.1,::1"
PROXY = {"https_proxy": "http://proxy.corp:3128"}


@pytest.mark.parametrize(
    ("environment", "lower", "upper"),
    [
        (PROXY, OURS, OURS),
        ({"ALL_PROXY": "socks5://proxy.corp"}, OURS, OURS),
        ({**PROXY, "no_proxy": ".corp"}, f".corp,{OURS}", f".corp,{OURS}"),
        ({**PROXY, "NO_PROXY": ".corp 10.0.0.0/8"}, f".corp 10.0.0.0/8,{OURS}", f".corp 10.0.0.0/8,{OURS}"),
        ({**PROXY, "no_proxy": "a.corp", "NO_PROXY": "b.corp"}, f"a.corp,{OURS}", f"b.corp,{OURS}"),
        (
            {**PROXY, "no_proxy": "LOCALHOST,love.cat"},
            *["LOCALHOST,love.cat,love.cat.localhost,.localhost,127.0.0.1,::1"] * 2,
        ),
        ({**PROXY, "no_proxy": "*"}, "*", "*"),
        ({**PROXY, "no_proxy": " .corp, "}, f".corp,{OURS}", f".corp,{OURS}"),
    ],
)
def test_what_the_user_had_is_kept_and_what_is_served_here_is_added_in_both_spellings(
    environment: Mapping[str, str], lower: str, upper: str
) -> None:
    assert without_proxy(environment, HOSTS) == {"no_proxy": lower, "NO_PROXY": upper}


def test_names_are_added_once() -> None:
    first = without_proxy(PROXY, HOSTS)
    assert without_proxy({**PROXY, **first}, HOSTS) == first


@pytest.mark.parametrize("environment", [{}, {"https_proxy": ""}, {"no_proxy": "corp"}])
def test_without_a_proxy_nothing_is_set(environment: Mapping[str, str]) -> None:
    assert (find_proxy(environment), without_proxy(environment, HOSTS)) == (None, {})


def test_the_proxy_of_https_is_named_before_others() -> None:
    assert find_proxy({"http_proxy": "http://b", "HTTPS_PROXY": "http://a"}) == ("HTTPS_PROXY", "http://a")


@pytest.mark.parametrize(
    ("exceptions", "is_left"),
    [
        (["love.cat"], True),
        (["cat"], True),
        ([".cat"], True),
        (["*.cat"], True),
        (["LOVE.cat"], True),
        (["*"], True),
        (["ove.cat"], False),
        (["dog", "127.0.0.1", ""], False),
    ],
)
def test_an_exception_is_a_name_and_what_is_below_it(exceptions: list[str], *, is_left: bool) -> None:
    assert is_excepted("love.cat", exceptions) is is_left


@pytest.mark.parametrize("host", [*HOSTS, "localhost", "other.localhost", "127.0.0.1"])
def test_python_asks_no_proxy_for_them(host: str) -> None:
    variables = without_proxy({**PROXY, "no_proxy": ".corp"}, HOSTS)
    python: Any = request  # typeshed does not know what urllib asks
    assert python.proxy_bypass_environment(host, {"no": variables["no_proxy"]})
    assert python.proxy_bypass_environment("git.corp", {"no": variables["no_proxy"]})
    assert not python.proxy_bypass_environment("example.com", {"no": variables["no_proxy"]})
