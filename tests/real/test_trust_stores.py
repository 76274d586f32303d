from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import asdict

from devtls.ca import store as ca
from devtls.system.paths import Paths
from devtls.system.run import run
from devtls.trust import Change, Held, nss_database, receipts
from devtls.trust.arch import ARCH
from devtls.trust.fedora import FEDORA
from devtls.trust.nss import NssStore
from devtls.trust.nss import find_stores as nss_stores
from devtls.trust.suse import SUSE
from tests.real._root_door import throw_away_machine

if TYPE_CHECKING:
    from devtls.model import Authority
    from devtls.trust.system import Family

BUNDLES = "/etc/ssl/certs/ca-certificates.crt /etc/ca-certificates.conf"
FIREFOX = Path("/usr/lib/firefox-esr")
CHILD = Path(nss_database.__file__).with_name("nss_child.py")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "data", tmp_path / "state")


@pytest.fixture
def authority(paths: Paths) -> Authority:
    return ca.create_authority(paths, ("love.cat",), datetime.now(UTC))


def held(authority: Authority) -> Held:
    return Held(authority.name, authority.fingerprint)


def certutil(place: Path, *words: str) -> str:
    return run(["certutil", *words, "-d", f"sql:{place}"]).said


def der_of(authority: Authority) -> bytes:
    return subprocess.run(
        ["openssl", "x509", "-in", authority.root, "-outform", "der"], check=True, capture_output=True
    ).stdout


