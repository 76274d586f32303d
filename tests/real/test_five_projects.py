"""Five projects at once: whoever comes or goes, the others' connections are not touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.real.love_cat import GATEWAY, assert_nothing_runs, block_in
from tests.real.many import NAMES, NGINX, bring, down, finish, start
from tests.real.witness import Witness

if TYPE_CHECKING:
    from tests.real.machine import Machine

HOSTS = ("a.test", "b.test", "c.test", "d.test", "e.test")
SIXTH = "f.test"
MANY = 1000  # WebSockets of each


def connect(witness: Witness, host: str) -> None:
    """Open all that must live through what happens to the others."""
    assert witness("hold", host, MANY) == MANY
    witness("upload", host)
    witness("stream", host)


def events(witness: Witness, host: str) -> int:
    """How many came; the stream goes on."""
    count, error = witness("streamed", host)
    assert error == "", f"the events of {host}: {error}"
    return int(count)


def assert_untouched(witness: Witness, *hosts: str) -> None:
    """Each WebSocket echoes, and the streams go on."""
    before = {host: events(witness, host) for host in hosts}
    assert witness("echo", *hosts) == {host: [MANY, 0] for host in hosts}
    assert all(events(witness, host) > before[host] for host in hosts)


def assert_uploaded(witness: Witness, host: str) -> None:
    """The app got what was sent, byte for byte."""
    told = witness("uploaded", host)
    assert told["error"] == ""
    assert told["came"] == told["sent"]
    assert told["sent"]["size"] > 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("env", NGINX, ids=NAMES)
def test_five_projects_with_a_thousand_websockets_each_live_through_each_others_coming_and_going(
    machine: Machine, env: dict[str, str]
) -> None:
    for host in (*HOSTS, SIXTH):
        bring(machine, host)
    finish(*[start(machine, host, env) for host in HOSTS])  # at once, and each for the first time
    assert {line.split()[1] for line in block_in(machine.read("/etc/hosts"))[1:-1]} >= set(HOSTS)
    with Witness(machine) as witness:
        assert [json.loads(witness("get", host)[4:])["name"] for host in HOSTS] == list(HOSTS)
        for host in HOSTS:
            connect(witness, host)
        assert_untouched(witness, *HOSTS)

        for host in HOSTS[1:]:
            others = [each for each in HOSTS if each != host]
            assert_uploaded(witness, host)
            down(machine, host)
            assert_untouched(witness, *others)
            assert witness("get", host).startswith("000 "), "it is still served"
            witness("let_go", host)
            finish(start(machine, host, env))
            assert_untouched(witness, *others)
            connect(witness, host)

        finish(start(machine, SIXTH, env))
        assert_untouched(witness, *HOSTS)
        for host in HOSTS:
            assert_uploaded(witness, host)
    assert machine.listening() >= GATEWAY
    for host in (*HOSTS, SIXTH):
        down(machine, host)
    assert_nothing_runs(machine)
