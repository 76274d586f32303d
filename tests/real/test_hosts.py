"""`devtls hosts`: the lines of devtls in the hosts file, and no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.real.love_cat import UP, bring_example, bring_small_app, devtls, small_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.machine import Machine, Sudo
    from tests.real.running import Completed

LOVE = ("love.cat", "love.cat.localhost")
BLOCK = "# devtls: begin\n127.0.0.1 old.cat # devtls\n127.0.0.1 old.cat.localhost # devtls\n# devtls: end\n"
# Answers as powershell.exe would: it takes the numbers out of the script, and edits the file beside it. It has no root.
POWERSHELL = r"""#!/usr/bin/python3
import base64, hashlib, pathlib, re, sys
encoded = re.findall(r"'-EncodedCommand', '(.+?)'", sys.argv[-1]) or sys.exit(0)
script = base64.b64decode(encoded[0]).decode("utf-16-le")
file = pathlib.Path("/mnt/c/Windows/System32/drivers/etc/hosts")
data = file.read_bytes()
old, new = (each.replace("-", "").lower() for each in re.findall(r"-ne '([0-9A-F-]+)'", script))
(lines,) = re.findall(r"FromBase64String\('(.*)'\)", script)
start, end = (int(each) for each in re.findall(r"Write\(\$old, (?:0, )?(\d+)[,)]", script))
data = data[:start] + base64.b64decode(lines) + data[end:] if hashlib.sha256(data).hexdigest() == old else sys.exit(40)
hashlib.sha256(data).hexdigest() == new or sys.exit(41)
file.write_bytes(data)
"""


def names(machine: Machine, place: str) -> dict[str, dict[str, Any]]:
    listed = devtls(machine, place, "hosts", "list", "--json")
    document = json.loads(listed.stdout)
    assert document["schema"] == "devtls.hosts/1", listed.output
    return {each["name"]: each for each in document["names"]}


def files(ended: Completed) -> list[dict[str, Any]]:
    document = json.loads(ended.stdout)
    assert document["schema"] == "devtls.hosts/1", ended.output
    found: list[dict[str, Any]] = document["files"]
    return found


def test_a_names_way_from_up_to_clean(machine: Machine) -> None:
    before = machine.read("/etc/hosts")
    place = bring_example(machine)
    assert devtls(machine, place, "hosts", "list").output == "/etc/hosts has no name of devtls.\n"
    assert devtls(machine, place, *UP[1:], "-d").status == 0
    listed = devtls(machine, place, "hosts", "list")
    assert listed.status == 0, listed.output
    assert f"✓ love.cat            served by {place} · leads to ::1 and 127.0.0.1\n" in listed.output
    assert all(each["directory"] == place and each["leads_here"] for each in names(machine, place).values())

    ended = devtls(machine, place, "down")
    assert "love.cat still leads to this machine; `devtls hosts clean love.cat` takes that back.\n" in ended.output
    listed = devtls(machine, place, "hosts", "list")
    assert listed.status == 0, listed.output
    assert "! love.cat            no project of yours serves it" in listed.output
    assert "      devtls hosts clean love.cat\n" in listed.output
    diagnosis = devtls(machine, place, "doctor", "--quick").output
    assert "no project of yours serves love.cat, love.cat.localhost" in diagnosis
    assert "  devtls hosts clean love.cat\n" in diagnosis

    held = machine.read("/etc/hosts")
    would = devtls(machine, place, "hosts", "clean", "love.cat", "--dry-run")
    assert (would.status, would.stderr) == (0, "")
    assert "would    /etc/hosts " in would.output
    assert machine.read("/etc/hosts") == held
    gone = devtls(machine, place, "hosts", "clean", "love.cat")
    assert gone.status == 0, gone.output
    assert "To be run as root, and nothing else:" in gone.output
    assert "  gone     /etc/hosts                          love.cat, love.cat.localhost\n" in gone.output
    assert machine.read("/etc/hosts") == before
    again = devtls(machine, place, "hosts", "clean", "love.cat")
    assert again.output == "  already  /etc/hosts                          without love.cat\n"
    assert "love.cat" not in devtls(machine, place, "doctor", "--quick", "shop.test").output


def test_sync_leads_here_what_runs_and_nothing_else(machine: Machine) -> None:
    before = machine.read("/etc/hosts")
    love, shop = bring_example(machine), bring_small_app(machine, "shop")
    assert devtls(machine, love, *UP[1:], "-d").status == 0
    assert devtls(machine, shop, "up", "shop.test", "--app", small_app(), "-d").status == 0
    assert devtls(machine, love, "down").status == 0
    machine.run(["sh", "-c", "echo '10.0.0.9 mine' >> /etc/hosts"], user="root", check=True)
    would = devtls(machine, shop, "hosts", "sync", "--dry-run", "--json")
    assert files(would)[0]["removed"] == [*LOVE]
    synced = devtls(machine, shop, "hosts", "sync", "--json")
    assert synced.status == 0, synced.output
    assert files(synced)[0] == {
        "file": "/etc/hosts",
        "already": False,
        "added": [],
        "removed": [*LOVE],
        "names": ["shop.test", "shop.test.localhost"],
        "left": [],
    }
    assert list(names(machine, shop)) == ["shop.test", "shop.test.localhost"]
    again = devtls(machine, shop, "hosts", "sync")
    assert again.output == "  already  /etc/hosts                          shop.test, shop.test.localhost\n"

    cleaned = devtls(machine, shop, "hosts", "clean")
    assert f"! {shop} goes on serving shop.test, shop.test.localhost\n" in cleaned.output
    assert machine.read("/etc/hosts") == before + "10.0.0.9 mine\n"
    missing = devtls(machine, shop, "hosts", "list")
    assert (missing.status, "not in /etc/hosts" in missing.output) == (0, True), missing.output
    restored = devtls(machine, shop, "hosts", "sync")
    assert "  now      /etc/hosts                          shop.test, shop.test.localhost\n" in restored.output
    assert names(machine, shop)["shop.test"]["leads_here"]
    assert devtls(machine, shop, "down").status == 0
    assert devtls(machine, shop, "hosts", "sync").status == 0
    assert machine.read("/etc/hosts") == before + "10.0.0.9 mine\n"


def test_a_line_of_the_users_own_that_leads_elsewhere_is_red_in_the_list_and_is_left_as_it_is(machine: Machine) -> None:
    machine.run(["sh", "-c", 'printf "10.9.9.9 old.cat\\n$1" >> /etc/hosts', "sh", BLOCK], user="root", check=True)
    listed = machine.run(["devtls", "hosts", "list"])
    assert listed.status == 1, listed.output
    assert "✗ old.cat " in listed.output
    assert "10.9.9.9" in listed.output
    assert machine.run(["devtls", "hosts", "clean"]).status == 0
    assert machine.read("/etc/hosts").endswith("10.9.9.9 old.cat\n")


@pytest.mark.parametrize(
    "sudo",
    ["none", "password"],
)
def test_without_root_it_says_why_and_what_to_have_done(make_machine: Callable[[Sudo], Machine], sudo: Sudo) -> None:
    reason = "sudo needs a password, and there is no terminal to ask on"
    machine = make_machine(sudo)
    machine.run(["sh", "-c", 'printf "$1" >> /etc/hosts', "sh", BLOCK], user="root", check=True)
    held = machine.read("/etc/hosts")
    for words in (["hosts", "clean"], ["hosts", "sync"]):
        refused = machine.run(["devtls", *words])
        assert refused.status == 1, refused.output
        assert f"! /etc/hosts is as it was: {reason}\n" in refused.output
        assert "  - 127.0.0.1 old.cat # devtls\n" in refused.output
        document = json.loads(machine.run(["devtls", *words, "--json"]).stdout)
        assert document["files"][0]["left"][0]["cure"]
    assert machine.read("/etc/hosts") == held


def test_names_of_another_users_project_are_left_to_that_user(machine: Machine) -> None:
    theirs = bring_small_app(machine, "theirs", user="guest")
    assert devtls(machine, theirs, "up", "theirs.cat", "--app", small_app(), "-d", user="guest").status in {0, 1}
    machine.run(["sh", "-c", 'printf "$1" >> /etc/hosts', "sh", BLOCK], user="root", check=True)
    synced = machine.run(["devtls", "hosts", "sync"])
    assert synced.status == 0, synced.output
    assert "they stay: old.cat, old.cat.localhost" in synced.output
    assert "127.0.0.1 old.cat # devtls\n::1 old.cat # devtls\n" in machine.read("/etc/hosts")
    devtls(machine, theirs, "down", user="guest")
    assert "gone" in machine.run(["devtls", "hosts", "sync"]).output
    assert "devtls" not in machine.read("/etc/hosts")


def test_in_wsl_the_file_of_windows_is_kept_in_step(machine: Machine) -> None:
    """A stand-in for Windows: a kernel's name, a folder where its disk is, and a powershell.exe of a few lines."""
    system = "/mnt/c/Windows/System32"
    machine.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"], user="root", check=True)
    machine.run(["mkdir", "-p", f"{system}/drivers/etc"], user="root", check=True)
    machine.write("/mnt/osrelease", "5.15.90.1-microsoft-standard-WSL2\n", user="root")
    machine.run(["mount", "--bind", "/mnt/osrelease", "/proc/sys/kernel/osrelease"], user="root", check=True)
    machine.write(f"{system}/WindowsPowerShell/v1.0/powershell.exe", POWERSHELL, user="root", mode="755")
    old = "# Microsoft\r\n127.0.0.1 mine\r\n" + BLOCK.replace("\n", "\r\n")
    machine.write(f"{system}/drivers/etc/hosts", old, user="root", mode="666")
    machine.run(["sh", "-c", 'printf "$1" >> /etc/hosts', "sh", BLOCK], user="root", check=True)

    nobody = machine.run(["devtls", "hosts", "clean", "old.cat"])
    assert (nobody.status, "nobody is there to answer the window" in nobody.output) == (1, True), nobody.output
    assert machine.read(f"{system}/drivers/etc/hosts") == old
    running = machine.start(["devtls", "hosts", "clean", "old.cat"], terminal=True)
    assert running.wait() == 0, running.output
    assert "To be run as administrator of Windows, and nothing else:" in running.output
    assert "Start-Process -Verb RunAs" in running.output
    assert r"C:\Windows\System32\drivers\etc\hosts" in running.output.splitlines()[-1]
    assert machine.run(["cat", f"{system}/drivers/etc/hosts"]).stdout == "# Microsoft\r\n127.0.0.1 mine\r\n"
    assert "old.cat" not in machine.read("/etc/hosts")

    machine.write(f"{system}/drivers/etc/hosts", old, user="root", mode="666")
    machine.run(["sh", "-c", 'printf "$1" >> /etc/hosts', "sh", BLOCK], user="root", check=True)
    everything = machine.start(["devtls", "clean"], terminal=True)
    assert everything.wait() == 0, everything.output
    assert machine.run(["cat", f"{system}/drivers/etc/hosts"]).stdout == "# Microsoft\r\n127.0.0.1 mine\r\n"
    assert "old.cat" not in machine.read("/etc/hosts")
