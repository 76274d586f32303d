"""The HTTP proxy that an environment names, and the names for which programs are not to ask it; pure.

A proxy looks names up where it runs: the hosts file of this machine means nothing to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# As curl, Go, Python and Node read them; the first that is set is what https:// goes through.
PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY")
EXCEPTIONS = ("no_proxy", "NO_PROXY")  # curl reads the first before the second, Go the other way round
LOCAL = ("localhost", ".localhost", "127.0.0.1", "::1")
EVERYTHING = "*"


def find_proxy(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that names a proxy for https://, and its value; None when none does."""
    return next(((name, environment[name]) for name in PROXIES if environment.get(name)), None)


def without_proxy(environment: Mapping[str, str], hosts: Iterable[str]) -> dict[str, str]:
    """Return what to set so that no proxy is asked for these hosts and this machine; nothing where there is no proxy.

    What the user had is kept, in front. A spelling that is not set begins with what the other one says: who reads both
    would else lose it.
    """
    if find_proxy(environment) is None:
        return {}
    lower, upper = (environment.get(name, "") for name in EXCEPTIONS)
    wanted = (*hosts, *LOCAL)
    return {
        name: _merge(own or other, wanted)
        for name, own, other in zip(EXCEPTIONS, (lower, upper), (upper, lower), strict=True)
    }


def split_exceptions(text: str) -> tuple[str, ...]:
    """Return the entries of a list as people write it, with commas, semicolons or spaces."""
    return tuple(text.replace(",", " ").replace(";", " ").split())


def is_excepted(host: str, exceptions: Iterable[str]) -> bool:
    """Whether a proxy is not asked for a host: an entry is that host, a domain above it, or everything."""
    for exception in exceptions:
        name = exception.lower().removeprefix("*").removeprefix(".")
        if exception == EVERYTHING or host == name or (name and host.endswith(f".{name}")):
            return True
    return False


def _merge(text: str, wanted: Iterable[str]) -> str:
    kept = text.strip(", ")
    had = {each.lower() for each in split_exceptions(kept)}
    added = () if kept == EVERYTHING else (each for each in dict.fromkeys(wanted) if each not in had)
    return ",".join([*([kept] if kept else []), *added])
