"""Whether names below a wildcard lead to this machine, where systemd-resolved is told to ask the gateway for them."""

from __future__ import annotations

from typing import Any

from devtls.checks.names import is_loopback, look_up
from devtls.model import Check, Verdict
from devtls.system.name_route import PORT

SAMPLE = "devtls-check"  # a label that no site has
SECOND_LOOK = 1.0  # s; the gateway answers in a millisecond


def ask_about(wildcard: str) -> Check:
    """Look one name below it up, as programs do; when it does not lead here, ask the gateway itself."""
    name = sample_of(wildcard)
    addresses = look_up(name)
    is_red = judge_wildcard(wildcard, addresses, is_answered=True).verdict is not Verdict.PASSED
    return judge_wildcard(wildcard, addresses, is_answered=not is_red or _is_answered(name))


def sample_of(wildcard: str) -> str:
    """A name that the wildcard stands for."""
    return wildcard.replace("*", SAMPLE, 1)


def judge_wildcard(wildcard: str, addresses: tuple[str, ...], *, is_answered: bool) -> Check:
    """Say whether names below a wildcard lead here; pure.

    Args:
        wildcard: `*.love.cat`.
        addresses: where one of them leads, as programs see it.
        is_answered: whether the gateway says where it leads.
    """
    name = sample_of(wildcard)
    if addresses and all(map(is_loopback, addresses)):
        return Check(wildcard, Verdict.PASSED, f"each name below leads to {' and '.join(addresses)}")
    leads = f"{name} leads to {', '.join(addresses)}" if addresses else f"{name} does not lead anywhere"
    if not is_answered:
        fact = f"served, not resolved: {leads}, since the gateway does not answer on 127.0.0.1:{PORT}"
        owner = ("Somebody else may have the port; who, this tells:", f"  sudo ss -lunp 'sport = :{PORT}'")
        return Check(wildcard, Verdict.FAILED, fact, "hosts", "route-not-answered", owner)
    fact = f"served, not resolved: {leads}, though the gateway answers for it"
    cure = (
        "See what systemd-resolved makes of it, and have it read its settings again:",
        f"  resolvectl query {name}",
        "  sudo systemctl restart systemd-resolved",
    )
    return Check(wildcard, Verdict.FAILED, fact, "hosts", "route-not-taken", cure)


def _is_answered(name: str) -> bool:
    import dnslib  # only to explain what is red

    try:
        said: Any = dnslib.DNSRecord.question(name).send("127.0.0.1", PORT, timeout=SECOND_LOOK)
        return any(is_loopback(str(record.rdata)) for record in dnslib.DNSRecord.parse(said).rr)
    except (OSError, dnslib.DNSError):
        return False
