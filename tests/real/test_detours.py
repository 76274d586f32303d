"""What takes a name past this machine: the resolver's order, proxies, browsers' own ways; told, cured, or harmless."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from tests.real.browsers import chromium, firefox
from tests.real.love_cat import OVER, UP, assert_nothing_runs, bring_example, devtls, stop, up
from tests.real.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.installation import Installed

DEAD = "127.0.0.1:9"  # nobody listens there
PROXY = {"https_proxy": f"http://{DEAD}", "http_proxy": f"http://{DEAD}", "no_proxy": "git.corp"}
POLICY = "/etc/chromium/policies/managed/devtls-test.json"
SCRIPT = f"data:application/x-javascript-config,function FindProxyForURL(u,h){{return 'PROXY {DEAD}'}}"

# The example, which asks its own domain as services do: with Node's own client, with curl and with Python.
ASKING = """
require("./app.js");
const { execFile } = require("child_process");
const url = process.env.DEVTLS_URL;
const python = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)";
const ways = {
  curl: ["curl", ["-sS", "-o", "/dev/null", "-w", "%{http_code}", url]],
  python: ["/usr/bin/python3", ["-c", python, url]],
};
setInterval(() => {
  const asked = require("https").get(url, answer => console.log("node", answer.statusCode));
  asked.on("error", error => console.log("node", error.message));
  for (const [name, [program, words]] of Object.entries(ways))
    execFile(program, words, (error, out, said) => console.log(name, (out + said).trim().split("\\n").pop()));
}, 500);
console.log("excepted", process.env.NO_PROXY, process.env.no_proxy);
"""

# Answers every question for an IPv4 address with 203.0.113.7, and every other one with nothing.
DNS = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("listening", flush=True)
while True:
    question, asker = server.recvfrom(512)
    end = question.index(b"\\0", 12) + 5
    is_a = question[end - 4 : end - 2] == b"\\0\\1"
    answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4\\xcb\\0\\x71\\7" if is_a else b""
    count = b"\\0\\1" if is_a else b"\\0\\0"
    server.sendto(question[:2] + b"\\x81\\x80\\0\\1" + count + b"\\0" * 4 + question[12:end] + answer, asker)
"""


@pytest.fixture(scope="module")
def served(installed: Installed) -> Iterator[Machine]:
    """A machine whose user has a Firefox profile, where the example is up."""
    with Machine(installed, "free") as machine:
        place = bring_example(machine)
        assert firefox(machine, "about:blank").error == ""
        started = devtls(machine, place, *UP[1:], "-d")
        assert started.status == 0, started.output
        yield machine


def checks_of(machine: Machine, *words: str, **env: str) -> dict[str, dict[str, Any]]:
    """What doctor says, by subject."""
    said = machine.run(["devtls", "doctor", "--quick", "--json", *words], env=env)
    return {check["subject"]: check for check in json.loads(said.stdout)["checks"]}


def profile_of(machine: Machine) -> str:
    """The folder of the Firefox profile that was used last."""
    find = "find /home/dev/.mozilla /home/dev/.config/mozilla -name prefs.js -printf '%T@ %h\\n' 2>/dev/null | sort -n"
    return machine.run(["sh", "-c", find]).stdout.splitlines()[-1].partition(" ")[2]


