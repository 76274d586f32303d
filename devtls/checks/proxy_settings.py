"""The settings by which programs are told to ask a proxy: parsers of their text, and `find_detours`, which reads it.

What devtls cannot read is no detour. No program is started but gsettings, which opens no window.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtls.checks.detours import Detour, Origin
from devtls.errors import DevtlsError
from devtls.system.proxy import EXCEPTIONS, find_proxy, split_exceptions
from devtls.system.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from devtls.system.run import Runner

PATIENCE = 1.0  # s for gsettings, which reads a file
# https://chromeenterprise.google/policies/ and each maker's own folder
POLICIES = {
    "Chromium": Path("/etc/chromium/policies"),
    "Chrome": Path("/etc/opt/chrome/policies"),
    "Edge": Path("/etc/opt/edge/policies"),
    "Brave": Path("/etc/brave/policies"),
}
FIREFOX_PROFILES = (
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox",
)
PREFERENCE = re.compile(r'^user_pref\("([^"]+)", (.+)\);$', re.MULTILINE)
SETTING = re.compile(r"^(\S+) (\S+) (.+)$", re.MULTILINE)
NETWORKS_OWN = "the PAC file that the network names (WPAD)"


def parse_environment(environment: Mapping[str, str]) -> Iterator[Detour]:
    """The variables that most programs read, and browsers where no desktop tells them otherwise."""
    if found := find_proxy(environment):
        name, value = found
        exceptions = next((environment[each] for each in EXCEPTIONS if environment.get(each)), "")
        asks = f"the proxy {_without_password(value)}{' (of http:// alone)' if name.lower() == 'http_proxy' else ''}"
        yield Detour(Origin.ENVIRONMENT, "proxy of the environment", asks, f"${name}", split_exceptions(exceptions))


def parse_gnome(text: str) -> Iterator[Detour]:
    """What `gsettings list-recursively org.gnome.system.proxy` prints."""
    settings = {f"{schema}.{key}": _parse_gvariant(value) for schema, key, value in SETTING.findall(text)}
    base, subject = "org.gnome.system.proxy", "proxy of the desktop (GNOME)"
    source = f"gsettings list-recursively {base}"
    exceptions = settings.get(f"{base}.ignore-hosts")
    match settings.get(f"{base}.mode"):
        case "auto":
            url = settings.get(f"{base}.autoconfig-url")
            yield Detour(Origin.GNOME, subject, f"the PAC file {url}" if url else NETWORKS_OWN, source, is_script=True)
        case "manual":
            kinds = ("https", "socks", *(("http",) if settings.get(f"{base}.use-same-proxy") == "true" else ()))
            hosts = ((settings.get(f"{base}.{kind}.host"), settings.get(f"{base}.{kind}.port")) for kind in kinds)
            server = next((f"{host}:{port}" for host, port in hosts if host), None)
            if server:
                excepted = tuple(map(str, exceptions)) if isinstance(exceptions, list) else ()
                yield Detour(Origin.GNOME, subject, f"the proxy {server}", source, excepted)


def parse_kde(text: str, source: str) -> Iterator[Detour]:
    """kioslaverc: ProxyType 1 is a server, 2 a PAC file, 3 the network's own; 4 is the environment's."""
    section = text.partition("[Proxy Settings]")[2].partition("\n[")[0]
    settings = dict(line.split("=", 1) for line in section.splitlines() if "=" in line and not line.startswith("#"))
    subject, kind = "proxy of the desktop (KDE)", settings.get("ProxyType", "0")
    if kind == "1" and (server := settings.get("httpsProxy") or settings.get("socksProxy")):
        excepted = split_exceptions(settings.get("NoProxyFor", ""))
        yield Detour(Origin.KDE, subject, f"the proxy {_without_password(server.replace(' ', ':'))}", source, excepted)
    elif kind == "2":
        yield Detour(
            Origin.KDE, subject, f"the PAC file {settings.get('Proxy Config Script', '')}", source, is_script=True
        )
    elif kind == "3":
        yield Detour(Origin.KDE, subject, NETWORKS_OWN, source, is_script=True)


def parse_policy(text: str, browser: str, source: str) -> Iterator[Detour]:
    """A policy file of the Chromium family, in its old words and in its new ones."""
    try:
        policy = json.loads(text)
    except ValueError:
        return
    if not isinstance(policy, dict):
        return
    settings = policy["ProxySettings"] if isinstance(policy.get("ProxySettings"), dict) else policy
    subject, bypassed = f"proxy of {browser}, by policy", split_exceptions(str(settings.get("ProxyBypassList", "")))
    match settings.get("ProxyMode"):
        case "fixed_servers":
            asks = f"the proxy {_without_password(str(settings.get('ProxyServer', '')))}"
            yield Detour(Origin.POLICY, subject, asks, source, bypassed)
        case "pac_script":
            asks = f"the PAC file {settings.get('ProxyPacUrl', '')}"
            yield Detour(Origin.POLICY, subject, asks, source, is_script=True)
        case "auto_detect":
            yield Detour(Origin.POLICY, subject, NETWORKS_OWN, source, is_script=True)


def parse_firefox(text: str, source: str) -> Iterator[Detour]:
    """prefs.js: network.proxy.type 1 is a server, 2 a PAC file, 4 the network's own; 5, the default, the system's."""
    values: dict[str, Any] = {}
    for name, value in PREFERENCE.findall(text):
        try:
            values[name] = json.loads(value)
        except ValueError:
            continue
    excepted = split_exceptions(str(values.get("network.proxy.no_proxies_on", "")))
    subject, kind = "proxy of Firefox", values.get("network.proxy.type")
    if kind == 1 and (server := _firefox_server(values)):
        yield Detour(Origin.FIREFOX, subject, f"the proxy {server}", source, excepted)
    elif kind == 2:  # noqa: PLR2004 - as said above
        asks = f"the PAC file {values.get('network.proxy.autoconfig_url', '')}"
        yield Detour(Origin.FIREFOX, subject, asks, source, excepted, is_script=True)
    elif kind == 4:  # noqa: PLR2004 - as above
        yield Detour(Origin.FIREFOX, subject, NETWORKS_OWN, source, excepted, is_script=True)
    if values.get("network.trr.mode") in {2, 3} and values.get("network.trr.exclude-etc-hosts") is False:
        excluded = split_exceptions(str(values.get("network.trr.excluded-domains", "")))
        asks = str(values.get("network.trr.uri") or "its own resolver")
        yield Detour(Origin.RESOLVER, "DNS over HTTPS of Firefox", asks, source, excluded)


def _firefox_server(values: Mapping[str, Any]) -> str:
    kinds = ["ssl", "socks"]
    if values.get("network.proxy.share_proxy_settings"):
        kinds.insert(0, "http")
    named = ((values.get(f"network.proxy.{kind}"), values.get(f"network.proxy.{kind}_port", 0)) for kind in kinds)
    return next((f"{host}:{port}" for host, port in named if host), "")


def _parse_gvariant(text: str) -> object:
    """GVariant's text, as far as it is Python's, too: strings, numbers, lists of them."""
    try:
        return ast.literal_eval(text.removeprefix("@as "))
    except (ValueError, SyntaxError):
        return text


def _without_password(url: str) -> str:
    """An address to be shown."""
    return url.rpartition("@")[2].partition("://")[2] or url.rpartition("@")[2]


def find_detours(environment: Mapping[str, str], home: Path, run: Runner = run) -> tuple[Detour, ...]:
    """Return every detour that can be read off this machine; what cannot be read is no detour."""
    found = list(parse_environment(environment))
    if "KDE" in environment.get("XDG_CURRENT_DESKTOP", ""):
        kde = home / ".config/kioslaverc"
        found += parse_kde(_read(kde), str(kde))
    found += parse_gnome(_read_gnome(environment, home, run))
    for browser, folder in POLICIES.items():
        for file in sorted(folder.glob("*/*.json")):
            found += parse_policy(_read(file), browser, str(file))
    profiles = [each for folder in FIREFOX_PROFILES for each in (home / folder).glob("*/prefs.js")]
    if profiles:  # the one that was used last
        last = max(profiles, key=_changed)
        found += parse_firefox(_read(last), str(last))
    return tuple(found)


def _read_gnome(environment: Mapping[str, str], home: Path, run: Runner) -> str:
    """The settings are asked for only where somebody has any: a server has none, and need not wait."""
    has_settings = (home / ".config/dconf/user").exists() or any(Path("/etc/dconf/db").glob("*"))
    program = shutil.which("gsettings", path=environment.get("PATH")) if has_settings else None
    if program is None:
        return ""
    try:
        words = [program, "list-recursively", "org.gnome.system.proxy"]
        return run(words, environment=environment, timeout=PATIENCE, check=False).stdout.decode("utf-8", "replace")
    except DevtlsError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
