"""`devtls doctor`: what it tells of a machine is so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.real.love_cat import UP, assert_nothing_runs, bring_example, devtls
from tests.real.running import wait_until

if TYPE_CHECKING:
    from tests.real.machine import Machine

HOME = "/home/dev"
OF_THE_SYSTEM = ("curl", "wget", "git", "openssl", "gnutls-cli", "Python", "Ruby", "Go", "Java")


def diagnose(machine: Machine, *words: str) -> dict[str, dict[str, Any]]:
    """Each check by its subject."""
    document = json.loads(devtls(machine, HOME, "doctor", "--json", *words).stdout)
    assert document["schema"] == "devtls.doctor/1"
    return {check["subject"]: check for check in document["checks"]}


def test_it_says_how_to_begin_and_leaves_no_trace(machine: Machine) -> None:
    look = ["find", HOME, "-newer", "/etc/hosts"]
    before = machine.run(look, check=True).stdout
    told = devtls(machine, HOME, "doctor")
    assert told.status == 0, told.output
    assert "devtls trust" in told.output
    assert machine.run(look, check=True).stdout == before


def test_clients_of_the_system_refuse_before_trust_and_accept_after_and_refuse_again(machine: Machine) -> None:
    assert devtls(machine, HOME, "trust", "love.cat").status == 0
    after = diagnose(machine)
    assert {name: after[name]["verdict"] for name in OF_THE_SYSTEM} == dict.fromkeys(OF_THE_SYSTEM, "passed")
    assert (after["trust: Chromium"]["verdict"], after["Chromium"]["verdict"]) == ("passed", "passed")
    assert devtls(machine, HOME, "untrust", "love.cat").status == 0
    again = diagnose(machine, "love.cat")
    assert {name: again[name]["verdict"] for name in OF_THE_SYSTEM} == dict.fromkeys(OF_THE_SYSTEM, "failed")
    assert devtls(machine, HOME, "doctor", "love.cat", "--quick").status == 1


def test_the_roots_and_keys_that_mkcert_and_caddy_left_are_named_with_the_commands(machine: Machine) -> None:
    machine.run(["mkcert", "-install"], check=True)
    machine.run(["mkdir", "-p", f"{HOME}/.local/share/caddy/pki/authorities/local"], check=True)
    options = " admin off\n auto_https disable_redirects\n skip_install_trust\n"
    caddyfile = f"{{\n{options}}}\nhttps://localhost:9443 {{\n tls internal\n}}\n"
    machine.write(f"{HOME}/Caddyfile", caddyfile)
    caddy = machine.start(["caddy", "run", "--config", f"{HOME}/Caddyfile"])
    caddy.wait_for("serving initial configuration")
    caddy.send_signal("TERM")
    caddy.wait()
    found = diagnose(machine, "--quick")
    assert f"{HOME}/.local/share/mkcert/rootCA-key.pem can sign any site" in found["mkcert"]["fact"]
    assert "system store" in found["mkcert"]["fact"]
    assert "  mkcert -uninstall" in found["mkcert"]["cure"]
    assert "root.key can sign any site; its root is in no store" in found["Caddy"]["fact"]


def test_what_is_broken_is_one_line_each_and_stops_nothing(machine: Machine) -> None:
    """A damaged database, a JAVA_HOME that is nowhere, a key that others can read, a program that is a stub."""
    assert devtls(machine, HOME, "trust", "love.cat").status == 0
    machine.write(f"{HOME}/.local/share/pki/nssdb/cert9.db", "not a database")
    key = machine.run(["sh", "-c", f"ls {HOME}/.local/share/devtls/ca/*/issuer.pem | head -1"], check=True).stdout
    machine.run(["chmod", "644", key.strip()], check=True)
    machine.write(f"{HOME}/.local/bin/node", "#!/bin/sh\nexit 1\n", mode="755")
    told = devtls(machine, HOME, "doctor", "--quick", env={"JAVA_HOME": "/nowhere"})
    assert told.status == 1, told.output
    lines = told.stdout.splitlines()
    assert [line for line in lines if line.startswith("✗ trust: Chromium")], told.output
    assert [line for line in lines if "JAVA_HOME is '/nowhere'" in line], told.output
    assert f"chmod 600 {key.strip()}" in told.stdout
    assert [line for line in lines if line.startswith("? Node")], told.output
    assert [line for line in lines if line.startswith("✓ curl")], told.output
    assert "Traceback" not in told.output
    assert devtls(machine, HOME, "trust", env={"JAVA_HOME": "/nowhere"}).status == 1, "the database cannot be changed"


def test_a_doctor_that_is_killed_leaves_no_client_behind(machine: Machine) -> None:
    assert devtls(machine, HOME, "trust", "love.cat").status == 0
    machine.write(f"{HOME}/.local/bin/node", "#!/bin/sh\nexec sleep 1000\n", mode="755")
    running = machine.start(["devtls", "doctor", "--quick"])
    wait_until(lambda: any(seen.argv[:1] == ("sleep",) for seen in machine.processes()), "the client runs")
    running.send_signal("KILL")
    assert_nothing_runs(machine)


def test_what_is_served_is_read_off_the_handshake(machine: Machine) -> None:
    place = bring_example(machine)
    assert devtls(machine, place, *UP[1:], "-d").status == 0
    served = diagnose(machine, "--quick")["https://love.cat"]
    assert (served["verdict"], "is served by devtls issuer " in served["fact"]) == ("passed", True), served
    assert devtls(machine, place, "down").status == 0
    assert "https://love.cat" not in diagnose(machine, "--quick")
