"""Java's keystores: a whole JDK in a home, and the one that Debian's hook keeps."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtls.ca import store as ca
from devtls.ca.profile import issue_leaf
from devtls.system.paths import Paths
from devtls.system.run import run
from devtls.trust import Change, Held, java, receipts
from tests.real._root_door import throw_away_machine
from tests.real.tls import ask_java, compile_client, java_set, serving

if TYPE_CHECKING:
    from devtls.model import Authority

SYSTEM = "/etc/ssl/certs/java/cacerts"
NONE = ["-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE", "-J-Dkeystore.pkcs12.macAlgorithm=NONE"]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "data", tmp_path / "state")


@pytest.fixture
def authority(paths: Paths) -> Authority:
    return ca.create_authority(paths, ("love.cat",), datetime.now(UTC))


def make_home(home: Path) -> Path:
    """A Java as IDEs put it into a home, with the system's roots in a keystore of its own; returns the keystore."""
    place = home / ".jdks/mine"
    keystore = place / "lib/security/cacerts"
    keystore.parent.mkdir(parents=True)
    (place / "bin").mkdir()
    (place / "bin/keytool").symlink_to("/usr/bin/keytool")
    shutil.copy(SYSTEM, keystore)
    return keystore


def convert(keystore: Path, *words: str, password: str = java.PASSWORD) -> None:
    """Write a keystore anew as PKCS#12."""
    made = keystore.with_name("p12")
    argv = [
        "keytool",
        *words,
        "-importkeystore",
        "-noprompt",
        "-srckeystore",
        str(keystore),
        "-srcstorepass",
        "changeit",
    ]
    argv += ["-destkeystore", str(made), "-deststoretype", "PKCS12", "-deststorepass", password]
    subprocess.run(argv, check=True, capture_output=True)
    made.replace(keystore)


def find_one(paths: Paths) -> java.JavaStore:
    (store,), troubles = java.find_stores(paths.home, {}, run)
    assert troubles == ()
    return store


def leaf_of(authority: Authority, place: Path, host: str = "love.cat") -> Path:
    leaf = issue_leaf((authority.directory / "issuer.pem").read_bytes(), host, now=datetime.now(UTC))
    pem = place / f"{host}.pem"
    pem.write_bytes(leaf.fullchain + leaf.key)
    return pem


@pytest.mark.parametrize("kind", ["JKS", "PKCS12 without a password"])
def test_a_jdk_in_a_home_trusts_the_root_and_holds_the_same_set_when_it_is_gone(
    authority: Authority, paths: Paths, kind: str
) -> None:
    real = Path(os.path.realpath("/usr/bin/java")).parent.parent
    home = paths.home / ".jdks/real"
    shutil.copytree(real, home, symlinks=True, ignore=shutil.ignore_patterns("jmods", "src.zip"))
    keystore = home / "lib/security/cacerts"
    keystore.unlink(missing_ok=True)
    shutil.copy(SYSTEM, keystore)
    if kind != "JKS":
        convert(keystore, *NONE)
    mode = keystore.stat().st_mode
    store, classes, program = find_one(paths), compile_client(paths.home), str(home / "bin/java")
    assert (store.name, store.place, store.keytool) == ("Java, ~/.jdks/real", keystore, str(home / "bin/keytool"))
    before = java_set(str(keystore))
    with serving(leaf_of(authority, paths.home)) as port:
        assert ask_java(classes, "love.cat", port, java=program).startswith("refused: ")
        assert receipts.trust(store, authority, paths) == Change()
        assert ask_java(classes, "love.cat", port, java=program) == "accepted"
        assert len(java_set(str(keystore)) - before) == 1
        assert receipts.untrust_all([store], paths, ca.describe_owner(), run) == Change()
        assert ask_java(classes, "love.cat", port, java=program).startswith("refused: ")
    assert java_set(str(keystore)) == before
    assert keystore.stat().st_mode == mode
    assert [each.name for each in keystore.parent.iterdir() if "devtls" in each.name] == []
    assert receipts.load_receipts(paths) == ()


