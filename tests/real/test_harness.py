"""The private machines of the real tests are private, and their browsers are as strict as anybody's."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.real.browsers import chromium, firefox
from tests.real.machine import PASSWORD
from tests.real.running import Completed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.machine import Machine, Sudo

PLACE = "/home/dev/site"

# A page over TLS on 127.0.0.1:443, for the certificate and key in its directory.
SERVER = """
import http.server, ssl
server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("chain.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening", flush=True)
server.serve_forever()
"""


def make_chain(host: str) -> tuple[str, str, str]:
    """A root, a leaf with that root, and the leaf's key, all PEM."""
    now = dt.datetime.now(dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("Harness root", host)]
    made = []
    for key, name in zip(keys, names, strict=True):
        is_root = name is names[0]
        builder = x509.CertificateBuilder(names[0], name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(hours=1))
        builder = builder.not_valid_after(now + dt.timedelta(days=2))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()))
    root, leaf = (certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in made)
    key_pem = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return root, leaf + root, key_pem.decode()


@pytest.fixture
def site(machine: Machine) -> Machine:
    """A machine that serves https://love.cat with a certificate that nobody trusts yet; its root is root.pem."""
    root, chain, key = make_chain("love.cat")
    machine.write(f"{PLACE}/root.pem", root)
    machine.write(f"{PLACE}/chain.pem", chain)
    machine.write(f"{PLACE}/key.pem", key)
    machine.write(f"{PLACE}/index.html", "<!doctype html><title>x</title><p>Hello from the harness")
    machine.write("/etc/hosts", "127.0.0.1 localhost love.cat\n", user="root")
    machine.start(["/usr/bin/python3", "-I", "-c", SERVER], user="root", cwd=PLACE).wait_for("^listening$")
    return machine


def trust(machine: Machine, database: str) -> None:
    words = ["certutil", "-A", "-d", f"sql:{database}", "-n", "harness", "-t", "C,,", "-i", f"{PLACE}/root.pem"]
    machine.run(words, check=True)


def test_what_is_written_inside_is_not_written_outside(machine: Machine) -> None:
    before = Path("/etc/hosts").read_bytes()
    for place in ("/etc/hosts", "/usr/local/share/ca-certificates/x.crt", "/var/lib/x", "/tmp/x", "/root/x", "/home/x"):
        machine.write(place, "127.0.0.1 love.cat\n", user="root")
        assert machine.read(place) == "127.0.0.1 love.cat\n"
    assert Path("/etc/hosts").read_bytes() == before
    for place in ("/usr/local/share/ca-certificates/x.crt", "/var/lib/x", "/tmp/x", "/root/x", "/home/x"):
        assert not Path(place).exists()


def test_the_network_is_private_and_port_443_is_free(machine: Machine) -> None:
    assert machine.listening() == set()
    assert [seen.argv for seen in machine.processes()] == []
    machine.run(["ip", "addr", "show", "lo"], check=True)
    assert "::1/128" in machine.run(["ip", "addr", "show", "lo"]).stdout


