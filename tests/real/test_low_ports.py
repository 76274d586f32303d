"""`devtls trust --low-ports`: every user may listen on 443 afterwards, and what was there before can be had back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.real.love_cat import GATEWAY, OVER, READY, UP, assert_nothing_runs, bring_example, devtls, stop, up

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.machine import Machine, Sudo

FILE = "/etc/sysctl.d/50-devtls-low-ports.conf"
VALUE = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
LOWER = ("devtls", "trust", "--low-ports")


def test_443_needs_no_sudo_afterwards_and_clean_gives_back_what_was_there(machine: Machine) -> None:
    place = bring_example(machine)
    before = machine.run(["ls", "-A", "/etc/sysctl.d"]).stdout
    machine.run(["sysctl", "-w", "net.ipv4.ip_unprivileged_port_start=900"], user="root", check=True)
    would = machine.run([*LOWER, "--dry-run"])
    assert (would.status, would.output.split()[:4]) == (0, ["would", "ports", "from", "80"]), would.output
    plan = json.loads(machine.run([*LOWER, "--dry-run", "--json"]).stdout)
    assert (plan["needs_root"], plan["items"][0]["already"]) == (True, False)
    assert machine.read(VALUE) == "900\n"
    lowered = machine.run(LOWER)
    assert lowered.status == 0, lowered.output
    assert "As root:\n  let every user of this machine listen on the ports from 80 up:" in lowered.output
    assert "  now      ports from 80 up" in lowered.output
    assert "port_file=/etc/sysctl.d/50-devtls-low-ports.conf" in lowered.output  # the script, whole
    assert machine.read(VALUE) == "80\n"
    machine.run(["sysctl", "-w", "net.ipv4.ip_unprivileged_port_start=1024"], user="root", check=True)
    machine.run(["sysctl", "-p", FILE], user="root", check=True)  # as at each start, but of this file alone
    assert machine.read(VALUE) == "80\n"
    assert "it was 900 before\nnet.ipv4.ip_unprivileged_port_start=80\n" in machine.read(FILE)
    assert machine.run(["ls", "/home/dev/.local/share/devtls"]).status != 0  # no authority, no store

    machine.run(["mv", "/etc/sudoers.d/dev", "/root/rules"], user="root", check=True)
    again = machine.run([*LOWER, "--json"])
    document = json.loads(again.stdout)
    assert (again.status, document["first_port"], document["file"]) == (0, 80, FILE), again.output
    running = machine.start(UP, cwd=place)
    running.wait_for(OVER)
    assert machine.listening() >= GATEWAY
    assert "love.cat.localhost" in running.output
    assert ":8443" not in running.output
    running.send_signal("TERM")
    assert running.wait() == 143
    assert_nothing_runs(machine)
    told = machine.run(["devtls", "doctor", "--quick"]).output
    assert "every user of this machine may listen on them: `devtls trust --low-ports`, by user 61001" in told

    refused = machine.run(["devtls", "clean"])
    assert (refused.status, "the first port for every user is as it was" in refused.output) == (1, True), refused.output
    machine.run(["mv", "/root/rules", "/etc/sudoers.d/dev"], user="root", check=True)
    cleaned = machine.run(["devtls", "clean"])
    assert cleaned.status == 0, cleaned.output
    assert "every user may listen from 900 up, as before" in cleaned.output
    assert machine.read(VALUE) == "900\n"
    assert machine.run(["ls", "-A", "/etc/sysctl.d"]).stdout == before


def test_untrust_takes_it_back_alone(machine: Machine) -> None:
    place = bring_example(machine)
    assert machine.run(LOWER).status == 0
    running = up(machine, place)
    running.wait_for(READY)
    stop(running)
    back = devtls(machine, place, "untrust", "--low-ports", "--json")
    assert (back.status, json.loads(back.stdout)["done"][0][0]) == (0, "ports from 80 up"), back.output
    assert machine.read(VALUE) == "1024\n"
    again = devtls(machine, place, "untrust", "--low-ports")
    assert (again.status, again.output) == (0, "The ports are not lowered by devtls.\n")
    assert "# devtls" in machine.read("/etc/hosts")


def test_a_file_of_somebody_else_and_a_container_are_told_with_a_cure_and_nothing_is_half_done(
    make_machine: Callable[[Sudo], Machine],
) -> None:
    machine = make_machine("free")
    machine.write(FILE, "net.ipv4.ip_unprivileged_port_start=1000\n", user="root")
    foreign = machine.run(LOWER)
    assert (foreign.status, "is not as devtls wrote it" in foreign.output) == (1, True), foreign.output
    assert machine.read(VALUE) == "1024\n"
    assert machine.read(FILE) == "net.ipv4.ip_unprivileged_port_start=1000\n"
    left = machine.run(["devtls", "clean"])
    assert (left.status, f"  sudo rm {FILE}" in left.output) == (1, True), left.output
    machine.run(["rm", FILE], user="root", check=True)

    closed = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys"
    machine.run(["sh", "-c", closed], user="root", check=True)
    container = machine.run([*LOWER, "--json"])
    document = json.loads(container.stdout)
    assert (container.status, document["first_port"], document["file"]) == (1, 1024, None), container.output
    assert "docker run --sysctl" in document["notices"][0]["cure"][1]
    assert FILE not in machine.run(["find", "/etc/sysctl.d"]).stdout


def test_without_a_right_to_sudo_nothing_is_changed_and_the_reason_is_told(
    make_machine: Callable[[Sudo], Machine],
) -> None:
    machine = make_machine("none")
    refused = machine.run(LOWER)
    assert refused.status == 1, refused.output
    assert "the first port for every user is as it was: sudo needs a password" in refused.output
    assert machine.read(VALUE) == "1024\n"
