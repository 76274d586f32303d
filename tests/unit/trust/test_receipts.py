from __future__ import annotations

import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from devtls.errors import DevtlsError
from devtls.model import Authority
from devtls.system.paths import Paths
from devtls.system.root import InstallRoot, RemoveRoot
from devtls.system.root_script import Anchors
from devtls.system.run import run
from devtls.trust import Change, Held, Trouble, receipts

if TYPE_CHECKING:
    from pathlib import Path

ANCHORS = Anchors("/anchors", ".crt", "/bundle", "add", "remove")


@dataclass
class FakeStore:
    """Keeps fingerprints in a set; as one that needs root it leaves the keeping to the test."""

    place: Path
    name: str = "fake"
    needs_root: bool = False
    is_broken: bool = False
    is_discarded: bool = False
    kept: set[str] = field(default_factory=set)

    def is_trusted(self, authority: Authority) -> bool:
        return authority.fingerprint in self.kept

    def trust(self, authority: Authority) -> Change:
        if self.needs_root:
            return Change((InstallRoot(authority.name, b"", ANCHORS),))
        if self.is_broken:
            return Change(troubles=(Trouble(self.name, "broken"),))
        self.kept.add(authority.fingerprint)
        return Change()

    def untrust(self, held: Held) -> Change:
        if self.needs_root:
            return Change((RemoveRoot(held.name, ANCHORS),)) if self.holds(held) else Change()
        if not self.is_broken:
            self.kept.discard(held.fingerprint)
        return Change()

    def holds(self, held: Held) -> bool:
        return held.fingerprint in self.kept

    def discard(self) -> None:
        self.is_discarded = True

    def find_held(self, owner: str) -> tuple[Held, ...]:
        return tuple(Held(f"devtls-{each}", each) for each in self.kept if owner == "me@here")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "data", tmp_path / "state")


def authority(name: str, place: Path) -> Authority:
    return Authority(name, ("love.cat",), place, fingerprint=name, not_after=datetime.now(UTC))


def test_a_store_that_acts_leaves_a_receipt_that_is_done(paths: Paths, tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "new")
    assert receipts.trust(store, authority("aa", tmp_path), paths) == Change()
    (receipt,) = receipts.load_receipts(paths)
    assert (receipt.done, receipt.made_store, receipt.fingerprint) == (True, True, "aa")
    assert stat.S_IMODE((paths.data / "trust.json").stat().st_mode) == 0o600


def test_what_root_has_to_do_stays_intended_until_a_look_confirms_it(paths: Paths, tmp_path: Path) -> None:
    store = FakeStore(tmp_path, needs_root=True)
    asked = receipts.trust(store, authority("aa", tmp_path), paths)
    assert asked.operations == (InstallRoot("devtls-aa", b"", ANCHORS),)
    assert receipts.confirm(store, authority("aa", tmp_path), paths) == Trouble(
        "fake", "devtls-aa is still not trusted here"
    )
    assert not receipts.load_receipts(paths)[0].done
    store.kept.add("aa")
    assert receipts.confirm(store, authority("aa", tmp_path), paths) is None
    assert receipts.load_receipts(paths)[0].done


def test_a_store_that_fails_keeps_its_intention_on_record(paths: Paths, tmp_path: Path) -> None:
    change = receipts.trust(FakeStore(tmp_path, is_broken=True), authority("aa", tmp_path), paths)
    assert change.troubles == (Trouble("fake", "broken"),)
    assert [each.done for each in receipts.load_receipts(paths)] == [False]


def test_a_root_that_is_trusted_already_writes_nothing(paths: Paths, tmp_path: Path) -> None:
    receipts.trust(FakeStore(tmp_path, kept={"aa"}), authority("aa", tmp_path), paths)
    assert receipts.load_receipts(paths) == ()


def test_taking_out_all_finds_roots_without_a_receipt_too(paths: Paths, tmp_path: Path) -> None:
    store, system = FakeStore(tmp_path / "nss", kept={"orphan"}), FakeStore(tmp_path, needs_root=True, kept={"aa"})
    receipts.trust(store, authority("aa", tmp_path), paths)
    change = receipts.untrust_all([store, system], paths, "me@here", run)
    assert store.kept == set()
    assert change.operations == (RemoveRoot("devtls-aa", ANCHORS),)


def test_a_receipt_is_kept_while_the_root_is_still_there(paths: Paths, tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    receipts.trust(store, authority("aa", tmp_path), paths)
    store.is_broken = True
    receipts.untrust_all([store], paths, "me@here", run)
    assert [each.fingerprint for each in receipts.load_receipts(paths)] == ["aa"]


def test_what_was_killed_between_change_and_look_is_closed_by_the_next_look(paths: Paths, tmp_path: Path) -> None:
    store = FakeStore(tmp_path, needs_root=True)
    receipts.trust(store, authority("aa", tmp_path), paths)
    store.kept.add("aa")  # root has done it, and we are gone
    assert receipts.trust(store, authority("aa", tmp_path), paths) == Change()
    assert receipts.load_receipts(paths)[0].done
    is_done = receipts.is_done_in(paths)
    assert (is_done(str(tmp_path), "aa"), is_done(str(tmp_path), "bb")) == (True, False)


def test_a_root_that_went_by_another_hand_is_intended_again(paths: Paths, tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "new")
    receipts.trust(store, authority("aa", tmp_path), paths)
    store.place.mkdir()
    store.kept.clear()
    store.is_broken = True
    receipts.trust(store, authority("aa", tmp_path), paths)
    (receipt,) = receipts.load_receipts(paths)
    assert (receipt.done, receipt.made_store) == (False, True)


def test_only_the_given_roots_are_taken_out_and_who_made_the_store_stays_known(paths: Paths, tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "new")
    receipts.trust(store, authority("aa", tmp_path), paths)
    store.place.mkdir()
    receipts.trust(store, authority("bb", tmp_path), paths)
    assert receipts.untrust_some([store], paths, [Held("devtls-aa", "aa")], run) == Change()
    assert store.kept == {"bb"}
    assert [(each.fingerprint, each.made_store) for each in receipts.load_receipts(paths)] == [("bb", True)]


def test_a_keystore_of_a_java_that_nobody_names_any_more_is_found_again(paths: Paths, tmp_path: Path) -> None:
    keystore = tmp_path / "jdk/lib/security/cacerts"
    keystore.parent.mkdir(parents=True)
    keystore.write_bytes(b"\xfe\xed\xfe\xed")
    receipts.trust(FakeStore(keystore, name="Java"), authority("aa", tmp_path), paths)
    assert len(receipts.load_receipts(paths)) == 1
    assert receipts.untrust_all([], paths, "me@here", run) == Change()
    assert receipts.load_receipts(paths) == ()


def test_a_damaged_file_is_told_with_what_to_do(paths: Paths) -> None:
    paths.data.mkdir()
    (paths.data / "trust.json").write_text('{"receipts": [{}]}')
    with pytest.raises(DevtlsError, match="is damaged") as caught:
        receipts.load_receipts(paths)
    assert caught.value.cure
