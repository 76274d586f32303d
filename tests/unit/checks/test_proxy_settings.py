from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from devtls.checks.detours import Detour, Origin
from devtls.checks.proxy_settings import (
    NETWORKS_OWN,
    find_detours,
    parse_environment,
    parse_firefox,
    parse_gnome,
    parse_kde,
    parse_policy,
)
from tests.unit.trust.fakes import FakeTools

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GNOME = """\
org.gnome.system.proxy autoconfig-url '{url}'
org.gnome.system.proxy ignore-hosts ['localhost', '127.0.0.0/8', '::1']
org.gnome.system.proxy mode '{mode}'
org.gnome.system.proxy use-same-proxy true
org.gnome.system.proxy.http host ''
org.gnome.system.proxy.http port 8080
org.gnome.system.proxy.https host '{host}'
org.gnome.system.proxy.https port 3128
org.gnome.system.proxy.socks host ''
org.gnome.system.proxy.socks port 0
"""
FIREFOX = 'user_pref("app.update.x", "y");\nuser_pref("network.proxy.type", {});\n'


def asked(detours: Iterable[Detour]) -> list[str]:
    return [each.asks for each in detours]


def gnome(mode: str, *, url: str = "", host: str = "") -> list[Detour]:
    return list(parse_gnome(GNOME.format(mode=mode, url=url, host=host)))


def test_the_environments_proxy_is_told_without_its_password() -> None:
    (found,) = parse_environment({"HTTPS_PROXY": "http://me:secret@proxy.corp:3128", "NO_PROXY": ".corp, dog"})
    assert found.asks == "the proxy proxy.corp:3128"
    assert (found.exceptions, found.source) == ((".corp", "dog"), "$HTTPS_PROXY")
    assert asked(parse_environment({"http_proxy": "proxy.corp"})) == ["the proxy proxy.corp (of http:// alone)"]
    assert asked(parse_environment({"no_proxy": "x"})) == []


def test_the_desktops_settings_are_read() -> None:
    assert gnome("none", url="http://x/pac", host="proxy.corp") == []
    (found,) = gnome("manual", host="proxy.corp")
    assert (found.asks, found.exceptions) == ("the proxy proxy.corp:3128", ("localhost", "127.0.0.0/8", "::1"))
    assert gnome("manual") == []
    (found,) = gnome("auto", url="http://x/pac")
    assert (found.asks, found.is_script) == ("the PAC file http://x/pac", True)
    assert asked(gnome("auto")) == [NETWORKS_OWN]
    assert list(parse_gnome("")) == []


def test_one_server_may_be_for_everything() -> None:
    text = GNOME.format(mode="manual", url="", host="").replace("http host ''", "http host 'proxy.corp'")
    assert asked(parse_gnome(text)) == ["the proxy proxy.corp:8080"]
    assert asked(parse_gnome(text.replace("use-same-proxy true", "use-same-proxy false"))) == []


@pytest.mark.parametrize(
    ("lines", "asks", "exceptions"),
    [
        ("ProxyType=0\nhttpsProxy=http://proxy.corp 3128", [], ()),
        ("ProxyType=1\nhttpsProxy=http://proxy.corp 3128\nNoProxyFor=a,b", ["the proxy proxy.corp:3128"], ("a", "b")),
        ("ProxyType=2\nProxy Config Script=http://x/pac?a=b", ["the PAC file http://x/pac?a=b"], ()),
        ("ProxyType=3", [NETWORKS_OWN], ()),
        ("ProxyType=4\nhttpsProxy=HTTPS_PROXY", [], ()),
        ("ProxyType=1", [], ()),
    ],
)
def test_kdes_settings_are_read(lines: str, asks: list[str], exceptions: tuple[str, ...]) -> None:
    found = list(
        parse_kde(f"[General]\nProxyType=1\n[Proxy Settings]\n{lines}\n\n[Other]\nProxyType=3\n", "kioslaverc")
    )
    assert asked(found) == asks
    assert all(each.exceptions == exceptions for each in found)


@pytest.mark.parametrize(
    ("policy", "asks"),
    [
        ({"ProxyMode": "fixed_servers", "ProxyServer": "http://proxy.corp:3128"}, ["the proxy proxy.corp:3128"]),
        ({"ProxySettings": {"ProxyMode": "fixed_servers", "ProxyServer": "proxy.corp"}}, ["the proxy proxy.corp"]),
        ({"ProxyMode": "pac_script", "ProxyPacUrl": "http://x/pac"}, ["the PAC file http://x/pac"]),
        ({"ProxyMode": "auto_detect"}, [NETWORKS_OWN]),
        ({"ProxyMode": "direct"}, []),
        ({"ProxyMode": "system"}, []),
        ({"DnsOverHttpsMode": "secure"}, []),
        (["no policy"], []),
    ],
)
def test_policies_of_chromium_are_read(policy: object, asks: list[str]) -> None:
    assert asked(parse_policy(json.dumps(policy), "Chromium", "x.json")) == asks


