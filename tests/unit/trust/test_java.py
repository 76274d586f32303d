from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtls.trust import Change, Held
from devtls.trust.certificates import parse_pem
from devtls.trust.java import JavaStore, find_certificates, find_stores
from tests.unit.trust.fakes import OWNER, FakeTools, make_authority

if TYPE_CHECKING:
    from pathlib import Path


def install(java: Path, keystore: str = "lib/security/cacerts", content: bytes = b"\xfe\xed\xfe\xed") -> Path:
    path = java / keystore
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def found(home: Path, **environment: str) -> list[str]:
    stores, _troubles = find_stores(home, {"PATH": "", **environment}, FakeTools(), top=home / "top")
    return [str(each.place.relative_to(home)) for each in stores]


def test_a_home_without_java_has_no_keystore(tmp_path: Path) -> None:
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    "java",
    [
        ".sdkman/candidates/java/21-tem",
        ".local/share/mise/installs/java/21",
        ".asdf/installs/java/21",
        ".jabba/jdk/21",
        ".jdks/21",
        "top/usr/lib/jvm/21",
        "top/Library/Java/JavaVirtualMachines/21.jdk/Contents/Home",
    ],
)
def test_each_installer_has_its_place(tmp_path: Path, java: str) -> None:
    install(tmp_path / java)
    assert found(tmp_path) == [f"{java}/lib/security/cacerts"]


def test_java_home_and_the_java_of_the_path_are_found_once(tmp_path: Path) -> None:
    keystore = install(tmp_path / "elsewhere/8", "jre/lib/security/cacerts")
    program = tmp_path / "elsewhere/8/bin/java"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/java").symlink_to(program)
    expected = [str(keystore.relative_to(tmp_path))]
    assert found(tmp_path, PATH=str(tmp_path / "bin")) == expected
    assert found(tmp_path, PATH=str(tmp_path / "bin"), JAVA_HOME=str(tmp_path / "elsewhere/8")) == expected


def test_a_link_to_the_systems_keystore_is_the_systems(tmp_path: Path) -> None:
    system = install(tmp_path / "top", "etc/ssl/certs/java/cacerts")
    link = tmp_path / "top/usr/lib/jvm/17/lib/security/cacerts"
    link.parent.mkdir(parents=True)
    link.symlink_to(system)
    assert found(tmp_path) == []


def test_a_keystore_that_java_prefers_is_taken(tmp_path: Path) -> None:
    install(tmp_path / ".jdks/21")
    (tmp_path / ".jdks/21/lib/security/jssecacerts").write_bytes(b"")
    assert found(tmp_path) == [".jdks/21/lib/security/jssecacerts"]


def test_a_bad_java_home_is_one_warning_and_hides_nothing(tmp_path: Path) -> None:
    install(tmp_path / ".jdks/21")
    stores, troubles = find_stores(tmp_path, {"JAVA_HOME": "/no/such"}, FakeTools(), top=tmp_path / "top")
    assert len(stores) == 1
    assert [(each.fact[:23], each.cure[-1]) for each in troubles] == [("JAVA_HOME is '/no/such'", "  unset JAVA_HOME")]


def test_what_is_there_is_seen_without_asking_java(tmp_path: Path) -> None:
    authority, tools = make_authority(tmp_path), FakeTools()
    der = parse_pem(authority.root.read_bytes())
    store = JavaStore("Java", install(tmp_path / "jdk", content=b"head" + der + b"tail"), "keytool", tools)
    held = Held(authority.name, authority.fingerprint)
    assert list(find_certificates(b"head" + der + b"tail")) == [der]
    assert store.is_trusted(authority)
    assert store.trust(authority) == Change()
    assert store.holds(held)
    assert store.find_held(OWNER) == (held,)
    assert store.find_held("somebody@else") == ()
    assert tools.asked == []


def test_a_certificate_that_is_cut_off_is_not_ours(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    der = parse_pem(authority.root.read_bytes())
    store = JavaStore("Java", install(tmp_path / "jdk", content=der[:-1]), "keytool", FakeTools())
    assert not store.holds(Held(authority.name, authority.fingerprint))


def test_a_keytool_that_says_done_and_did_nothing_is_trouble_and_leaves_nothing(tmp_path: Path) -> None:
    authority, tools = make_authority(tmp_path), FakeTools()
    store = JavaStore("Java", install(tmp_path / "jdk"), "/j/keytool", tools)
    (trouble,) = store.trust(authority).troubles
    assert trouble.cure[-1].startswith(f"  /j/keytool -importcert -noprompt -alias {authority.name} ")
    assert store.place.read_bytes() == b"\xfe\xed\xfe\xed"
    assert list(store.place.parent.iterdir()) == [store.place]


def test_a_missing_keytool_is_trouble(tmp_path: Path) -> None:
    store = JavaStore("Java", install(tmp_path / "jdk"), "keytool", FakeTools(lambda _argv: None))
    (trouble,) = store.trust(make_authority(tmp_path)).troubles
    assert trouble.fact == "there is no program keytool"


def test_a_copy_is_not_written_through_a_link(tmp_path: Path) -> None:
    store = JavaStore("Java", install(tmp_path / "jdk"), "keytool", FakeTools())
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (store.place.parent / ".cacerts.devtls").symlink_to(victim)
    assert store.is_ours
    store.trust(make_authority(tmp_path))
    assert victim.read_text() == "precious"
    assert list(store.place.parent.iterdir()) == [store.place]


def test_a_copy_that_a_killed_run_left_is_deleted(tmp_path: Path) -> None:
    store = JavaStore("Java", install(tmp_path / "jdk"), "keytool", FakeTools())
    (store.place.parent / ".cacerts.devtls").write_text("half")
    assert store.untrust(Held("devtls-1a2b3c4d", "0")) == Change()
    assert list(store.place.parent.iterdir()) == [store.place]


def test_a_keystore_that_is_gone_is_not_ours(tmp_path: Path) -> None:
    store = JavaStore("Java", tmp_path / "cacerts", "keytool", FakeTools())
    assert not store.is_ours
    assert not store.holds(Held("devtls-1a2b3c4d", "0"))