def test_services_reach_their_own_domain_past_a_dead_proxy_and_keep_what_was_excepted(machine: Machine) -> None:
    place = bring_example(machine)
    machine.write(f"{place}/asking.js", ASKING)
    running = machine.start(["devtls", "up", "love.cat", "--app", "node asking.js"], cwd=place, env=PROXY)
    running.wait_for(OVER)
    for name in ("node", "curl", "python"):
        running.wait_for(rf"{name} 200")
    excepted = "git.corp,love.cat,love.cat.localhost,localhost,.localhost,127.0.0.1,::1"
    assert f"excepted {excepted} {excepted}" in running.output
    assert "! proxy of the environment" in running.output
    assert '  eval "$(devtls env)"' in running.output
    assert running.output.count("Ready in") == 1
    assert "All checks pass." not in running.output

    refused = machine.run(["curl", "-sS", "https://love.cat"], env=PROXY)
    assert refused.status != 0, "without devtls the proxy is asked"
    assert machine.run(["devtls", "exec", "--", "curl", "-fsS", "https://love.cat"], env=PROXY).status == 0
    cured = 'eval "$(devtls env)" && curl -fsS https://love.cat && echo "$NO_PROXY"'
    said = machine.run(["sh", "-c", cured], env=PROXY)
    assert (said.status, said.stdout.splitlines()[-1]) == (0, excepted), said.output
    quiet = machine.run(["devtls", "env"])
    assert "NO_PROXY" not in quiet.output
    assert checks_of(machine, **PROXY)["proxy of the environment"]["verdict"] == "noted"
    assert "proxy of the environment" not in checks_of(machine, https_proxy=f"http://{DEAD}", no_proxy=".cat,localhost")
    running.send_signal("TERM")
    assert running.wait() == 143
    assert_nothing_runs(machine)


def test_the_order_of_the_resolver_is_told_and_its_cure_cures(machine: Machine) -> None:
    place = bring_example(machine)
    running = up(machine, place)
    running.wait_for(OVER)
    stop(running)
    machine.write("/root/dns.py", DNS, user="root")
    machine.start(["/usr/bin/python3", "-I", "/root/dns.py"], user="root").wait_for("listening")
    machine.write("/etc/resolv.conf", "nameserver 127.0.0.1\n", user="root")
    machine.run(["sed", "-i", "s/^hosts:.*/hosts: dns files/", "/etc/nsswitch.conf"], user="root", check=True)

    told = checks_of(machine)["love.cat"]
    assert (told["verdict"], told["code"]) == ("failed", "nsswitch-order"), told
    assert "203.0.113.7" in told["fact"]
    assert "dns asked first" in told["fact"]
    running = up(machine, place)
    running.wait_for("Served, but not as it should be")
    assert "/etc/nsswitch.conf has dns asked first" in running.output
    assert told["cure"][-1] in running.output
    machine.run(["sh", "-c", told["cure"][-1]], check=True)
    running.wait_for("All checks pass")
    stop(running)
    assert "love.cat" not in checks_of(machine)

    machine.run(["sed", "-i", "s/^hosts:.*/hosts: dns/", "/etc/nsswitch.conf"], user="root", check=True)
    told = checks_of(machine)["love.cat"]
    assert told["code"] == "nsswitch-no-files"
    machine.run(["sh", "-c", told["cure"][-1]], check=True)
    assert "love.cat" not in checks_of(machine)


def test_a_policy_that_takes_chromium_to_a_proxy_is_told_and_its_cure_cures(served: Machine) -> None:
    def policy(**words: str) -> dict[str, dict[str, Any]]:
        served.write(POLICY, json.dumps(words), user="root")
        return checks_of(served)

    server = {"ProxyMode": "fixed_servers", "ProxyServer": DEAD}
    told = policy(**server)["proxy of Chromium, by policy"]
    assert (told["verdict"], told["code"], told["evidence"]) == ("noted", "proxy", [POLICY])
    assert "ERR_PROXY_CONNECTION_FAILED" in chromium(served, "https://love.cat").error
    assert chromium(served, "https://love.cat.localhost", awaited="Hello, World!").error == ""
    assert told["cure"][1] == '  "ProxyBypassList": "love.cat"'
    assert "proxy of Chromium, by policy" not in policy(**server, ProxyBypassList="love.cat")
    assert chromium(served, "https://love.cat", awaited="Hello, World!").error == ""

    assert policy(ProxyMode="pac_script", ProxyPacUrl=SCRIPT)["proxy of Chromium, by policy"]["code"] == "pac"
    assert "ERR_PROXY_CONNECTION_FAILED" in chromium(served, "https://love.cat").error
    secure = policy(DnsOverHttpsMode="secure", DnsOverHttpsTemplates="https://127.0.0.9/dns-query")
    assert [subject for subject in secure if "Chromium" in subject and "proxy" in subject] == []
    assert chromium(served, "https://love.cat", awaited="Hello, World!").error == ""
    served.run(["rm", POLICY], user="root", check=True)


