"""What takes a name past this machine though its hosts line leads here: a proxy, a PAC file, a browser's own resolver.

A proxy looks names up where it runs. DNS over HTTPS alone is no detour: Chromium and Firefox look into the hosts file
first, unless Firefox is told not to; and browsers ask nobody about names below .localhost: tests/real/test_detours.py.
"""

from __future__ import annotations

import enum
import json
import shlex
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from devtls.model import Check, Verdict
from devtls.system.proxy import is_excepted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Origin(enum.Enum):
    """Who was told to take the detour; the cure is there."""

    ENVIRONMENT = enum.auto()
    GNOME = enum.auto()
    KDE = enum.auto()
    POLICY = enum.auto()
    FIREFOX = enum.auto()
    RESOLVER = enum.auto()  # Firefox's own


class Detour(Struct, frozen=True):
    """A setting by which names are asked of somebody else.

    Attributes:
        subject: whose setting it is: "proxy of Firefox".
        asks: who is asked: "the proxy proxy.corp:3128".
        exceptions: the names for which nobody is asked, as the setting has them.
        source: where the setting is.
        is_script: a PAC file decides, which may say DIRECT.
    """

    origin: Origin
    subject: str
    asks: str
    source: str
    exceptions: tuple[str, ...] = ()
    is_script: bool = False

    def takes(self, host: str) -> bool:
        """Whether this host is asked of somebody else."""
        if host == "localhost" or host.endswith(".localhost"):
            return self.origin is Origin.ENVIRONMENT and not is_excepted(host, self.exceptions)
        if self.origin is Origin.POLICY:  # patterns, where a name is that host alone
            patterns = (f"*{each}" if each.startswith(".") else each for each in self.exceptions)
            return not any(fnmatchcase(host, each.lower()) for each in patterns)
        return not is_excepted(host, self.exceptions)


def judge_detours(detours: Iterable[Detour], hosts: Sequence[str]) -> tuple[Check, ...]:
    """Say which names do not come here for whom; pure."""
    return tuple(_judge(each, taken) for each in detours if (taken := tuple(filter(each.takes, hosts))))


def _judge(detour: Detour, hosts: tuple[str, ...]) -> Check:
    named = ", ".join(hosts)
    if detour.is_script:
        fact, code = f"{detour.asks} is asked about {named}, and knows nothing of this machine's hosts file", "pac"
    elif detour.origin is Origin.RESOLVER:
        fact, code = f"{detour.asks} is asked for {named} before the hosts file", "dns-over-https"
    else:
        fact, code = f"{detour.asks} is asked for {named}, and looks names up where it runs", "proxy"
    return Check(detour.subject, Verdict.NOTED, fact, "proxy", code, _cure(detour, hosts), (detour.source,))


def _cure(detour: Detour, hosts: tuple[str, ...]) -> tuple[str, ...]:
    if detour.is_script and detour.origin is not Origin.FIREFOX:  # Firefox heeds its exceptions before a PAC file
        lines = (f'  if (host == "{host}") return "DIRECT";' for host in hosts)
        return ("Let the PAC file begin with this:", *lines, *_near(hosts))
    listed = [*detour.exceptions, *(each for each in hosts if each not in detour.exceptions)]
    match detour.origin:
        case Origin.ENVIRONMENT:
            cure: tuple[str, ...] = (
                "Services of `devtls up` leave it aside (NO_PROXY); in a terminal:",
                '  eval "$(devtls env)"',
            )
        case Origin.GNOME:
            value = repr(listed)
            value = shlex.quote(value) if set(value) & set('"$`\\!') else f'"{value}"'
            cure = ("Except them:", f"  gsettings set org.gnome.system.proxy ignore-hosts {value}")
        case Origin.KDE:
            value = shlex.quote(",".join(listed))
            words = f"kwriteconfig6 --file kioslaverc --group 'Proxy Settings' --key NoProxyFor {value}"
            cure = ("Except them (in Plasma 5 it is kwriteconfig5):", f"  {words}")
        case Origin.POLICY:
            value = json.dumps(";".join(listed))
            cure = (
                "Have who administers this machine except them there:",
                f'  "ProxyBypassList": {value}',
                *_near(hosts),
            )
        case Origin.FIREFOX:
            where = "Except them: Settings, Network Settings, No proxy for; or in about:config:"
            cure = (where, f"  network.proxy.no_proxies_on = {', '.join(listed)}")
        case Origin.RESOLVER:
            where = "Have Firefox look into the hosts file first, in about:config:"
            cure = (where, "  network.trr.exclude-etc-hosts = true")
        case _:
            assert_never(detour.origin)
    return cure


def _near(hosts: Iterable[str]) -> tuple[str, ...]:
    return ("Or open what browsers ask nobody about:", *(f"  https://{host}.localhost" for host in hosts))
