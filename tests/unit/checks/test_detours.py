from __future__ import annotations

import shlex

import pytest

from devtls.checks.detours import Detour, Origin, judge_detours
from devtls.model import Verdict

PROXY = "the proxy proxy.corp:3128"


def detour(origin: Origin, *exceptions: str, is_script: bool = False) -> Detour:
    return Detour(origin, "proxy of somebody", PROXY, "/some/file", exceptions, is_script)


@pytest.mark.parametrize(
    ("origin", "cure"),
    [
        (Origin.ENVIRONMENT, '  eval "$(devtls env)"'),
        (Origin.GNOME, "  gsettings set org.gnome.system.proxy ignore-hosts \"['.corp', 'love.cat']\""),
        (
            Origin.KDE,
            "  kwriteconfig6 --file kioslaverc --group 'Proxy Settings' --key NoProxyFor .corp,love.cat",
        ),
        (Origin.POLICY, '  "ProxyBypassList": ".corp;love.cat"'),
        (Origin.FIREFOX, "  network.proxy.no_proxies_on = .corp, love.cat"),
        (Origin.RESOLVER, "  network.trr.exclude-etc-hosts = true"),
    ],
)
def test_each_setting_has_a_cure_of_its_own_that_keeps_what_it_had(origin: Origin, cure: str) -> None:
    (check,) = judge_detours([detour(origin, ".corp")], ["love.cat"])
    assert (check.verdict, check.layer) == (Verdict.NOTED, "proxy")
    assert cure in check.cure
    assert "love.cat" in check.fact
    assert PROXY in check.fact
    assert check.evidence == ("/some/file",)


def test_what_a_shell_would_do_something_with_is_quoted() -> None:
    (check,) = judge_detours([detour(Origin.GNOME, "$(reboot)")], ["love.cat"])
    argv = shlex.split(check.cure[-1])
    assert argv[-1] == "['$(reboot)', 'love.cat']"
    assert "'[" in check.cure[-1]


@pytest.mark.parametrize("origin", list(Origin))
def test_a_name_that_is_excepted_is_not_told(origin: Origin) -> None:
    assert judge_detours([detour(origin, "love.cat")], ["love.cat"]) == ()
    assert judge_detours([detour(origin, "*")], ["love.cat"]) == ()
    assert judge_detours([], ["love.cat"]) == ()


def test_only_the_names_that_are_taken_are_told() -> None:
    (check,) = judge_detours([detour(Origin.FIREFOX, "love.cat")], ["love.cat", "purr.cat", "purr.cat.localhost"])
    assert "purr.cat," in check.fact
    assert "love.cat" not in check.fact
    assert "localhost" not in check.fact


def test_browsers_ask_nobody_about_names_below_localhost_and_programs_do() -> None:
    hosts = ["localhost", "love.cat.localhost"]
    assert judge_detours([detour(each) for each in Origin if each is not Origin.ENVIRONMENT], hosts) == ()
    assert judge_detours([detour(Origin.ENVIRONMENT, "localhost")], ["love.cat.localhost"]) == ()
    assert len(judge_detours([detour(Origin.ENVIRONMENT)], hosts)) == 1


@pytest.mark.parametrize("origin", [Origin.GNOME, Origin.KDE, Origin.POLICY])
def test_a_pac_file_is_cured_inside_it_and_by_a_name_that_goes_past_it(origin: Origin) -> None:
    (check,) = judge_detours([detour(origin, is_script=True)], ["love.cat"])
    assert check.code == "pac"
    assert '  if (host == "love.cat") return "DIRECT";' in check.cure
    assert "  https://love.cat.localhost" in check.cure


def test_firefox_heeds_its_exceptions_before_a_pac_file() -> None:
    (check,) = judge_detours([detour(Origin.FIREFOX, is_script=True)], ["love.cat"])
    assert check.cure[-1] == "  network.proxy.no_proxies_on = love.cat"


@pytest.mark.parametrize(("exception", "takes"), [("cat", True), (".cat", False), ("*.cat", False), ("love.*", False)])
def test_a_policy_has_patterns(exception: str, *, takes: bool) -> None:
    assert detour(Origin.POLICY, exception).takes("love.cat") is takes
