from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from devtls.ca import store as ca
from devtls.system.paths import Paths
from devtls.system.root import InstallRoot, RemoveRoot
from devtls.trust import Change, Held
from devtls.trust.debian import DebianStore

if TYPE_CHECKING:
    from pathlib import Path

    from devtls.model import Authority

OTHER = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return ca.create_authority(Paths(tmp_path, tmp_path / "d", tmp_path / "s"), ("love.cat",), datetime.now(UTC))


@pytest.fixture
def store(tmp_path: Path) -> DebianStore:
    made = DebianStore(tmp_path / "local", tmp_path / "bundle.crt")
    made.directory.mkdir()
    made.bundle.write_bytes(OTHER)
    return made


def install(store: DebianStore, authority: Authority) -> None:
    pem = authority.root.read_bytes()
    (store.directory / f"{authority.name}.crt").write_bytes(pem)
    store.bundle.write_bytes(OTHER + pem)


def test_an_absent_root_asks_root_to_install_it(store: DebianStore, authority: Authority) -> None:
    assert not store.is_trusted(authority)
    assert store.trust(authority) == Change((InstallRoot(authority.name, authority.root.read_bytes()),))


def test_a_root_that_is_there_asks_for_nothing(store: DebianStore, authority: Authority) -> None:
    install(store, authority)
    assert store.is_trusted(authority)
    assert store.trust(authority) == Change()


def test_a_file_that_the_bundle_has_not_taken_in_is_not_trusted(store: DebianStore, authority: Authority) -> None:
    install(store, authority)
    store.bundle.write_bytes(OTHER)
    assert not store.is_trusted(authority)


def test_removing_asks_root_while_any_trace_is_left(store: DebianStore, authority: Authority) -> None:
    held = Held(authority.name, authority.fingerprint)
    assert store.untrust(held) == Change()
    install(store, authority)
    assert store.untrust(held) == Change((RemoveRoot(authority.name),))
    (store.directory / f"{authority.name}.crt").unlink()
    assert store.untrust(held) == Change((RemoveRoot(authority.name),))


def test_a_file_of_our_name_with_another_certificate_is_left_alone(store: DebianStore, authority: Authority) -> None:
    (store.directory / f"{authority.name}.crt").write_bytes(OTHER)
    assert store.untrust(Held(authority.name, authority.fingerprint)) == Change()


def test_only_the_roots_of_this_owner_are_found(store: DebianStore, authority: Authority) -> None:
    install(store, authority)
    assert store.find_held(ca.describe_owner()) == (Held(authority.name, authority.fingerprint),)
    assert store.find_held("somebody@else") == ()
