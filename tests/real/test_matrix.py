"""Every TLS client, and what our authorities may and may not vouch for, with a thief's use of the key on the disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from devtls.trust.clients import CLIENTS
from tests.real.browsers import firefox
from tests.real.clients import ask, bring_clients, question, sign
from tests.real.love_cat import devtls
from tests.real.machine import Machine
from tests.real.test_browsers import authority_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.installation import Installed

NAMES = tuple(client.name for client in CLIENTS if client.name != "PHP")
OWN_ROOTS = {"Node", "Bun", "Deno"}

# What is asked: the name that is asked for, the one in the certificate, and the days until it ends.
CASES = {
    "love.cat": ("love.cat", "love.cat", 30),
    "*.love.cat": ("shop.love.cat", "*.love.cat", 30),
    "an address": ("127.0.0.1", "127.0.0.1", 30),
    "example.com": ("example.com", "example.com", 30),
    "wrong host": ("shop.love.cat", "love.cat", 30),
    "expired": ("love.cat", "love.cat", -1),
}
ACCEPTED = {"love.cat", "*.love.cat", "an address"}

Answers = dict[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def trusting(installed: Installed) -> Iterator[Machine]:
    """A machine whose user had a Firefox profile and has typed `devtls trust love.cat`, with Bun and Deno."""
    bring_clients(installed)
    with Machine(installed, "free") as machine:
        assert firefox(machine, "about:blank").error == ""
        trusted = devtls(machine, "/home/dev", "trust", "love.cat")
        assert trusted.status == 0, trusted.output
        yield machine


def answer(machine: Machine, names: tuple[str, ...], profile: str, *, told_root: bool = True) -> Answers:
    """What each client answers to each case; those with a list of their own are told as `devtls exec` tells them."""
    issuer = machine.read(f"{authority_for(machine, 'love.cat')}/issuer.pem")
    variables = json.loads(machine.run(["devtls", "env", "--json"], check=True).stdout)["variables"]
    shown = [{"host": host, **sign(issuer, name, days)} for host, name, days in CASES.values()]
    questions = [
        question(
            name,
            shown,
            variables if told_root and name in OWN_ROOTS else {},
            profile if name == "Firefox" else "",
        )
        for name in names
    ]
    return {
        name: dict(zip(CASES, each, strict=True)) for name, each in zip(names, ask(machine, questions), strict=True)
    }


@pytest.fixture(scope="module")
def profile(trusting: Machine) -> str:
    """The Firefox profile that was there before the trust."""
    found = trusting.run(["find", "/home/dev", "-path", "*.default-esr/cert9.db"], check=True).stdout.split()
    assert len(found) == 1, found
    return found[0].removesuffix("/cert9.db")


@pytest.fixture(scope="module")
def answers(trusting: Machine, profile: str) -> Answers:
    return answer(trusting, NAMES, profile)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_it_accepts_what_the_authority_is_for_and_nothing_else(answers: Answers, name: str, case: str) -> None:
    accepts = case in ACCEPTED and (name, case) != ("Bun", "an address")  # BoringSSL knows no limits for addresses
    assert answers[name][case][0] == ("ACCEPTED" if accepts else "REFUSED"), answers[name]