def test_a_policy_that_is_no_json_is_no_detour() -> None:
    assert list(parse_policy("{", "Chromium", "x.json")) == []


def test_the_exceptions_of_a_policy_are_known() -> None:
    text = json.dumps({"ProxyMode": "fixed_servers", "ProxyServer": "p", "ProxyBypassList": "<local>;*.corp, dog"})
    (found,) = parse_policy(text, "Chrome", "x.json")
    assert (found.subject, found.exceptions) == ("proxy of Chrome, by policy", ("<local>", "*.corp", "dog"))


def test_firefoxs_preferences_are_read() -> None:
    server = 'user_pref("network.proxy.ssl", "proxy.corp");\nuser_pref("network.proxy.ssl_port", 3128);\n'
    excepted = 'user_pref("network.proxy.no_proxies_on", "a, b");\nuser_pref("odd", what);\n'
    (found,) = parse_firefox(FIREFOX.format(1) + server + excepted, "prefs.js")
    assert (found.asks, found.exceptions) == ("the proxy proxy.corp:3128", ("a", "b"))
    assert asked(parse_firefox(FIREFOX.format(5) + server, "prefs.js")) == []
    assert asked(parse_firefox(FIREFOX.format(1), "prefs.js")) == []
    pac = 'user_pref("network.proxy.autoconfig_url", "http://x/pac");\n'
    assert asked(parse_firefox(FIREFOX.format(2) + pac, "prefs.js")) == ["the PAC file http://x/pac"]
    assert asked(parse_firefox(FIREFOX.format(4), "prefs.js")) == [NETWORKS_OWN]
    shared = 'user_pref("network.proxy.http", "p");\nuser_pref("network.proxy.share_proxy_settings", true);\n'
    assert asked(parse_firefox(FIREFOX.format(1) + shared, "prefs.js")) == ["the proxy p:0"]


@pytest.mark.parametrize(
    ("preferences", "is_detour"),
    [
        ({"network.trr.mode": 3}, False),
        ({"network.trr.mode": 3, "network.trr.exclude-etc-hosts": True}, False),
        ({"network.trr.mode": 3, "network.trr.exclude-etc-hosts": False}, True),
        ({"network.trr.mode": 2, "network.trr.exclude-etc-hosts": False}, True),
        ({"network.trr.mode": 5, "network.trr.exclude-etc-hosts": False}, False),
    ],
)
def test_dns_over_https_is_a_detour_only_where_firefox_is_told_not_to_read_the_hosts_file(
    preferences: dict[str, object], *, is_detour: bool
) -> None:
    text = "".join(f'user_pref("{name}", {json.dumps(value)});\n' for name, value in preferences.items())
    assert [each.origin for each in parse_firefox(text, "prefs.js")] == [Origin.RESOLVER] * is_detour


def test_the_machine_is_read_without_starting_anything_where_nobody_has_settings(tmp_path: Path) -> None:
    old, new = (tmp_path / ".mozilla/firefox" / name for name in ("old", "new"))
    for profile, kind in ((old, 4), (new, 2)):
        profile.mkdir(parents=True)
        (profile / "prefs.js").write_text(FIREFOX.format(kind))
    os.utime(old / "prefs.js", (0, 0))
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config/kioslaverc").write_text("[Proxy Settings]\nProxyType=3\n")
    tools = FakeTools(lambda _argv: (0, GNOME.format(mode="auto", url="", host="")))
    found = find_detours({"https_proxy": "p", "PATH": ""}, tmp_path, tools)
    assert [each.origin for each in found if each.origin is not Origin.POLICY] == [Origin.ENVIRONMENT, Origin.FIREFOX]
    assert tools.asked == []
    found = find_detours({"PATH": "", "XDG_CURRENT_DESKTOP": "KDE"}, tmp_path, tools)
    assert [each.origin for each in found if each.origin is not Origin.POLICY] == [Origin.KDE, Origin.FIREFOX]


def test_the_desktop_is_asked_where_somebody_has_settings(tmp_path: Path) -> None:
    for path in (tmp_path / ".config/dconf/user", tmp_path / "bin/gsettings"):
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)
    tools = FakeTools(lambda _argv: (0, GNOME.format(mode="auto", url="", host="")))
    found = find_detours({"PATH": str(tmp_path / "bin")}, tmp_path, tools)
    assert Origin.GNOME in [each.origin for each in found]
    assert [argv[1:] for argv in tools.asked] == [("list-recursively", "org.gnome.system.proxy")]
    missing = FakeTools(lambda _argv: None)
    assert Origin.GNOME not in [
        each.origin for each in find_detours({"PATH": str(tmp_path / "bin")}, tmp_path, missing)
    ]
