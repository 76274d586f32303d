"""`devtls trust` and `devtls untrust`, typed as a user types them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.real.browsers import chromium, firefox
from tests.real.love_cat import UP, bring_example
from tests.real.love_cat import devtls as in_folder
from tests.real.machine import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.machine import Machine, Sudo
    from tests.real.running import Completed

HOME = "/home/dev"
CERTIFICATES = "/usr/local/share/ca-certificates"
NSS = f"sql:{HOME}/.local/share/pki/nssdb"


def devtls(machine: Machine, *words: str, user: str = "dev") -> Completed:
    return machine.run(["devtls", *words], user=user)


def roots_in_store(machine: Machine) -> list[str]:
    return machine.run(["sh", "-c", f"cd {CERTIFICATES} && ls | grep ^devtls- || :"], check=True).stdout.split()


def roots_in_nss(machine: Machine) -> list[str]:
    if machine.run(["test", "-e", f"{NSS.removeprefix('sql:')}/cert9.db"]).status != 0:
        return []  # the database that devtls made goes with its last root
    said = machine.run(["certutil", "-L", "-d", NSS], check=True).stdout
    return [line.split()[0] for line in said.splitlines() if line.startswith("devtls-")]


def test_one_command_makes_and_trusts_authorities_and_the_next_one_has_nothing_to_do(machine: Machine) -> None:
    first = devtls(machine, "trust", "love.cat")
    assert first.status == 0, first.output
    assert "now      CA for love.cat" in first.stdout
    assert len(roots_in_store(machine)) == 2
    assert sorted(roots_in_nss(machine)) == sorted(each.removesuffix(".crt") for each in roots_in_store(machine))
    again = devtls(machine, "trust", "--json")
    assert (again.status, "now " in again.stderr) == (0, False), again.output
    document = json.loads(again.stdout)
    assert (document["schema"], [ca["names"] for ca in document["authorities"]]) == (
        "devtls.trust/1",
        [["localhost", "test"], ["love.cat"]],
    )
    assert {store["name"]: store["trusts"] for store in document["stores"]} == {"system store": True, "Chromium": True}


def test_a_run_with_nothing_to_do_starts_no_tool_of_any_store(machine: Machine) -> None:
    assert devtls(machine, "trust", "love.cat").status == 0
    traced = machine.run(["strace", "-f", "-qq", "-e", "trace=execve", "-o", f"{HOME}/trace", "devtls", "trust"])
    assert traced.status == 0, traced.output
    started = [line.split('"')[1] for line in machine.read(f"{HOME}/trace").splitlines() if "= 0" in line]
    assert started, "strace saw devtls itself"
    assert [each for each in started if "devtls" not in each and "python" not in each and "/env" not in each] == []


def test_a_dry_run_tells_all_and_does_nothing(machine: Machine) -> None:
    told = devtls(machine, "trust", "love.cat", "--dry-run")
    assert told.status == 0, told.output
    assert "would    trust: system store" in told.stdout
    assert machine.run(["ls", "-A", f"{HOME}/.local/share"]).stdout == ""
    assert roots_in_store(machine) == []


def test_untrust_takes_the_roots_of_a_domain_out_and_trust_brings_them_back(machine: Machine) -> None:
    assert devtls(machine, "trust", "love.cat", "shop.test").status == 0
    gone = devtls(machine, "untrust", "love.cat")
    assert gone.status == 0, gone.output
    assert "gone     trust: system store" in gone.stdout
    assert (len(roots_in_store(machine)), len(roots_in_nss(machine))) == (1, 1)
    assert devtls(machine, "trust").status == 0
    assert (len(roots_in_store(machine)), len(roots_in_nss(machine))) == (2, 2)
    assert devtls(machine, "untrust").status == 0
    assert (roots_in_store(machine), roots_in_nss(machine)) == ([], [])
    assert devtls(machine, "untrust").stdout == "No store trusts them.\n"
    unknown = devtls(machine, "untrust", "example.com")
    assert (unknown.status, unknown.stderr.splitlines()[0]) == (2, "devtls: there is no authority for example.com")


def test_without_root_the_browsers_trust_it_and_the_rest_is_told_with_its_command(
    make_machine: Callable[[Sudo], Machine],
) -> None:
    machine = make_machine("password")
    said = devtls(machine, "trust", "love.cat")
    assert said.status == 1, said.output
    assert "root cannot be had: sudo needs a password, and there is no terminal to ask on" in said.stdout
    assert 'eval "$(devtls env)"' in said.stdout
    assert (len(roots_in_nss(machine)), roots_in_store(machine)) == (2, [])
    typed = machine.start(["devtls", "trust"], terminal=True)
    typed.wait_for("password for dev")
    typed.write(f"{PASSWORD}\n")
    assert typed.wait() == 0, typed.output
    assert len(roots_in_store(machine)) == 2


def test_a_password_refused_halfway_leaves_what_was_done_and_names_what_is_left(
    make_machine: Callable[[Sudo], Machine],
) -> None:
    machine = make_machine("password")
    typed = machine.start(["devtls", "trust", "love.cat"], terminal=True)
    for tries in range(1, 4):
        typed.wait_for(rf"(?s)(password for dev: .*){{{tries}}}$")
        typed.write("wrong\n")
    assert typed.wait() == 1, typed.output
    assert "root cannot be had: sudo refused" in typed.output
    assert (len(roots_in_nss(machine)), roots_in_store(machine)) == (2, [])


def test_a_new_authority_can_be_forbidden(machine: Machine) -> None:
    refused = devtls(machine, "trust", "love.cat", "--no-new-ca")
    assert refused.status == 1, refused.output
    assert "needs a new certificate authority, and --no-new-ca forbids one" in refused.stderr
    assert devtls(machine, "trust", "love.cat").status == 0
    assert devtls(machine, "trust", "chat.love.cat", "--no-new-ca").status == 0


def test_names_that_are_everybodys_are_refused_before_anything_is_done(machine: Machine) -> None:
    for name, why in (("co.uk", "public suffix"), ("test", "top-level"), ("a_b.test", "not a host name")):
        refused = devtls(machine, "trust", name)
        assert (refused.status, why in refused.stderr) == (2, True), refused.output
    assert machine.run(["ls", "-A", f"{HOME}/.local/share"]).stdout == ""


# An authority made so many days ago, trusted by the browsers and the system as devtls did it then.
MADE_BEFORE = """
import os, sys
from datetime import UTC, datetime, timedelta
from devtls.ca import store as ca
from devtls.system.paths import find_paths
from devtls.system.run import run
from devtls.trust import find_stores, receipts
paths = find_paths(os.environ)
ca.BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
authority = ca.create_authority(paths, ("love.cat",), datetime.now(UTC) - timedelta(days=int(sys.argv[1])))
for store in find_stores(paths.home, os.environ, run).found:
    receipts.trust(store, authority, paths)