def test_users_are_who_they_seem(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    assert machine.run(["id", "-un"]).stdout == "dev\n"
    assert machine.run(["sudo", "-n", "id", "-u"]).stdout == "0\n"
    assert machine.run(["sudo", "-n", "true"], user="guest").status == 1
    assert machine.run(["cat", "/etc/shadow"]).status == 1
    assert make_machine("none").run(["sudo", "-n", "true"]).status == 1


def test_the_environment_is_that_of_a_login(machine: Machine) -> None:
    names = {line.partition("=")[0] for line in machine.run(["env"]).stdout.splitlines()}
    assert names == {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "PWD"}


def test_sudo_asks_for_a_password_on_a_terminal(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("password")
    assert machine.run(["sudo", "-n", "true"]).status == 1
    running = machine.start(["sudo", "id", "-un"], terminal=True)
    running.wait_for("password for dev: ")
    running.write(f"{PASSWORD}\n")
    running.wait_for("^root$")
    assert running.wait() == 0


def test_control_c_reaches_the_program_in_the_foreground(machine: Machine) -> None:
    running = machine.start(["sh", "-c", "tty; exec sleep 600"], terminal=True)
    running.wait_for("^/dev/pts/")
    running.press_control_c()
    assert running.wait() == 130
    assert machine.processes() == []


def test_signals_and_exit_statuses_pass_through(machine: Machine) -> None:
    running = machine.start(["sh", "-c", "echo up; exec sleep 600"])
    running.wait_for("^up$")
    running.send_signal("TERM")
    assert running.wait() == 143
    completed = machine.run(["sh", "-c", "cat; echo oops >&2; exit 7"], stdin="words")
    assert completed == Completed(7, "words", "oops\n")


def test_closing_a_machine_ends_all_that_ran_in_it(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    machine.start(["setsid", "sh", "-c", "trap '' TERM INT HUP; echo up; sleep 4242; sleep 4242"]).wait_for("^up$")
    machine.close()
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert [line for line in lines if "4242" in line] == []


def test_devtls_is_installed_without_its_source(machine: Machine) -> None:
    python = machine.installed.devtls.with_name("python")
    where = machine.run([str(python), "-c", "import devtls; print(devtls.__file__)"], check=True).stdout
    assert where.startswith(str(machine.installed.directory))
    assert machine.run(["devtls", "--version"], check=True).stdout.startswith("devtls")


def test_chromium_refuses_a_page_until_its_root_is_in_the_users_home(site: Machine) -> None:
    page = chromium(site, "https://love.cat")
    assert "ERR_CERT_AUTHORITY_INVALID" in page.error
    site.run(["mkdir", "-p", "/home/dev/.pki/nssdb"], check=True)
    site.run(["certutil", "-N", "-d", "sql:/home/dev/.pki/nssdb", "--empty-password"], check=True)
    trust(site, "/home/dev/.pki/nssdb")
    page = chromium(site, "https://love.cat", awaited="Hello")
    assert (page.error, page.text, page.is_secure) == ("", "Hello from the harness", True)
    assert page.issuer == "Harness root"
    assert page.png.startswith(b"\x89PNG")


def test_firefox_refuses_a_page_until_its_root_is_in_the_users_profile(site: Machine) -> None:
    assert firefox(site, "about:blank").error == ""
    assert "SEC_ERROR_UNKNOWN_ISSUER" in firefox(site, "https://love.cat").error
    (store,) = site.run(["find", "/home/dev", "-name", "cert9.db"], check=True).stdout.split()
    trust(site, str(Path(store).parent))
    page = firefox(site, "https://love.cat", awaited="Hello")
    assert (page.error, page.text, page.is_secure) == ("", "Hello from the harness", True)


def test_both_browsers_see_the_example_greet(machine: Machine) -> None:
    machine.copy(machine.installed.example, "/home/dev/love-cat")
    machine.start(["node", "app.js"], cwd="/home/dev/love-cat").wait_for("listens on http://127.0.0.1:3000$")
    page = chromium(machine, "http://127.0.0.1:3000", awaited="Hello, World!")
    assert "Hello, World!" in page.text
    assert "Hello, World!" in page.frames
    assert page.console == []
    page = firefox(machine, "http://127.0.0.1:3000", awaited="Hello, World!")
    assert "Hello, World!" in page.text


def test_chromium_says_why_a_websocket_failed(machine: Machine) -> None:
    script = "new WebSocket('ws://127.0.0.1:3000/nowhere')"
    machine.write("/home/dev/site/index.html", f"<!doctype html><title>x</title><script>{script}</script>")
    words = ["/usr/bin/python3", "-u", "-m", "http.server", "3000", "--bind", "127.0.0.1"]
    machine.start(words, cwd="/home/dev/site").wait_for("Serving HTTP")
    page = chromium(machine, "http://127.0.0.1:3000", awaited="handshake")
    assert any("Error during WebSocket handshake: Unexpected response code: 404" in line for line in page.console)
