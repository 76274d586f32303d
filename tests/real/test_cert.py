"""`devtls cert`: files for elsewhere, read by the programs that they are for. Nothing of the machine is touched."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.real.machine import Machine

DEVTLS = Path(sys.executable).with_name("devtls")
ROUNDS, AT_ONCE = 20, 5
DAYS = 397


class Home:
    """A user's empty home, and a folder to type in."""

    def __init__(self, place: Path) -> None:
        self.place = place / "home"
        self.folder = place / "work"
        self.place.mkdir(mode=0o700)
        self.folder.mkdir()
        self.environment = {"HOME": str(self.place), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        self.authorities = self.place / ".local/share/devtls/ca"

    def cert(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.run([str(DEVTLS), "cert", *words], stdin)

    def run(self, argv: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program in the folder."""
        return subprocess.run(
            argv, input=stdin, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )

    def openssl(self, *words: str) -> str:
        ended = self.run(["openssl", *words])
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def roots(self) -> Path:
        """A file of all roots on the disk."""
        file = self.place / "roots.pem"
        file.write_bytes(b"".join(each.read_bytes() for each in sorted(self.authorities.glob("*/root.pem"))))
        return file

    def verify(self, name: str) -> str:
        """What openssl says of a file of the folder, trusting the roots on the disk."""
        return self.openssl("verify", "-x509_strict", "-CAfile", str(self.roots()), "-untrusted", name, name)

    def files(self) -> list[str]:
        return sorted(each.name for each in self.folder.iterdir())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """Shake hands; return what the client says of it, or the server when the client is content."""
    ours, theirs = socket.socketpair()
    said: list[str] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as secured:
                secured.recv(1)
        except OSError as error:
            said.append(f"server: {error}")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as secured:
            secured.send(b"x")
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError as error:  # the server hung up on us; why, it says itself
        said.append(f"client: {error}")
    finally:
        ours.close()
        thread.join()
    return max(said, default="accepted")  # the server's words before ours


def test_files_are_named_as_mkcert_names_them_and_the_key_is_ones_own(home: Home) -> None:
    said = home.cert("love.cat", "*.love.cat", "127.0.0.1", "::1")
    assert said.returncode == 0, said.stderr
    assert home.files() == ["love.cat+3-key.pem", "love.cat+3.pem"]
    modes = [(home.folder / each).stat().st_mode & 0o777 for each in home.files()]
    assert modes == [0o600, 0o644]
    assert "love.cat+3.pem      certificate, valid until 20" in said.stdout
    assert home.verify("love.cat+3.pem") == "love.cat+3.pem: OK\n"
    text = home.openssl("x509", "-noout", "-text", "-in", "love.cat+3.pem")
    assert "DNS:love.cat, DNS:*.love.cat, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1" in text
    assert "Subject: O = devtls development certificate\n" in text
    assert home.openssl("x509", "-noout", "-checkend", str((DAYS - 1) * 86400), "-in", "love.cat+3.pem")
    for words, files in {
        ("*.love.cat",): ["_wildcard.love.cat.pem", "_wildcard.love.cat-key.pem"],
        ("::1",): ["__1.pem", "__1-key.pem"],
        ("love.cat", "--client"): ["love.cat-client.pem", "love.cat-client-key.pem"],
        ("love.cat", "--p12"): ["love.cat.p12"],
    }.items():
        assert home.cert(*words).returncode == 0
        assert all((home.folder / each).is_file() for each in files), words


def test_a_client_takes_the_names_and_no_other(home: Home) -> None:
    assert home.cert("love.cat", "*.love.cat").returncode == 0
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(home.folder / "love.cat+1.pem", home.folder / "love.cat+1-key.pem")
    client = ssl.create_default_context(cafile=str(home.roots()))
    assert handshake(server, client, "love.cat") == "accepted"
    assert handshake(server, client, "chat.love.cat") == "accepted"
    assert "Hostname mismatch" in handshake(server, client, "example.com")
    assert "unable to get" in handshake(server, ssl.create_default_context(), "love.cat")


def test_a_client_certificate_is_taken_by_a_server_that_asks_for_one(home: Home) -> None:
    assert home.cert("love.cat", "--client", "--rsa").returncode == 0
    pair = (home.folder / "love.cat-client.pem", home.folder / "love.cat-client-key.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*pair)
    server.load_verify_locations(home.roots())
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=str(home.roots()))
    assert handshake(server, client, "love.cat").startswith("server: ")
    client.load_cert_chain(*pair)
    assert handshake(server, client, "love.cat") == "accepted"
    assert "Public-Key: (2048" in home.openssl("x509", "-noout", "-text", "-in", str(pair[0]))


def test_a_pkcs12_file_is_opened_by_java_and_by_openssl(home: Home) -> None:
    assert home.cert("love.cat", "--p12").returncode == 0
    assert (home.folder / "love.cat.p12").stat().st_mode & 0o777 == 0o600
    listed = home.run(["keytool", "-list", "-keystore", "love.cat.p12", "-storepass", "changeit"]).stdout
    assert "PrivateKeyEntry" in listed
    legacy = ("-legacy", "-in", "love.cat.p12", "-passin", "pass:changeit", "-nodes")
    assert home.openssl("pkcs12", *legacy).count("BEGIN CERTIFICATE") == 2


def test_what_somebody_else_wrote_is_never_overwritten_and_ours_is_replaced(home: Home) -> None:
    (home.folder / "love.cat-key.pem").write_text("mine")
    refused = home.cert("love.cat")
    assert (refused.returncode, "devtls did not write it" in refused.stderr) == (4, True)
    assert (home.files(), (home.folder / "love.cat-key.pem").read_text()) == (["love.cat-key.pem"], "mine")
    (home.folder / "love.cat-key.pem").unlink()
    assert home.cert("love.cat").returncode == 0
    make_team(home)
    ours = (home.folder / "love.cat-key.pem").read_bytes()
    (home.folder / "love.cat-key.pem").write_bytes((home.folder / "team.key").read_bytes())
    assert home.cert("love.cat").returncode == 4, "a key of somebody else's beside a certificate of ours"
    (home.folder / "love.cat-key.pem").write_bytes(ours)
    for name, words in {"shop.test.pem": [], "shop.test.p12": ["--p12"]}.items():
        (home.folder / name).mkdir()
        assert home.cert("shop.test", *words).returncode == 4
    (home.folder / "chat.test.pem").symlink_to("love.cat.pem")
    assert home.cert("chat.test").returncode == 4, "a link may lead anywhere"
    before = (home.folder / "love.cat.pem").read_bytes()
    assert home.cert("love.cat").returncode == 0
    assert (home.folder / "love.cat.pem").read_bytes() != before
    (home.folder / "elsewhere").mkdir()
    assert home.cert("love.cat", "--out", "elsewhere").returncode == 0
    missing = home.cert("love.cat", "--out", "nowhere")
    assert (missing.returncode, "mkdir -p nowhere" in missing.stderr) == (2, True)


def test_one_authority_signs_all_the_names_and_a_new_one_can_be_forbidden(home: Home) -> None:
    first = home.cert("love.cat", "localhost", "127.0.0.1", "--json")
    document = json.loads(first.stdout)
    assert (document["schema"], document["authority"]["names"]) == ("devtls.cert/1", ["love.cat", "localhost", "test"])
    assert any("no store of this machine trusts" in notice["fact"] for notice in document["notices"])
    assert home.cert("chat.love.cat", "--no-new-ca").returncode == 0
    refused = home.cert("shop.dev", "--no-new-ca")
    assert (refused.returncode, "    love.cat, localhost, test" in refused.stderr) == (1, True)
    assert len(list(home.authorities.glob("*/root.pem"))) == 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a@love.cat", "an e-mail address"),
        ("https://love.cat/", "a URL"),
        ("co.uk", "a public suffix"),
        ("a..b", "a label between two dots is empty"),
        ("love_cat.test", "a character that host names cannot have"),
    ],
)
def test_what_is_no_name_to_sign_is_refused_before_anything_is_made(home: Home, name: str, why: str) -> None:
    refused = home.cert(name)
    assert (refused.returncode, why in refused.stderr) == (2, True), refused.stderr
    assert (home.files(), home.authorities.exists()) == ([], False)


def test_a_wildcard_that_clients_refuse_and_a_real_domain_are_told_about(home: Home) -> None:
    assert "most clients refuse *.test" in home.cert("*.test").stdout
    assert "love.cat may be a real site" in home.cert("love.cat").stdout
    assert "may be a real site" not in home.cert("love.cat").stdout, "once, when its authority is made"
    assert "may be a real name in your network" in home.cert("nas.internal").stdout


def test_a_damaged_authority_is_moved_aside_and_told_and_the_next_run_works(home: Home) -> None:
    assert home.cert("love.test").returncode == 0
    (issuer,) = home.authorities.glob("*/issuer.pem")
    text = issuer.read_text()
    issuer.write_text(text.replace(text.splitlines()[2], text.splitlines()[2][::-1]))
    damaged = home.cert("love.test")
    assert damaged.returncode == 1
    assert "is damaged; it was moved to" in damaged.stderr
    assert home.cert("love.test").returncode == 0
    assert home.verify("love.test.pem") == "love.test.pem: OK\n"
    (issuer,) = home.authorities.glob("????????/issuer.pem")
    issuer.write_text(issuer.read_text()[:-90])
    cut = home.cert("love.test")
    assert cut.returncode == 0
    assert f"the authority in {issuer.parent} is damaged; it is in " in cut.stdout
    (issuer,) = home.authorities.glob("????????/issuer.pem")
    issuer.chmod(0o640)
    refused = home.cert("love.test")
    assert (refused.returncode, f"chmod 600 {issuer}" in refused.stderr) == (1, True)


def make_team(
    home: Home, *, kind: str = "rsa", extensions: str = "basicConstraints=critical,CA:TRUE"
) -> tuple[str, str]:
    """A team's own authority, made with openssl: the names of its certificate and key."""
    key = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]
    words = ["-x509", "-newkey", *key, "-nodes", "-keyout", "team.key", "-out", "team.pem", "-days", "30"]
    (home.folder / "team.cnf").write_text(f"[req]\ndistinguished_name=name\n[name]\n[ca]\n{extensions}\n")
    home.openssl("req", *words, "-subj", "/CN=our team", "-config", "team.cnf", "-extensions", "ca")
    (home.folder / "team.key").chmod(0o600)
    return "team.pem", "team.key"


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_a_teams_own_authority_signs_and_its_key_is_not_kept(home: Home, kind: str) -> None:
    ca, key = make_team(home, kind=kind)
    said = home.cert("shop.example", "--ca", ca, "--key", key)
    assert said.returncode == 0, said.stderr
    assert home.openssl("verify", "-CAfile", ca, "shop.example.pem") == "shop.example.pem: OK\n"
    assert not list(home.place.rglob("*.pem")), "nothing of it is kept"


def test_a_teams_authority_is_refused_when_it_may_not_or_cannot_sign(home: Home) -> None:
    ca, key = make_team(
        home, extensions="basicConstraints=critical,CA:TRUE\nnameConstraints=critical,permitted;DNS:a.dev"
    )
    refused = home.cert("shop.example", "--ca", ca, "--key", key)
    assert (refused.returncode, "may not sign shop.example" in refused.stderr) == (2, True)
    assert home.cert("www.a.dev", "--ca", ca, "--key", key).returncode == 0
    (home.folder / key).chmod(0o644)
    readable = home.cert("www.a.dev", "--ca", ca, "--key", key)
    assert (readable.returncode, "chmod 600 team.key" in readable.stderr) == (1, True)
    (home.folder / key).chmod(0o600)
    home.openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    (home.folder / "locked.key").chmod(0o600)
    locked = home.cert("www.a.dev", "--ca", ca, "--key", "locked.key")
    assert (locked.returncode, "openssl pkey -in locked.key" in locked.stderr) == (1, True)
    other = home.folder / "other.pem"
    (home.folder / ca).rename(other)
    make_team(home)
    mixed = home.cert("www.a.dev", "--ca", "other.pem", "--key", key)
    assert (mixed.returncode, "is not the key of" in mixed.stderr) == (2, True)
    make_team(home, extensions="basicConstraints=critical,CA:FALSE")
    no_ca = home.cert("www.a.dev", "--ca", ca, "--key", key)
    assert (no_ca.returncode, "is not a certificate authority" in no_ca.stderr) == (2, True)
    assert home.cert("www.a.dev", "--ca", ca).returncode == 2
    missing = home.cert("www.a.dev", "--ca", "nowhere.pem", "--key", key)
    assert (missing.returncode, "nowhere.pem cannot be read" in missing.stderr) == (1, True)


def test_first_runs_at_the_same_time_make_one_authority_and_whole_certificates(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        (tmp_path / str(number)).mkdir()
        home = Home(tmp_path / str(number))
        started = []
        for each in range(AT_ONCE):
            (home.folder / str(each)).mkdir()
            argv = [str(DEVTLS), "cert", "love.test", "--out", str(each)]
            started.append(subprocess.Popen(argv, env=home.environment, cwd=home.folder, stdout=subprocess.DEVNULL))
        assert [each.wait() for each in started] == [0] * AT_ONCE
        assert len(list(home.authorities.glob("*/root.pem"))) == 1
        for each in range(AT_ONCE):
            assert home.verify(f"{each}/love.test.pem") == f"{each}/love.test.pem: OK\n"


@pytest.fixture
def cramped(machine: Machine) -> Machine:
    """A machine with a folder on a disk that has room for the key, and for nothing else."""
    script = (
        "mkdir -p /home/dev/full && mount -t tmpfs -o size=8k,uid=61001 tmpfs /home/dev/full"
        " && head -c 4096 /dev/zero > /home/dev/full/filler"
    )
    machine.run(["sh", "-c", script], user="root", check=True)
    return machine


def test_a_full_disk_gets_both_files_or_none_and_a_read_only_home_is_told(cramped: Machine) -> None:
    refused = cramped.run(["devtls", "cert", "love.test", "--out", "/home/dev/full"])
    assert (refused.status, "No space left on device" in refused.stderr) == (1, True), refused.output
    assert cramped.run(["ls", "/home/dev/full"]).stdout == "filler\n"
    cramped.run(
        ["sh", "-c", "mount --bind /home/dev /home/dev && mount -o remount,bind,ro /home/dev"], user="root", check=True
    )
    fixed = cramped.run(["devtls", "cert", "shop.dev", "--out", "/tmp"])
    assert (fixed.status, "export XDG_DATA_HOME=" in fixed.stderr) == (1, True), fixed.output


# What the linter says of names that are right here; docs/trust.md explains them.
EXPLAINED = re.compile(
    r'pkix\.invalid_domain_name_syntax \(ERROR\): Invalid domain name syntax: "(localhost|test|invalid|\*\..+)"'
)


def test_a_linter_of_certificates_finds_nothing_that_is_not_explained(home: Home) -> None:
    for words in (
        ("love.cat", "*.love.cat", "localhost", "127.0.0.1"),
        ("love.test", "--client", "--rsa"),
        ("10.0.0.7",),
    ):
        assert home.cert(*words).returncode == 0
    pem = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)
    certificates = {found for file in home.folder.glob("*.pem") for found in pem.findall(file.read_text())}
    certificates |= {found for file in home.authorities.glob("*/*.pem") for found in pem.findall(file.read_text())}
    assert len(certificates) == 2 * 2 + 3, "two roots, their issuers, three leaves"
    findings = []
    for number, text in enumerate(sorted(certificates)):
        (home.place / f"{number}.crt").write_text(text)
        argv = [
            str(DEVTLS.with_name("lint_pkix_cert")),
            "lint",
            "--severity",
            "WARNING",
            str(home.place / f"{number}.crt"),
        ]
        ended = home.run(argv)
        told = [line.strip() for line in ended.stdout.splitlines() if "pkix." in line]
        assert (ended.stderr, ended.returncode) == ("", len(told)), "it ends with the number of its findings"
        findings += told
    assert [finding for finding in findings if not EXPLAINED.fullmatch(finding)] == []
    assert any("localhost" in finding for finding in findings), "it did look"


def test_the_password_of_a_teams_key_is_asked_for_on_the_terminal(machine: Machine) -> None:
    make = (
        "openssl req -x509 -newkey rsa:2048 -keyout key.pem -out ca.pem -days 9 -subj /CN=team -passout pass:secret"
        " -addext basicConstraints=critical,CA:TRUE && chmod 600 key.pem"
    )
    machine.run(["sh", "-c", make], check=True)
    for password, status in (("wrong", 1), ("secret", 0)):
        typed = machine.start(["devtls", "cert", "shop.test", "--ca", "ca.pem", "--key", "key.pem"], terminal=True)
        typed.wait_for("Password of key.pem: ")
        typed.write(f"{password}\n")
        assert typed.wait() == status, typed.output
        assert password not in typed.output, "it is not shown"
    assert machine.run(["openssl", "verify", "-CAfile", "ca.pem", "shop.test.pem"]).stdout == "shop.test.pem: OK\n"
