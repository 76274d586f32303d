"""`devtls clean`: afterwards the machine is as it was before devtls came."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.real.love_cat import UP, bring_example, devtls
from tests.real.tls import CLIENT, ask_java, java_set, serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.machine import Machine, Sudo

PLACES = ("/etc/hosts", "/etc/ssl/certs", "/usr/local/share/ca-certificates", "/home/dev/.local")


def snapshot(machine: Machine) -> str:
    """Every file in the places that devtls writes to, with its hash; links with where they lead.

    Without Java's keystore, which notes the time of each change: see the test of what it holds.
    """
    look = (
        "for place; do [ -e $place ] || continue; find $place -type f ! -path '*/java/*' -exec sha256sum {} +;"
        " find $place -type l -printf '%p -> %l\\n'; find $place -type d; done | sort"
    )
    return machine.run(["sh", "-c", look, "sh", *PLACES], user="root", check=True).stdout


def test_clean_gives_the_machine_back_byte_for_byte(machine: Machine) -> None:
    machine.run(["mkdir", "-p", "/home/dev/.local/share", "/home/dev/.local/state"], check=True)
    place = bring_example(machine)
    # What somebody added to the store and has not taken in yet is taken in with our root, as by anybody's.
    machine.run(["update-ca-certificates", "--fresh"], user="root", check=True)
    before = snapshot(machine)
    assert devtls(machine, place, *UP[1:], "-d").status == 0
    refused = devtls(machine, place, "clean")
    assert refused.status == 4, refused.output
    assert "devtls down" in refused.output
    devtls(machine, place, "down")
    assert snapshot(machine) != before
    cleaned = devtls(machine, place, "clean")
    assert cleaned.status == 0, cleaned.output
    assert cleaned.output.endswith("Nothing of devtls is left.\n")
    assert snapshot(machine) == before
    again = devtls(machine, place, "clean")
    assert (again.status, again.output) == (0, "There was nothing of devtls.\n")


def test_a_browsers_own_certificates_stay_when_ours_go(machine: Machine) -> None:
    place = bring_example(machine)
    database = "sql:/home/dev/.local/share/pki/nssdb"
    machine.run(["mkdir", "-p", "/home/dev/.local/share/pki/nssdb"], check=True)
    machine.run(["certutil", "-N", "-d", database, "--empty-password"], check=True)
    pem = "/etc/ssl/certs/ISRG_Root_X1.pem"
    machine.run(["certutil", "-A", "-d", database, "-n", "mine", "-t", "C,,", "-i", pem], check=True)
    before = machine.run(["certutil", "-L", "-d", database], check=True).stdout
    assert devtls(machine, place, *UP[1:], "-d").status == 0
    assert "devtls-" in machine.run(["certutil", "-L", "-d", database], check=True).stdout
    devtls(machine, place, "down")
    assert devtls(machine, place, "clean").status == 0
    assert machine.run(["certutil", "-L", "-d", database], check=True).stdout == before


def test_java_holds_the_same_roots_afterwards_and_refuses_again(machine: Machine) -> None:
    place = bring_example(machine)
    keystores = ("/etc/ssl/certs/java/cacerts", "/home/dev/.jdks/mine/lib/security/cacerts")
    machine.run(["mkdir", "-p", "/home/dev/.jdks/mine/bin", "/home/dev/.jdks/mine/lib/security"], check=True)
    machine.run(["ln", "-s", "/usr/bin/keytool", "/home/dev/.jdks/mine/bin/keytool"], check=True)
    machine.run(["cp", *keystores], check=True)
    machine.write("/home/dev/Client.java", CLIENT)
    machine.run(["javac", "Client.java"], check=True)
    before = [java_set(each, inside=machine.enter) for each in keystores]
    up = devtls(machine, place, *UP[1:], "-d")
    assert up.status == 0, up.output
    assert "trust: Java, ~/.jdks/mine" in up.output
    during = [java_set(each, inside=machine.enter) for each in keystores]
    assert all(old < new for old, new in zip(before, during, strict=True))
    assert ask_java(Path("/home/dev"), "love.cat", 443, inside=machine.enter) == "accepted"
    live = ".local/share/devtls/leaf/love.cat/live"
    machine.run(["sh", "-c", f"cat {live}/fullchain.pem {live}/privkey.pem > love.pem"], check=True)
    devtls(machine, place, "down")
    cleaned = devtls(machine, place, "clean")
    assert cleaned.status == 0, cleaned.output
    assert [java_set(each, inside=machine.enter) for each in keystores] == before
    with serving(Path("/home/dev/love.pem"), machine.enter) as port:
        refused = ask_java(Path("/home/dev"), "love.cat", port, inside=machine.enter)
    assert "unable to find valid certification path" in refused


def test_what_root_refuses_to_take_back_is_told_and_can_be_taken_back_later(
    make_machine: Callable[[Sudo], Machine],
) -> None:
    machine = make_machine("free")
    place = bring_example(machine)
    assert devtls(machine, place, *UP[1:], "-d").status == 0
    devtls(machine, place, "down")
    rules = machine.run(["sh", "-c", "ls /etc/sudoers.d/* | head -1"], user="root", check=True).stdout.strip()
    machine.run(["mv", rules, "/root/rules"], user="root", check=True)
    left = devtls(machine, place, "clean")
    assert left.status == 1, left.output
    assert "are as they were" in left.output
    assert "/home/dev/.local/share/devtls" not in left.output.replace("  ", "")
    machine.run(["mv", "/root/rules", rules], user="root", check=True)
    assert devtls(machine, place, "clean").output.endswith("Nothing of devtls is left.\n")
    assert "devtls" not in machine.read("/etc/hosts")


def test_a_program_that_verifies_nothing_is_told_and_keeps_nothing_from_being_taken_back(machine: Machine) -> None:
    assert machine.run(["devtls", "trust", "love.cat"]).status == 0
    machine.write("/home/dev/.curlrc", "insecure\n")
    cleaned = machine.run(["devtls", "clean"])
    assert (cleaned.status, "curl still accepts a certificate of devtls" in cleaned.output) == (1, True), cleaned.output
    assert machine.run(["ls", "/home/dev/.local/share/devtls"]).status != 0
    assert machine.run(["devtls", "clean"]).output == "There was nothing of devtls.\n"
