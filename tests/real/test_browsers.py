"""What browsers and other programs make of what `devtls up` serves, with the trust that it gave them alone."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from tests.real.browsers import chromium, firefox
from tests.real.love_cat import OVER, UP, assert_nothing_runs, bring_example, devtls, page_of, status_of, stop, up
from tests.real.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.real.installation import Installed
    from tests.real.machine import Sudo

CONSOLE_ERROR = "Error during WebSocket handshake: Unexpected response code: 404"
CURE = (
    "proxy_http_version 1.1;",
    "proxy_set_header Upgrade $http_upgrade;",
    'proxy_set_header Connection "upgrade";',
)

# Serves https on 127.0.0.1:9443 for any name, with a chain and a key in its directory.
SERVER = """
import http.server, ssl
server = http.server.ThreadingHTTPServer(("127.0.0.1", 9443), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("chain.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening", flush=True)
server.serve_forever()
"""

# What the owner of issuer.pem could try: a certificate for another name, signed with the key that is on the disk.
FORGE = """
set -eu
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl req -new -key key.pem -subj /CN="$2" -out request.pem
printf 'subjectAltName=DNS:%s\\nbasicConstraints=critical,CA:FALSE\\nextendedKeyUsage=serverAuth\\n' "$2" > extensions
openssl x509 -req -in request.pem -CA "$1" -CAkey "$1" -CAcreateserial -days 7 -extfile extensions -out leaf.pem
openssl x509 -in "$1" > issuer-alone.pem
cat leaf.pem issuer-alone.pem > chain.pem
"""

NODE_GREETING = """
const https = require('https');
https.get('https://love.cat/', answer => { answer.resume(); answer.on('end', () => console.log(answer.statusCode)); })
  .on('error', error => { console.log(error.code, error.message); process.exitCode = 1; });
"""
PYTHON_GREETING = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1]).status)
"""


@pytest.fixture(scope="module")
def served(installed: Installed) -> Iterator[Machine]:
    """A machine whose user had a Firefox profile, then typed `devtls up` for the example."""
    with Machine(installed, "free") as machine:
        place = bring_example(machine)
        assert firefox(machine, "about:blank").error == ""
        started = devtls(machine, place, *UP[1:], "-d")
        assert started.status == 0, started.output
        yield machine
        ended = devtls(machine, place, "down")
        assert ended.status == 0, ended.output


def authority_for(machine: Machine, name: str) -> str:
    """The folder of dev's certificate authority for this name."""
    found = machine.run(["find", "/home/dev/.local/share/devtls", "-name", "root.pem"], check=True).stdout.split()
    for path in found:
        text = machine.run(["openssl", "x509", "-noout", "-text", "-in", path], check=True).stdout
        if f"DNS:{name}\n" in text:
            return path.removesuffix("/root.pem")
    pytest.fail(f"no authority for {name} among {found}")


def test_chromium_shows_a_secure_page_and_the_greeting_over_wss(served: Machine) -> None:
    page = chromium(served, "https://love.cat", awaited="Hello, World!")
    assert (page.error, page.is_secure, page.console) == ("", True, [])
    assert "Hello, World!" in page.text
    assert "Hello, World!" in page.frames
    assert "love.cat" in page.issuer or "devtls" in page.issuer, page.issuer


def test_chromium_shows_the_localhost_name_too(served: Machine) -> None:
    page = chromium(served, "https://love.cat.localhost", awaited="Hello, World!")
    assert (page.error, page.is_secure, page.console) == ("", True, [])
    assert "Hello, World!" in page.frames


def test_firefox_shows_a_secure_page_and_the_greeting_over_wss(served: Machine) -> None:
    page = firefox(served, "https://love.cat", awaited="Hello, World!")
    assert (page.error, page.is_secure) == ("", True)
    assert "Hello, World!" in page.text


def test_another_user_of_the_machine_trusts_it_through_the_system_store(served: Machine) -> None:
    assert "<title>love.cat" in page_of(served, "https://love.cat", "guest")
    assert (
        served.run(["/usr/bin/python3", "-I", "-c", PYTHON_GREETING, "https://love.cat"], user="guest").output
        == "200\n"
    )


def test_node_trusts_it_when_told_of_the_root_and_not_before(served: Machine) -> None:
    root = f"{authority_for(served, 'love.cat')}/root.pem"
    refused = served.run(["node", "--use-bundled-ca", "-e", NODE_GREETING])  # Debian's own reads the system store
    assert refused.stdout.startswith(("SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT")), refused.output
    greeted = served.run(["node", "-e", NODE_GREETING], env={"NODE_EXTRA_CA_CERTS": root})
    assert greeted.output == "200\n"


def test_a_websocket_client_of_python_and_of_node_is_greeted(served: Machine) -> None:
    python = "import websockets.sync.client as c\nwith c.connect('wss://love.cat/chat') as s: print(s.recv())"
    assert served.run([str(served.installed.python), "-c", python]).output == "Hello, World!\n"
    node = "const s = new (require('ws'))('wss://love.cat/chat').on('message', m => { console.log(`${m}`); s.close() })"
    root = f"{authority_for(served, 'love.cat')}/root.pem"
    greeted = served.run(["node", "-e", node], cwd="/home/dev/love-cat", env={"NODE_EXTRA_CA_CERTS": root})
    assert greeted.output == "Hello, World!\n"


@contextlib.contextmanager
def forged(machine: Machine, name: str) -> Iterator[str]:
    """Serve a certificate for this name, signed with the key on the disk; the URL."""
    place = f"/home/dev/forged/{name}"
    machine.run(["mkdir", "-p", place], check=True)
    issuer = f"{authority_for(machine, 'love.cat')}/issuer.pem"
    machine.run(["sh", "-c", FORGE, "sh", issuer, name], cwd=place, check=True)
    machine.write("/etc/hosts", f"{machine.read('/etc/hosts')}127.0.0.1 {name}\n", user="root")
    server = machine.start(["/usr/bin/python3", "-I", "-c", SERVER], cwd=place)
    try:
        server.wait_for("^listening$")
        yield f"https://{name}:9443"
    finally:
        server.send_signal("KILL")
        server.wait()


@pytest.mark.parametrize("name", ["example.com", "love.cat.example.com", "love.dog"])
def test_what_the_key_on_the_disk_signs_for_another_name_is_refused_by_all(served: Machine, name: str) -> None:
    root = f"{authority_for(served, 'love.cat')}/root.pem"
    with forged(served, name) as url:
        assert "permitted subtree violation" in page_of(served, url)
        assert "permitted subtree violation" in page_of(served, url, "dev", "--cacert", root)
        node = NODE_GREETING.replace("https://love.cat/", url)
        assert (
            "permitted subtree violation" in served.run(["node", "-e", node], env={"NODE_EXTRA_CA_CERTS": root}).stdout
        )
        python = served.run(["/usr/bin/python3", "-I", "-c", PYTHON_GREETING, url])
        assert "permitted subtree violation" in python.stderr, python.output
        assert "ERR_CERT_INVALID" in chromium(served, url, patience=1).error


def test_firefox_refuses_what_the_key_on_the_disk_signs_for_another_name(served: Machine) -> None:
    with forged(served, "firefox.example.com") as url:
        assert "SEC_ERROR_CERT_NOT_IN_NAME_SPACE" in firefox(served, url, patience=1).error


def test_the_same_key_signs_below_its_own_domain_so_that_the_refusal_says_something(served: Machine) -> None:
    with forged(served, "x.love.cat") as url:
        assert page_of(served, url, "dev", "-o", "/dev/null", "-w", "%{http_code}") == "200"
        assert chromium(served, url, patience=1).error == ""


# The founding fault: production's location lacked three lines.


@pytest.fixture(scope="module")
def broken(installed: Installed) -> Iterator[Machine]:
    """A machine with templates whose location lacks the three lines."""
    with Machine(installed, "free") as machine:
        bring_example(machine)
        find = "from devtls.system.templates import find_templates as find; print(find({}))"
        source = machine.run([str(installed.devtls.with_name("python")), "-c", find], check=True).stdout.strip()
        machine.run(["cp", "-R", source, "/home/dev/templates"], check=True)
        lines = "/proxy_http_version|proxy_set_header (Upgrade|Connection)/d"
        locations = machine.run(
            ["grep", "-rl", "proxy_set_header Upgrade", "/home/dev/templates"], check=True
        ).stdout.split()
        machine.run(["sed", "-E", "-i", lines, *locations], check=True)
        yield machine


TEMPLATES = {"DEVTLS_TEMPLATES": "/home/dev/templates"}


def test_the_founding_fault_is_named_with_its_layer_and_the_three_lines(broken: Machine) -> None:
    running = up(broken, "/home/dev/love-cat", env=TEMPLATES)
    running.wait_for(OVER)
    said = running.output
    assert re.search(r"^✓ https://love\.cat +200 ", said, re.MULTILINE), said
    assert re.search(r"^✗ wss://love\.cat/chat +404", said, re.MULTILINE), said
    assert "Ready" not in said
    for line in CURE:
        assert re.search(rf"^ {{6,}}{re.escape(line)}$", said, re.MULTILINE), said
    (red,) = [check for check in status_of(broken, "/home/dev/love-cat")["checks"] if check["verdict"] == "failed"]
    assert red["layer"] in {"gateway", "proxy"}, red
    evidence = "\n".join([red["fact"], *red["evidence"]])
    assert "101" in evidence, red
    assert "404" in evidence, red

    page = chromium(broken, "https://love.cat", awaited="handshake")
    assert page.error == ""
    assert any(CONSOLE_ERROR in line for line in page.console), page.console
    assert "Hello, World!" not in page.text
    running.wait_for(r"a WebSocket handshake on /chat was answered 404")
    stop(running)
    assert_nothing_runs(broken)


def test_with_the_founding_fault_a_detached_up_ends_with_1_and_the_services_stay_up(broken: Machine) -> None:
    place = "/home/dev/love-cat"
    started = devtls(broken, place, *UP[1:], "-d", env=TEMPLATES)
    assert started.status == 1, started.output
    assert re.search(r"^✗ wss://love\.cat/chat +404", started.stdout, re.MULTILINE), started.output
    assert "<title>love.cat" in page_of(broken, "https://love.cat")
    table = devtls(broken, place, "ps")
    assert table.status == 1
    assert re.search(r"^web +ready ", table.stdout, re.MULTILINE), table.stdout
    assert devtls(broken, place, "down").status == 0
    assert_nothing_runs(broken)


def test_a_root_users_chromium_and_curl_trust_what_root_serves(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("none")
    place = bring_example(machine, "root")
    started = devtls(machine, place, *UP[1:], "-d", user="root")
    assert started.status == 0, started.output
    page = chromium(machine, "https://love.cat", user="root", awaited="Hello, World!")
    assert (page.error, page.is_secure) == ("", True)
    assert "Hello, World!" in page.frames
    assert devtls(machine, place, "down", user="root").status == 0
    assert_nothing_runs(machine)