print(authority.id)
"""


def make_before(machine: Machine, days: int) -> str:
    """The id of an authority for love.cat that was made and trusted so many days ago."""
    python = str(machine.installed.devtls.with_name("python"))
    made = machine.run([python, "-I", "-c", MADE_BEFORE, str(days)], check=True).stdout.strip()
    root, place = f"{HOME}/.local/share/devtls/ca/{made}/root.pem", f"{CERTIFICATES}/devtls-{made}.crt"
    machine.run(["sh", "-c", f"cp {root} {place} && update-ca-certificates"], user="root", check=True)
    return made


def test_an_authority_that_ends_soon_gets_a_successor_beside_it(machine: Machine) -> None:
    old = make_before(machine, 1095 - 59)
    said = devtls(machine, "trust")
    assert said.status == 0, said.output
    assert "now      CA for love.cat" in said.stdout
    assert (len(roots_in_store(machine)), len(roots_in_nss(machine))) == (3, 3)
    assert f"devtls-{old}.crt" in roots_in_store(machine)
    assert "now " not in devtls(machine, "trust").stdout


def test_a_root_past_its_date_is_taken_out_of_every_store_and_deleted(machine: Machine) -> None:
    old = make_before(machine, 1100)
    assert (roots_in_store(machine), roots_in_nss(machine)) == ([f"devtls-{old}.crt"], [f"devtls-{old}"])
    said = devtls(machine, "trust")
    assert said.status == 0, said.output
    assert f"now      past their date: system store       devtls-{old}" in said.stdout
    assert f"devtls-{old}" not in " ".join([*roots_in_store(machine), *roots_in_nss(machine)])
    assert (len(roots_in_store(machine)), len(roots_in_nss(machine))) == (2, 2)
    assert machine.run(["ls", f"{HOME}/.local/share/devtls/ca"]).stdout.split().count(old) == 0
    assert old not in machine.read(f"{HOME}/.local/share/devtls/trust.json")


def test_an_address_of_the_network_is_trusted_when_it_is_asked_for(machine: Machine) -> None:
    said = devtls(machine, "trust", "192.168.1.20")
    assert said.status == 0, said.output
    assert "now      CA for 192.168.1.20" in said.stdout
    assert "now " not in devtls(machine, "trust", "192.168.1.20").stdout
    limits = [
        machine.run(["openssl", "x509", "-noout", "-ext", "nameConstraints", "-in", f"{CERTIFICATES}/{each}"]).stdout
        for each in roots_in_store(machine)
    ]
    assert ["IP:192.168.1.20/255.255.255.255" in each and "DNS:invalid" in each for each in limits].count(True) == 1


def test_a_new_firefox_profile_is_found_by_the_next_run(machine: Machine) -> None:
    place = bring_example(machine)
    assert in_folder(machine, place, *UP[1:], "-d").status == 0
    assert "SEC_ERROR_UNKNOWN_ISSUER" in firefox(machine, "https://love.cat").error  # this makes the profile
    said = devtls(machine, "trust")
    assert "now      trust: Firefox, profile" in said.stdout, said.output
    seen = firefox(machine, "https://love.cat", awaited="Hello, World!")
    assert (seen.error, seen.is_secure) == ("", True)
    assert in_folder(machine, place, "down").status == 0


def test_a_chromium_that_ran_before_trusts_it_after_a_restart(machine: Machine) -> None:
    place = bring_example(machine)
    assert in_folder(machine, place, *UP[1:], "-d", "--isolated").status == 0
    assert "ERR_CERT_AUTHORITY_INVALID" in chromium(machine, "https://love.cat").error  # this may make its database
    assert devtls(machine, "trust").status == 0
    seen = chromium(machine, "https://love.cat", awaited="Hello, World!")
    assert (seen.error, seen.is_secure) == ("", True)
    assert in_folder(machine, place, "down").status == 0
