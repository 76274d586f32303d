"""`devtls hosts route`: names below a wildcard lead here by a real systemd-resolved, and all others where they led."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.real.love_cat import bring_example, devtls, page_of
from tests.real.resolved import INTERNET, look_up, settings_of, start_resolved, with_nss_resolve
from tests.real.running import wait_until

if TYPE_CHECKING:
    from tests.real.machine import Machine

UP = ("up", "love.cat", "*.love.cat", "--app", "node app.js", "-d")
FILE = "/etc/systemd/resolved.conf.d/50-devtls.conf"
HERE = ["127.0.0.1", "::1"]
UNKNOWN = "Name or service not known"
# Has the port, and says nothing.
SQUATTER = """
import socket, time
taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taken.bind(("127.0.0.1", 15353))
print("taken", flush=True)
time.sleep(600)
"""


@pytest.fixture
def place(machine: Machine) -> str:
    start_resolved(machine)
    return bring_example(machine)


def test_each_name_below_a_wildcard_leads_here_and_all_others_lead_where_they_led(machine: Machine, place: str) -> None:
    before = settings_of(machine)
    served = devtls(machine, place, *UP)
    assert served.status == 0, served.output
    assert "  devtls hosts route love.cat\n" in served.output
    assert look_up(machine, "any.love.cat") == [INTERNET]

    would = devtls(machine, place, "hosts", "route", "--dry-run")
    assert (would.status, would.output.split()[:3]) == (0, ["would", FILE, "love.cat"]), would.output
    assert settings_of(machine) == before
    routed = devtls(machine, place, "hosts", "route")
    assert routed.status == 0, routed.output
    assert "have systemd-resolved ask 127.0.0.1:15353 for names below love.cat:" in routed.output
    assert "route_file=/etc/systemd/resolved.conf.d/50-devtls.conf" in routed.output  # the script, whole
    assert f"  now      {FILE}" in routed.output
    assert "any program of this machine that listens on 127.0.0.1:15353 can say where every name leads" in routed.output
    assert look_up(machine, "any.love.cat") == HERE
    assert look_up(machine, "any.love.cat", user="guest") == HERE
    assert "<title>" in page_of(machine, "https://shop.love.cat")
    assert look_up(machine, "www1.example.org") == [INTERNET]
    assert look_up(machine, "nx.example1.org") == UNKNOWN
    keeper = machine.run(["pgrep", "--full", "devtls.nginx.keeper"], check=True).stdout.split()[0]
    machine.kill(int(keeper))
    wait_until(lambda: look_up(machine, "any.love.cat") == HERE, "another gateway to answer")

    listed = devtls(machine, place, "hosts", "list")
    assert (listed.status, "✓ *.love.cat" in listed.output) == (0, True), listed.output
    assert json.loads(devtls(machine, place, "hosts", "list", "--json").stdout)["routed"] == ["love.cat"]
    again = devtls(machine, place, "hosts", "route", "love.cat", "--json")
    (file,) = json.loads(again.stdout)["files"]
    assert (again.status, file["already"], file["names"]) == (0, True, ["love.cat"]), again.output

    assert devtls(machine, place, "down").status == 0
    assert look_up(machine, "www2.example.org") == [INTERNET]
    assert look_up(machine, "nx.example2.org") == UNKNOWN
    assert look_up(machine, "any.love.cat") not in (HERE, [INTERNET])
    served = devtls(machine, place, *UP)
    assert served.status == 0, served.output
    assert "no hosts file can hold it" not in served.output
    assert "✓ *.love.cat" in served.output
    assert look_up(machine, "any.love.cat") == HERE

    assert devtls(machine, place, "down").status == 0
    cleaned = devtls(machine, place, "clean")
    assert cleaned.status == 0, cleaned.output
    assert "systemd-resolved does not ask the gateway for love.cat any more" in cleaned.output
    assert settings_of(machine) == before
    assert look_up(machine, "any.love.cat") == [INTERNET]


def test_a_route_is_taken_back_alone_and_the_gateway_lets_the_port_go(machine: Machine, place: str) -> None:
    before = settings_of(machine)
    assert devtls(machine, place, *UP).status == 0
    assert devtls(machine, place, "hosts", "route", "love.cat", "other.test").status == 0
    assert "127.0.0.1:15353" in machine.listening()
    assert machine.read(FILE).endswith("Domains=~love.cat ~other.test\n")
    listed = devtls(machine, place, "hosts", "list").output
    assert "no project of yours serves a wildcard below other.test" in listed
    gone = devtls(machine, place, "hosts", "route", "--remove", "other.test")
    assert (gone.status, f"  gone     {FILE}" in gone.output) == (0, True), gone.output
    assert look_up(machine, "any.love.cat") == HERE
    assert devtls(machine, place, "hosts", "route", "--remove").status == 0
    assert "127.0.0.1:15353" not in machine.listening()
    assert settings_of(machine) == before
    assert look_up(machine, "any.love.cat") == [INTERNET]
    again = devtls(machine, place, "hosts", "route", "--remove")
    assert (again.status, again.output.split()[0]) == (0, "already"), again.output


def test_programs_that_ask_by_nss_resolve_find_the_same(machine: Machine, place: str) -> None:
    nss = with_nss_resolve(machine)
    assert look_up(machine, "any.love.cat", env=nss) == [INTERNET]
    assert look_up(machine, "any.love.cat") != [INTERNET]  # without that library there is no other way
    assert devtls(machine, place, *UP, env=nss).status == 0
    routed = devtls(machine, place, "hosts", "route", env=nss)
    assert routed.status == 0, routed.output
    assert look_up(machine, "any.love.cat", env=nss) == HERE
    assert look_up(machine, "www1.example.org", env=nss) == [INTERNET]
    assert look_up(machine, "nx.example1.org", env=nss) == UNKNOWN
    assert devtls(machine, place, "down").status == 0
    assert devtls(machine, place, *UP, env=nss).status == 0


def test_each_user_has_routes_of_their_own(machine: Machine, place: str) -> None:
    machine.write("/etc/sudoers.d/guest", "guest ALL=(ALL:ALL) NOPASSWD: ALL\n", user="root", mode="440")
    assert devtls(machine, place, "hosts", "route", "dev.test", "both.test").status == 0
    other = devtls(machine, "/home/guest", "hosts", "route", "both.test", "guest.test", user="guest")
    assert other.status == 0, other.output
    assert machine.read(FILE).endswith("Domains=~both.test ~dev.test ~guest.test\n")
    assert "by user 61001 and 61002" in devtls(machine, place, "doctor", "--quick").output
    assert devtls(machine, place, "clean").status == 0
    assert machine.read(FILE).endswith("Domains=~both.test ~guest.test\n")
    machine.write(FILE, f"{machine.read(FILE)}DNSSEC=no\n", user="root")
    changed = devtls(machine, "/home/guest", "clean", user="guest")
    assert (changed.status, f"  sudo rm {FILE}" in changed.output) == (1, True), changed.output
    assert machine.read(FILE).endswith("DNSSEC=no\n")
    assert "is not as devtls wrote it" in devtls(machine, place, "hosts", "list").output


def test_a_port_that_is_taken_is_told_by_the_check_and_costs_nothing_else(machine: Machine, place: str) -> None:
    assert devtls(machine, place, *UP).status == 0
    assert devtls(machine, place, "hosts", "route").status == 0
    assert devtls(machine, place, "down").status == 0
    squatter = machine.start(["/usr/bin/python3", "-I", "-c", SQUATTER], user="guest")
    squatter.wait_for("taken")
    served = devtls(machine, place, *UP)
    assert served.status == 1, served.output
    assert "✗ *.love.cat" in served.output
    assert "served, not resolved: devtls-check.love.cat does not lead anywhere" in served.output
    assert "  sudo ss -lunp 'sport = :15353'" in served.output
    assert "<title>" in page_of(machine, "https://love.cat")
    log = machine.read("/home/dev/.local/state/devtls/gateway/keeper.log")
    assert log.count("served, not resolved: 127.0.0.1:15353: Address already in use") == 1
    squatter.send_signal("KILL")
    squatter.wait()
    wait_until(lambda: look_up(machine, "any.love.cat") == HERE, "the gateway to have the port")


def test_what_would_not_hold_or_would_take_other_names_along_is_refused(machine: Machine, place: str) -> None:
    before = settings_of(machine)
    stranger = devtls(machine, place, "hosts", "route", "example.org")
    assert (stranger.status, "no project of yours has served it" in stranger.output) == (1, True), stranger.output
    machine.run(["resolvectl", "revert", "eth0"], user="root", check=True)
    alone = devtls(machine, place, "hosts", "route", "love.test")
    assert (alone.status, "the gateway would be its only one" in alone.output) == (1, True), alone.output
    machine.run(["resolvectl", "dns", "eth0", "10.9.9.1"], user="root", check=True)
    settings = machine.read("/etc/systemd/resolved.conf")
    machine.write("/etc/systemd/resolved.conf", "[Resolve]\nDNS=10.9.9.1\n", user="root")
    machine.run(["systemctl", "reload-or-restart", "systemd-resolved"], user="root", check=True)
    both = devtls(machine, place, "hosts", "route", "love.test")
    assert (both.status, "name servers for the whole machine, 10.9.9.1" in both.output) == (1, True), both.output
    machine.write("/etc/systemd/resolved.conf", "[Resolve]\nDNSSEC=allow-downgrade\n", user="root")
    machine.run(["systemctl", "reload-or-restart", "systemd-resolved"], user="root", check=True)
    machine.run(["devtls", "trust", "love.cat"], check=True)
    unsigned = devtls(machine, place, "hosts", "route", "love.cat")
    assert (unsigned.status, "names below love.cat have none here" in unsigned.output) == (1, True), unsigned.output
    machine.write("/etc/systemd/resolved.conf", settings, user="root")
    machine.run(["systemctl", "reload-or-restart", "systemd-resolved"], user="root", check=True)
    assert settings_of(machine) == before


def test_without_systemd_resolved_there_is_no_route(machine: Machine) -> None:
    place = bring_example(machine)
    served = devtls(machine, place, *UP)
    assert served.status == 0, served.output
    assert "Name those that have to resolve everywhere, beside it:" in served.output
    assert "hosts route" not in served.output
    refused = devtls(machine, place, "hosts", "route")
    assert (refused.status, "systemd-resolved does not run here" in refused.output) == (1, True), refused.output