def test_the_proxy_of_a_desktop_is_told_and_its_cure_cures(served: Machine) -> None:
    def set_settings(script: str) -> None:
        served.run(["dbus-run-session", "sh", "-c", script], check=True)

    settings = {"mode": "manual", "ignore-hosts": "['git.corp']"}
    server = "gsettings set org.gnome.system.proxy.https {} {}"
    words = [f"gsettings set org.gnome.system.proxy {key} {shlex.quote(value)}" for key, value in settings.items()]
    host, port = DEAD.split(":")
    set_settings(" && ".join([*words, server.format("host", host), server.format("port", port)]))
    served.write(f"{profile_of(served)}/user.js", 'user_pref("network.proxy.type", 5);\n')
    told = checks_of(served)["proxy of the desktop (GNOME)"]
    assert (told["verdict"], told["code"]) == ("noted", "proxy")
    assert "PROXY_CONNECTION_REFUSED" in firefox(served, "https://love.cat").error
    set_settings(told["cure"][-1])
    assert "proxy of the desktop (GNOME)" not in checks_of(served)
    assert firefox(served, "https://love.cat", awaited="Hello, World!").error == ""
    listed = served.run(["gsettings", "get", "org.gnome.system.proxy", "ignore-hosts"]).stdout
    assert listed == "['git.corp', 'love.cat']\n"
    set_settings("gsettings reset-recursively org.gnome.system.proxy")


def test_what_firefox_was_told_is_told_and_its_cure_cures(served: Machine) -> None:
    profile = profile_of(served)

    def ask(url: str, **preferences: str | int) -> tuple[str, set[str]]:
        """The error, and the codes of what doctor tells of Firefox."""
        text = "".join(f'user_pref("network.{name}", {json.dumps(value)});\n' for name, value in preferences.items())
        served.write(f"{profile}/user.js", text)
        error = firefox(served, url, awaited="Hello, World!").error
        found = checks_of(served)
        return error, {check["code"] for subject, check in found.items() if "of Firefox" in subject}

    server: dict[str, str | int] = {"proxy.type": 1, "proxy.ssl": "127.0.0.1", "proxy.ssl_port": 9}
    error, told = ask("https://love.cat", **server)
    assert ("PROXY_CONNECTION_REFUSED" in error, told) == (True, {"proxy"}), error
    assert ask("https://love.cat.localhost", **server)[0] == ""
    assert ask("https://love.cat", **server, **{"proxy.no_proxies_on": "love.cat"}) == ("", set())
    script: dict[str, str | int] = {"proxy.type": 2, "proxy.autoconfig_url": SCRIPT, "proxy.no_proxies_on": ""}
    error, told = ask("https://love.cat", **script)
    assert ("PROXY_CONNECTION_REFUSED" in error, told) == (True, {"pac"}), error
    excepted = {**script, "proxy.no_proxies_on": "love.cat"}
    assert ask("https://love.cat", **excepted)[0] == ""

    over: dict[str, str | int] = {"proxy.type": 0, "trr.mode": 3, "trr.uri": "https://127.0.0.9/dns-query"}
    assert ask("https://love.cat", **over) == ("", set())
    error, told = ask("https://love.cat", **over, **{"trr.exclude-etc-hosts": False})
    assert ("UNKNOWN_HOST" in error, told) == (True, {"dns-over-https"}), error
