from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtls.ca import store as ca
from devtls.ca.profile import make_authority
from devtls.system.paths import Paths
from devtls.system.root import InstallRoot, RemoveRoot
from devtls.system.root_script import Anchors
from devtls.trust import Change, Held
from devtls.trust.alpine import ALPINE
from devtls.trust.arch import ARCH
from devtls.trust.debian import DEBIAN
from devtls.trust.fedora import FEDORA
from devtls.trust.suse import SUSE
from devtls.trust.system import Family, SystemStore, find_family, missing

if TYPE_CHECKING:
    from devtls.model import Authority

OTHER = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return ca.create_authority(Paths(tmp_path, tmp_path / "d", tmp_path / "s"), ("love.cat",), datetime.now(UTC))


@pytest.fixture
def store(tmp_path: Path) -> SystemStore:
    directory, bundle = tmp_path / "local", tmp_path / "bundle.crt"
    directory.mkdir()
    bundle.write_bytes(OTHER)
    return SystemStore(Anchors(str(directory), ".crt", str(bundle), "add", "remove"))


def bundle_of(store: SystemStore) -> Path:
    return Path(store.anchors.bundle)


def install(store: SystemStore, authority: Authority) -> None:
    pem = authority.root.read_bytes()
    (store.place / f"{authority.name}.crt").write_bytes(pem)
    bundle_of(store).write_bytes(OTHER + pem)


def test_an_absent_root_asks_root_to_install_it(store: SystemStore, authority: Authority) -> None:
    assert not store.is_trusted(authority)
    assert store.trust(authority) == Change((InstallRoot(authority.name, authority.root.read_bytes(), store.anchors),))


def test_a_root_that_is_there_asks_for_nothing(store: SystemStore, authority: Authority) -> None:
    install(store, authority)
    assert store.is_trusted(authority)
    assert store.trust(authority) == Change()


def test_a_file_that_the_bundle_has_not_taken_in_is_not_trusted(store: SystemStore, authority: Authority) -> None:
    install(store, authority)
    bundle_of(store).write_bytes(OTHER)
    assert not store.is_trusted(authority)


def test_removing_asks_root_while_any_trace_is_left(store: SystemStore, authority: Authority) -> None:
    held = Held(authority.name, authority.fingerprint)
    assert store.untrust(held) == Change()
    install(store, authority)
    assert store.untrust(held) == Change((RemoveRoot(authority.name, store.anchors),))
    (store.place / f"{authority.name}.crt").unlink()
    assert store.untrust(held) == Change((RemoveRoot(authority.name, store.anchors),))


def test_a_file_of_our_name_with_another_certificate_is_left_alone(store: SystemStore, authority: Authority) -> None:
    (store.place / f"{authority.name}.crt").write_bytes(OTHER)
    assert store.untrust(Held(authority.name, authority.fingerprint)) == Change()


def test_only_the_roots_of_this_owner_are_found(store: SystemStore, authority: Authority) -> None:
    install(store, authority)
    assert store.find_held(ca.describe_owner()) == (Held(authority.name, authority.fingerprint),)
    assert store.find_held("somebody@else") == ()


def test_a_bundle_with_lines_of_another_length_is_read_all_the_same(store: SystemStore, authority: Authority) -> None:
    install(store, authority)
    begin, *lines, end = authority.root.read_bytes().split()[2:-2]
    text = b"".join([begin, *lines, end])
    wrapped = b"\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    pem = b"# devtls\n-----BEGIN CERTIFICATE-----\n" + wrapped + b"\n-----END CERTIFICATE-----\n"
    bundle_of(store).write_bytes(OTHER + pem)
    assert store.is_trusted(authority)


def test_a_name_that_was_cut_to_fit_is_found_again(store: SystemStore) -> None:
    owner = f"somebody@{'a-very-long-name-of-a-machine' * 3}"
    made = make_authority(["love.cat"], owner=owner, now=datetime.now(UTC))
    (store.place / f"devtls-{made.id}.crt").write_bytes(made.root)
    assert [each.name for each in store.find_held(owner)] == [f"devtls-{made.id}"]


def put(top: Path, tool: str, directory: str) -> None:
    program = top / "usr/sbin" / tool
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (top / directory.lstrip("/")).mkdir(parents=True, exist_ok=True)


FAMILIES = (FEDORA, ARCH, SUSE, ALPINE, DEBIAN)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.remedy)
def test_a_family_is_known_by_its_tool_and_its_directory(family: Family, tmp_path: Path) -> None:
    (tmp_path / "usr/local/share").mkdir(parents=True)  # everywhere
    assert find_family(FAMILIES, tmp_path) is None
    put(tmp_path, family.tool, family.directory)
    assert find_family(FAMILIES, tmp_path) is family


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.remedy)
def test_without_the_tool_what_installs_it_is_told(family: Family, tmp_path: Path) -> None:
    (tmp_path / family.sign.lstrip("/")).mkdir(parents=True)
    assert missing(FAMILIES, tmp_path).cure == (f"  {family.remedy}",)


def test_an_unknown_system_is_told_how_to_go_without(tmp_path: Path) -> None:
    assert "devtls exec" in missing(FAMILIES, tmp_path).cure[-1]
