"""Which names may be served or signed: those that are nobody's, and those that may be one's own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from devtls.errors import UsageError
from devtls.model import LOCAL_NAMES, is_address, is_local, is_loopback, parse_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devtls.model import Notice


# Names that are nobody's on the internet, or a network's own: RFC 6761, 6762, 7686, 8375, 9476, and ICANN's internal.
SPECIAL_USE = ("localhost", "test", "example", "invalid", "internal", "home.arpa", "local", "onion", "alt")
ELSEWHERE = ("internal", "home.arpa", "local")  # of these, those that are real names in somebody's network


def parse_own_domain(text: str, is_vetted: Callable[[str], bool]) -> str:
    """A domain that may be one's own: a public suffix is everybody's."""
    domain = parse_domain(text)
    if is_local(domain):
        if domain == "test":
            raise UsageError("test is a whole top-level domain", "Take a name below it:", "  devtls up love.test …")
        return domain
    if "." not in domain:
        raise UsageError(f"{domain} is a top-level domain", "Take a name below .test:", f"  devtls up {domain}.test …")
    if not is_vetted(domain) and is_public_suffix(domain):
        raise UsageError(
            f"{domain} is a public suffix: a certificate authority for it could sign other people's sites",
            "Take a name below it:",
            f"  devtls up love.{domain} …",
        )
    return domain


def parse_served_domains(texts: Sequence[str], is_vetted: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the domains as they are served, each once: concrete names first, one of them is the project's address.

    Raises:
        UsageError: with the one at fault, or all are wildcards.
    """
    names = list(dict.fromkeys(parse_served_domain(text, is_vetted) for text in texts))
    if all("*" in name for name in names):
        bare = names[0].removeprefix("*.")
        raise UsageError(
            f"{names[0]} is a wildcard, and no browser can be sent there",
            "Name the domain itself, too:",
            f"  devtls up {bare} '{names[0]}' …",
        )
    return tuple(sorted(names, key=lambda name: "*" in name))


def parse_served_domain(text: str, is_vetted: Callable[[str], bool]) -> str:
    """Return a domain of one's own, or all names right below one: "*.love.cat".

    Raises:
        UsageError: it is none.
    """
    rest = text.removeprefix("*.")
    return ("" if rest == text else "*.") + parse_own_domain(rest, is_vetted)


def is_public_suffix(domain: str) -> bool:
    """Whether people register names directly below this one (publicsuffix.org, the list in publicsuffixlist)."""
    from publicsuffixlist import PublicSuffixList

    return bool(PublicSuffixList(accept_unknown=False).is_public(domain))


def real_domain_notice(domain: str) -> Notice | None:
    """What it means to serve a name that may be a real one elsewhere; nothing for names that are nobody's."""
    if _special_use(domain) in ELSEWHERE:
        return f"{domain} may be a real name in your network; while it is served here, that one is not reached", ()
    if not may_be_real(domain):
        return None
    fact = (
        f"{domain} may be a real site: the browser sends its cookies to what runs here, obeys its HSTS, and keeps the"
        " service workers that the app here installs"
    )
    return fact, (f"{domain.partition('.')[0]}.test has none of that.",)


def may_be_real(domain: str) -> bool:
    """Whether a name may be somebody's on the internet."""
    return not (_special_use(domain) or is_address(domain)) and has_public_suffix(domain)


def _special_use(domain: str) -> str | None:
    return next((name for name in SPECIAL_USE if domain == name or domain.endswith(f".{name}")), None)


def has_public_suffix(domain: str) -> bool:
    """Whether the name can be registered on the internet (the ICANN part of publicsuffix.org's list)."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(accept_unknown=False, only_icann=True).publicsuffix(domain) is not None


def parse_certificate_names(texts: Sequence[str], is_vetted: Callable[[str], bool]) -> tuple[str, ...]:
    """Return host names, wildcards and addresses in their canonical form, each once.

    Raises:
        UsageError: with the one at fault.
    """
    return tuple(dict.fromkeys(_parse_certificate_name(text, is_vetted) for text in texts))


def _parse_certificate_name(text: str, is_vetted: Callable[[str], bool]) -> str:
    import ipaddress

    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(text.strip().removeprefix("[").removesuffix("]")))
    if "@" in text or "://" in text:
        kind = "an e-mail address" if "@" in text else "a URL"
        raise UsageError(
            f"{text!r} is {kind}, and the authorities of devtls sign host names and addresses only",
            "Name the host alone:",
            f"  devtls cert {text.rpartition('@')[2].rpartition('//')[2].partition('/')[0].partition(':')[0]}",
        )
    is_wildcard = text.startswith("*.")
    rest = text.removeprefix("*.")
    if is_wildcard and rest in LOCAL_NAMES:
        return text
    return ("*." if is_wildcard else "") + parse_own_domain(rest, is_vetted)


def wildcard_notice(name: str) -> Notice | None:
    """What to know of a wildcard right below a top-level name: most clients take it for too wide."""
    rest = name.removeprefix("*.")
    if rest == name or "." in rest:
        return None
    return (f"most clients refuse {name}: they take no wildcard this wide", (f"Take one below: *.shop.{rest}",))


def authority_names(names: Sequence[str]) -> tuple[str, ...]:
    """What an authority has to cover so that it can sign all of these names, and no more than that."""
    hosts = [name.removeprefix("*.") for name in names if not is_address(name)]
    addresses = [name for name in names if is_address(name) and not is_loopback(name)]
    custom = sorted({host for host in hosts if not is_local(host)}, key=lambda host: (host.count("."), host))
    apart = [host for host in custom if not any(host.endswith(f".{other}") for other in custom)]
    is_for_local = any(map(is_local, hosts)) or not (apart or addresses)
    return (*apart, *(LOCAL_NAMES if is_for_local else ()), *dict.fromkeys(addresses))