def test_a_missing_database_is_made_and_trusts_the_root_as_certutil_sees_it(
    authority: Authority, tmp_path: Path
) -> None:
    store = NssStore("Chromium", tmp_path / "new" / "nssdb", run)
    assert not store.is_trusted(authority)
    assert store.trust(authority) == Change()
    assert store.is_trusted(authority)
    assert f"{authority.name}                                              C,," in certutil(store.place, "-L")
    assert certutil(store.place, "-V", "-n", authority.name, "-u", "L").strip().endswith("certificate is valid")
    assert (store.place.stat().st_mode & 0o777, (store.place / "key4.db").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_root_is_taken_out_whatever_its_nickname_and_others_stay(authority: Authority, paths: Paths) -> None:
    store = NssStore("Firefox", paths.home / "profile", run)
    other = ca.create_authority(paths, ("other.cat",), datetime.now(UTC))
    assert store.trust(other) == Change()
    certutil(store.place, "-A", "-n", "my own name", "-t", "C,,", "-i", str(authority.root))
    assert store.is_trusted(authority)
    assert {each.fingerprint for each in store.find_held(ca.describe_owner())} == {
        authority.fingerprint,
        other.fingerprint,
    }
    assert store.untrust(held(authority)) == Change()
    assert not store.holds(held(authority))
    assert store.is_trusted(other)


def test_a_root_that_is_present_and_not_trusted_becomes_trusted(authority: Authority, tmp_path: Path) -> None:
    store = NssStore("Firefox", tmp_path / "profile", run)
    store.place.mkdir()
    certutil(store.place, "-N", "--empty-password")
    certutil(store.place, "-A", "-n", "x", "-t", ",,", "-i", str(authority.root))
    assert not store.is_trusted(authority)
    assert store.trust(authority) == Change()
    assert store.is_trusted(authority)


def test_the_trust_that_a_newer_nss_writes_is_understood(authority: Authority, tmp_path: Path) -> None:
    argv = [sys.executable, "-I", os.fspath(CHILD), "trust", os.fspath(tmp_path), authority.name]
    environment = {**os.environ, "LD_LIBRARY_PATH": os.fspath(FIREFOX)}
    run(argv, stdin=der_of(authority), environment=environment)
    store = NssStore("Firefox", tmp_path, run)
    assert store.is_trusted(authority)
    assert store.untrust(held(authority)) == Change()
    assert not store.is_trusted(authority)


# certutil needs libnss3, too: it gets it from a place that nobody else looks into.
HIDE_NSS = """
mkdir /mnt/nss /mnt/empty
cp -L $(ldd /usr/bin/certutil | awk '/libnss|libsmime|libssl3/ { print $3 }') /mnt/nss
cp $(find /usr/lib/*-linux-gnu -name libsoftokn3.so -o -name libfreebl\\*.so) /usr/bin/certutil /mnt/nss
printf '#!/bin/sh\\necho run >> ~/certutil\\nLD_LIBRARY_PATH=/mnt/nss exec /mnt/nss/certutil "$@"\\n' > /mnt/wrapper
chmod 755 /mnt/wrapper
mount --bind /mnt/wrapper /usr/bin/certutil
mount --bind /mnt/empty /usr/lib/firefox-esr
echo nothing > /mnt/no-library
for library in $(find /usr/lib -name libnss3.so); do mount --bind /mnt/no-library "$library"; done
"""
TRUST_AND_UNTRUST = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from devtls.model import Authority
from devtls.system.run import run
from devtls.trust import Held
from devtls.trust.nss import NssStore

authority = Authority("1a2b3c4d", (), Path(sys.argv[1]), fingerprint=sys.argv[2], not_after=datetime.now(UTC))
held = Held(authority.name, authority.fingerprint)
store = NssStore("Chromium", Path.home() / "nssdb", run)
print(store.trust(authority).troubles, store.is_trusted(authority))
print(store.untrust(held).troubles, store.holds(held))
"""


def test_where_libnss3_cannot_be_loaded_certutil_does_it(authority: Authority) -> None:
    with throw_away_machine() as machine:
        machine.root(HIDE_NSS)
        (machine.library / "root.pem").write_bytes(authority.root.read_bytes())
        words = [TRUST_AND_UNTRUST, str(machine.library), authority.fingerprint]
        told = machine.as_user(["/usr/bin/python3", "-c", *words])
        assert told.stdout == "() True\n() False\n", told.stdout + told.stderr
        assert machine.root("cat /home/devtls-door/certutil") == "run\n" * 3


def test_a_database_with_a_password_is_one_warning_with_a_command(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    store = NssStore("Firefox, profile x", tmp_path / "profile", run)
    store.place.mkdir()
    certutil(store.place, "-N", "-f", str(tmp_path / "pw"))
    (trouble,) = store.trust(authority).troubles
    assert "primary password" in trouble.fact
    assert f"sql:{store.place}" in trouble.cure[-1]


def test_a_damaged_database_is_one_warning_and_no_exception(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "cert9.db").write_bytes(b"SQLite format 3\0" + b"garbage" * 100)
    store = NssStore("Chromium", tmp_path, run)
    assert not store.is_trusted(authority)
    assert len(store.trust(authority).troubles) == 1
    assert len(store.untrust(held(authority)).troubles) == 1
    assert store.find_held(ca.describe_owner()) == ()


def test_everything_is_undone_by_receipts_also_in_a_profile_that_no_file_names(
    authority: Authority, paths: Paths
) -> None:
    store = NssStore("Firefox, profile gone", paths.home / "gone", run)
    store.place.mkdir()
    receipts.trust(store, authority, paths)
    assert [each.done for each in receipts.load_receipts(paths)] == [True]
    assert receipts.untrust_all([], paths, "nobody@nowhere", run) == Change()
    assert not store.holds(held(authority))
    assert receipts.load_receipts(paths) == ()


def test_the_system_store_takes_a_root_in_and_gives_it_back_byte_for_byte(authority: Authority) -> None:
    with throw_away_machine() as machine:
        pem = machine.library / f"{authority.name}.pem"
        pem.write_bytes(authority.root.read_bytes())
        machine.root("update-ca-certificates --fresh > /dev/null 2>&1")
        before = machine.root(f"sha256sum {BUNDLES}; ls -l /etc/ssl/certs | wc -l; ls /usr/local/share/ca-certificates")
        added = machine.user(f"install={pem}")
        assert (added["result"], added["done"]) == ("RootDone", [f"install {authority.name}"]), added
        assert authority.root.read_text() in machine.root("cat /etc/ssl/certs/ca-certificates.crt")
        trusted = machine.as_user(["openssl", "verify", "-CApath", "/etc/ssl/certs", str(pem)])
        assert trusted.stdout.endswith(": OK\n"), trusted.stderr
        removed = machine.user(f"remove={authority.name}")
        assert (removed["result"], removed["done"]) == ("RootDone", [f"remove {authority.name}"]), removed
        after = machine.root(f"sha256sum {BUNDLES}; ls -l /etc/ssl/certs | wc -l; ls /usr/local/share/ca-certificates")
        assert after == before


def test_java_trusts_the_root_and_forgets_it(authority: Authority) -> None:
    with throw_away_machine() as machine:
        pem = machine.library / f"{authority.name}.pem"
        pem.write_bytes(authority.root.read_bytes())
        list_all = "keytool -list -keystore /etc/ssl/certs/java/cacerts -storepass changeit 2> /dev/null"
        find = f"{list_all} | grep -c {authority.name} || :"
        machine.user(f"install={pem}")
        assert machine.root(find) == "1\n"
        machine.user(f"remove={authority.name}")
        assert machine.root(find) == "0\n"


def test_root_refuses_a_root_without_constraints_and_a_bad_name(tmp_path: Path) -> None:
    subject = ["-subj", "/O=x/CN=y", "-days", "3", "-nodes", "-newkey", "rsa:2048", "-keyout", str(tmp_path / "key")]
    with throw_away_machine() as machine:
        pem = machine.library / "devtls-00000000.pem"
        subprocess.run(["openssl", "req", "-x509", *subject, "-out", pem], check=True, capture_output=True)
        result = machine.user(f"install={pem}")
        assert (result["result"], result["done"]) == ("RootFailed", [])
        assert "not limited" in result["said"]
        assert machine.user("remove=devtls-../../x")["result"] == "RootFailed"


def test_a_store_that_fails_to_update_is_put_back_and_the_hosts_edit_is_told(authority: Authority) -> None:
    with throw_away_machine() as machine:
        pem = machine.library / f"{authority.name}.pem"
        pem.write_bytes(authority.root.read_bytes())
        machine.root("printf '#!/bin/sh\\necho the disk is tired\\nexit 1\\n' > /mnt/broken && chmod +x /mnt/broken")
        machine.root("mount --bind /mnt/broken /usr/sbin/update-ca-certificates")
        result = machine.user("hosts=love.cat", f"install={pem}")
        assert (result["result"], result["done"]) == ("RootDone", ["hosts"]), result
        assert result["failed"] == [[f"install {authority.name}", 47]]
        assert result["cure"][1:3] == ["| $ update-ca-certificates", "| the disk is tired"]
        assert "devtls" not in machine.root("ls -a /usr/local/share/ca-certificates")
        assert "devtls" not in machine.root("ls /etc/ssl/certs")


# Not these systems' tools: each puts all anchors behind the roots that came with the system, as the real ones do.
STAND_IN = """#!/bin/sh
# a stand-in for {tool}, made by a test
cat /mnt/shipped.pem $(find {directory} -name '*{suffix}') > {bundle}
"""


@pytest.mark.parametrize("family", [FEDORA, ARCH, SUSE], ids=["fedora", "arch", "suse"])
def test_the_script_serves_another_family_where_a_stand_in_plays_its_tool(
    authority: Authority, family: Family, request: pytest.FixtureRequest
) -> None:
    anchors = family.anchors
    bundle = Path(anchors.bundle)
    stand_in = STAND_IN.format(tool=family.tool, **asdict(anchors))
    with throw_away_machine() as machine:
        name = f"family={request.node.callspec.id}"
        machine.root("mkdir /mnt/upper /mnt/work; echo shipped > /mnt/shipped.pem")
        machine.root("mount -t overlay -o lowerdir=/usr/sbin,upperdir=/mnt/upper,workdir=/mnt/work overlay /usr/sbin")
        machine.root("mount -t tmpfs tmpfs /var/lib/ca-certificates 2> /dev/null || :")
        machine.root('mkdir -p "$1" "$2" && echo shipped > "$3"', anchors.directory, str(bundle.parent), str(bundle))
        machine.root(f"printf '%s' \"$1\" > /usr/sbin/{family.tool} && chmod 755 /usr/sbin/{family.tool}", stand_in)
        pem = machine.library / f"{authority.name}.pem"
        pem.write_bytes(authority.root.read_bytes())
        added = machine.user("hosts=love.cat", name, f"install={pem}")
        assert added["done"] == ["hosts", f"install {authority.name}"], added
        assert machine.root(f"cat {bundle}") == f"shipped\n{authority.root.read_text()}"
        assert machine.root(f"ls {anchors.directory}") == f"{authority.name}{anchors.suffix}\n"
        assert "love.cat" in machine.root("cat /etc/hosts")
        removed = machine.user(name, f"remove={authority.name}")
        assert removed["done"] == [f"remove {authority.name}"], removed
        assert machine.root(f"cat {bundle}; ls {anchors.directory}") == "shipped\n"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_script_that_is_killed_while_the_store_is_made_is_undone_later(authority: Authority, when: str) -> None:
    kill = "kill -9 $PPID"
    lines = [kill] if when == "before" else ['/mnt/real "$@"', kill]
    with throw_away_machine() as machine:
        pem = machine.library / f"{authority.name}.pem"
        pem.write_bytes(authority.root.read_bytes())
        machine.root("update-ca-certificates --fresh > /dev/null 2>&1; cp /usr/sbin/update-ca-certificates /mnt/real")
        look = f"sha256sum {BUNDLES}; ls -l /etc/ssl/certs | wc -l; ls /usr/local/share/ca-certificates"
        before = machine.root(look)
        machine.root("printf '%s\\n' \"$@\" > /mnt/killer && chmod +x /mnt/killer", "#!/bin/sh", *lines)
        for verb in (f"install={pem}", f"remove={authority.name}"):
            machine.root("mount --bind /mnt/killer /usr/sbin/update-ca-certificates")
            killed = machine.user(verb)
            assert (killed["result"], killed["done"]) == ("RootFailed", []), killed
            machine.root("umount --lazy /usr/sbin/update-ca-certificates")
            for left in Path("/tmp").glob(f"devtls.*/{authority.name}*"):  # what a script that is killed cannot delete
                shutil.rmtree(left.parent, ignore_errors=True)
        removed = machine.user(f"remove={authority.name}")
        assert removed["done"] == [f"remove {authority.name}"], removed
        assert machine.root(look) == before


def test_openssl_curl_node_and_python_accept_the_domain_and_refuse_a_foreign_one(
    authority: Authority, tmp_path: Path
) -> None:
    from devtls.ca.profile import issue_leaf

    issuer = (authority.directory / "issuer.pem").read_bytes()
    for host in ("love.cat", "example.com"):
        leaf = issue_leaf(issuer, host, now=datetime.now(UTC))
        (tmp_path / "chain.pem").write_bytes(leaf.fullchain)
        (tmp_path / "key.pem").write_bytes(leaf.key)
        said = ask_each_client(tmp_path, authority.root, host)
        expected = "accepted" if host == "love.cat" else "refused"
        assert said == dict.fromkeys(said, expected), (host, said)
        assert len(said) == 4


def ask_each_client(place: Path, root: Path, host: str) -> dict[str, str]:
    serve = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "chain.pem", "-cert_chain", "chain.pem"]
    serve += ["-key", "key.pem", "-www"]
    with subprocess.Popen(serve, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        line = next(line for line in iter(server.stdout.readline, "") if line.startswith("ACCEPT"))
        port = line.strip().rpartition(":")[2]
        try:
            return {name: ask(argv, root) for name, argv in clients(root, host, port).items()}
        finally:
            server.kill()


def clients(root: Path, host: str, port: str) -> dict[str, list[str]]:
    node = (
        f"require('https').get({{host:'127.0.0.1',port:{port},servername:'{host}',headers:{{Host:'{host}'}}}},"
        "r=>process.exit(0)).on('error',e=>{console.error(e);process.exit(1)})"
    )
    python = (
        f"import socket,ssl;c=ssl.create_default_context(cafile={os.fspath(root)!r});"
        f"c.wrap_socket(socket.create_connection(('127.0.0.1',{port})),server_hostname='{host}')"
    )
    return {
        "openssl": f"openssl s_client -no-CApath -verify_return_error -CAfile {root} -verify_hostname {host}"
        f" -servername {host} -connect 127.0.0.1:{port}".split(),
        "curl": f"curl -sSf --cacert {root} --resolve {host}:{port}:127.0.0.1 -o /dev/null https://{host}:{port}/".split(),
        "node": ["node", "-e", node],
        "python": [sys.executable, "-c", python],
    }


def ask(argv: list[str], root: Path) -> str:
    environment = {"PATH": "/usr/bin:/bin", "NODE_EXTRA_CA_CERTS": os.fspath(root)}
    return "accepted" if run(argv, environment=environment, check=False).status == 0 else "refused"


def test_chromium_trusts_the_domain_refuses_a_foreign_one_and_forgets(paths: Paths, authority: Authority) -> None:
    from devtls.ca.profile import issue_leaf

    paths.home.joinpath("bin").mkdir()
    paths.home.joinpath("bin/chromium").symlink_to("/usr/bin/chromium")
    stores = nss_stores(paths.home, {"PATH": str(paths.home / "bin")}, run)
    assert [each.place for each in stores] == [paths.home / ".local/share/pki/nssdb"]
    issuer = (authority.directory / "issuer.pem").read_bytes()
    for host in ("love.cat", "example.com"):
        leaf = issue_leaf(issuer, host, now=datetime.now(UTC))
        (paths.home / f"{host}.pem").write_bytes(leaf.fullchain + leaf.key)
    assert browse(paths.home, "love.cat") == "net::ERR_CERT_AUTHORITY_INVALID"
    receipts.trust(stores[0], authority, paths)
    assert browse(paths.home, "love.cat") == "200"
    assert browse(paths.home, "example.com") == "net::ERR_CERT_INVALID"
    receipts.untrust_all(stores, paths, ca.describe_owner(), run)
    assert browse(paths.home, "love.cat") == "net::ERR_CERT_AUTHORITY_INVALID"


def browse(home: Path, host: str) -> str:
    """Open the page in a fresh Chromium profile of this home; returns the status, or the browser's error."""
    from playwright.sync_api import Error, sync_playwright

    serve = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", f"{host}.pem", "-cert_chain", f"{host}.pem"]
    with (
        subprocess.Popen([*serve, "-www"], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server,
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as profile,
    ):
        assert server.stdout
        line = next(line for line in iter(server.stdout.readline, b"") if line.startswith(b"ACCEPT"))
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path="/usr/bin/chromium",
            env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
            args=["--no-sandbox", "--no-proxy-server", "--host-resolver-rules=MAP * 127.0.0.1"],
        )
        try:
            answer = browser.new_page().goto(f"https://{host}:{line.decode().strip().rpartition(':')[2]}/")
            return str(answer.status) if answer else "no answer"
        except Error as error:
            return str(error).split()[1]
        finally:
            browser.close()
            server.kill()