def test_a_root_is_found_by_its_bytes_without_a_receipt_and_whatever_its_alias(
    authority: Authority, paths: Paths
) -> None:
    keystore = make_home(paths.home)
    before = java_set(str(keystore))
    argv = ["keytool", "-importcert", "-noprompt", "-alias", "My Own", "-file", str(authority.root)]
    subprocess.run([*argv, "-keystore", str(keystore), "-storepass", "changeit"], check=True, capture_output=True)
    store = find_one(paths)
    assert store.is_trusted(authority)
    assert store.find_held(ca.describe_owner()) == (Held(authority.name, authority.fingerprint),)
    assert receipts.untrust_all([store], paths, ca.describe_owner(), run) == Change()
    assert java_set(str(keystore)) == before


@pytest.mark.parametrize(
    ("password", "fact"),
    [("another", "password was incorrect"), ("changeit", "encrypted")],
    ids=["another password", "encrypted certificates"],
)
def test_a_keystore_that_cannot_be_changed_is_one_trouble_and_stays_as_it_was(
    authority: Authority, paths: Paths, password: str, fact: str
) -> None:
    keystore = make_home(paths.home)
    convert(keystore, password=password)
    before = keystore.read_bytes()
    (trouble,) = find_one(paths).trust(authority).troubles
    assert fact in trouble.fact
    assert trouble.cure[-1].startswith(f"  {keystore.parents[2]}/bin/keytool -importcert")
    assert keystore.read_bytes() == before
    assert sorted(each.name for each in keystore.parent.iterdir()) == ["cacerts"]


FIND = """
from pathlib import Path
from devtls.model import Authority
from devtls.system.run import run
from devtls.trust import find_stores
from datetime import UTC, datetime
import sys

stores = find_stores(Path("/home/devtls-door"), {"PATH": "/usr/bin", "JAVA_HOME": "/etc/jdk"}, run)
print([each.name for each in stores.found if "Java" in each.name], [each.name for each in stores.left])
authority = Authority("1a2b3c4d", (), Path(sys.argv[1]), fingerprint="", not_after=datetime.now(UTC))
(trouble,) = stores.left[0].trust(authority).troubles
print(trouble.cure[-1])
"""


def test_a_keystore_of_root_is_left_to_the_user_with_the_command_that_changes_it(authority: Authority) -> None:
    with throw_away_machine() as machine:
        machine.root(f"mkdir -p /etc/jdk/lib/security /etc/jdk/bin && cp {SYSTEM} /etc/jdk/lib/security/cacerts")
        machine.root("ln -s /usr/bin/keytool /etc/jdk/bin/keytool")
        (machine.library / "root.pem").write_bytes(authority.root.read_bytes())
        told = machine.as_user(["/usr/bin/python3", "-c", FIND, str(machine.library)])
        assert told.returncode == 0, told.stderr
        found, command = told.stdout.splitlines()
        assert found == "[] ['Java, /etc/jdk']"
        assert command.startswith("  sudo /etc/jdk/bin/keytool -importcert ")
        machine.root(f"{command.removeprefix('  sudo ')} -storepass changeit")
        inside = machine.inside([])
        assert len(java_set("/etc/jdk/lib/security/cacerts", inside=inside) - java_set(SYSTEM, inside=inside)) == 1


def test_java_trusts_through_debians_hook_and_refuses_again(authority: Authority, tmp_path: Path) -> None:
    with throw_away_machine() as machine:
        inside = machine.inside([])
        classes = compile_client(tmp_path)
        pem = machine.library / f"{authority.name}.pem"
        pem.write_bytes(authority.root.read_bytes())
        before = java_set(SYSTEM, inside=inside)
        with serving(leaf_of(authority, tmp_path), inside) as port:
            assert ask_java(classes, "love.cat", port, inside=inside).startswith("refused: ")
            assert machine.user(f"install={pem}")["done"] == [f"install {authority.name}"]
            assert ask_java(classes, "love.cat", port, inside=inside) == "accepted"
            assert machine.user(f"remove={authority.name}")["done"] == [f"remove {authority.name}"]
            assert ask_java(classes, "love.cat", port, inside=inside).startswith("refused: ")
        assert java_set(SYSTEM, inside=inside) == before
