from __future__ import annotations

import base64
import os
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from devtls.ca import store as ca
from devtls.system.paths import Paths
from devtls.system.run import Completed
from devtls.trust import Held
from devtls.trust.nss import NssStore
from devtls.trust.nss_child import HAS_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from devtls.model import Authority


class FakeBrowserLibrary:
    """Ends with a status and changes nothing."""

    def __init__(self, status: int, said: str = "") -> None:
        self.status, self.said = status, said
        self.asked: list[tuple[str, ...]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        assert stdin
        assert not check
        assert timeout
        assert environment is None or "LD_LIBRARY_PATH" in environment
        self.asked.append(tuple(argv))
        return Completed(tuple(argv), self.status, b"", self.said)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return ca.create_authority(Paths(tmp_path, tmp_path / "d", tmp_path / "s"), ("love.cat",), datetime.now(UTC))


def write_database(place: Path, authority: Authority, *, trust: bytes | None) -> None:
    """A database with what is looked at, in the form of NSS 3.87."""
    import hashlib

    place.mkdir(exist_ok=True)
    der = base64.b64decode(authority.root.read_bytes().split(b"-----")[2])
    rows = [(b"\0\0\0\1", b"nick", der, None, None)]
    if trust:
        digest = hashlib.sha1(der, usedforsecurity=False).digest()
        rows.append((bytes.fromhex("ce534353"), None, None, digest, trust))  # type: ignore[arg-type]  # NULL columns
    database = sqlite3.connect(place / "cert9.db")
    database.execute("CREATE TABLE nssPublic (a0, a3, a11, ace5363b4, ace536358)")
    database.executemany("INSERT INTO nssPublic VALUES (?, ?, ?, ?, ?)", rows)
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("trust", "is_trusted"),
    [(bytes.fromhex("ce534352"), True), (bytes.fromhex("ce534353"), False), (None, False)],
)
def test_presence_without_trust_is_not_trusted(
    authority: Authority, tmp_path: Path, trust: bytes | None, is_trusted: bool
) -> None:
    store = NssStore("Chromium", tmp_path / "nssdb", FakeBrowserLibrary(0))
    write_database(store.place, authority, trust=trust)
    assert store.is_trusted(authority) == is_trusted
    assert store.holds(Held(authority.name, authority.fingerprint))
    assert [each.fingerprint for each in store.find_held(ca.describe_owner())] == [authority.fingerprint]
    assert store.find_held("somebody@else") == ()


def test_a_missing_database_trusts_nothing_and_holds_nothing(authority: Authority, tmp_path: Path) -> None:
    store = NssStore("Chromium", tmp_path / "nssdb", FakeBrowserLibrary(0))
    assert not store.is_trusted(authority)
    assert not store.holds(Held(authority.name, authority.fingerprint))
    assert not store.place.exists()


def test_a_database_that_is_locked_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    store = NssStore("Chromium", tmp_path / "nssdb", FakeBrowserLibrary(0))
    write_database(store.place, authority, trust=bytes.fromhex("ce534352"))
    other = sqlite3.connect(store.place / "cert9.db")
    other.execute("BEGIN EXCLUSIVE")
    assert not store.is_trusted(authority)
    other.close()
    assert store.is_trusted(authority)


def test_a_trusted_root_asks_nobody(authority: Authority, tmp_path: Path) -> None:
    library = FakeBrowserLibrary(0)
    store = NssStore("Chromium", tmp_path / "nssdb", library)
    write_database(store.place, authority, trust=bytes.fromhex("ce534352"))
    store.trust(authority)
    assert library.asked == []


def test_a_library_that_says_done_and_did_nothing_is_trouble(authority: Authority, tmp_path: Path) -> None:
    (trouble,) = NssStore("Chromium", tmp_path / "nssdb", FakeBrowserLibrary(0)).trust(authority).troubles
    assert "it was not" in trouble.fact
    assert trouble.cure[-1].startswith("  certutil -A -d sql:")


def test_a_primary_password_is_trouble_and_certutil_is_not_tried(authority: Authority, tmp_path: Path) -> None:
    library = FakeBrowserLibrary(HAS_PASSWORD)
    (trouble,) = NssStore("Firefox", tmp_path / "p", library).trust(authority).troubles
    assert "primary password" in trouble.fact
    assert len(library.asked) == 1


def test_a_directory_that_cannot_be_made_is_trouble(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (trouble,) = NssStore("Chromium", tmp_path / "file" / "nssdb", FakeBrowserLibrary(0)).trust(authority).troubles
    assert trouble.fact.endswith(f"cannot be made: {os.strerror(20)}")
