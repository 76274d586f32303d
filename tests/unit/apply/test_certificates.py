from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from devtls.apply.certificates import Made, discard_outdated, make
from devtls.ca import store as ca
from devtls.plan import CreateAuthority, IssueLeaf
from devtls.system.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

SUBTREES = (("love.cat",),)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "data", tmp_path / "state")


def make_all(paths: Paths) -> Made:
    return make([CreateAuthority(("love.cat",)), IssueLeaf("love.cat")], ["love.cat"], SUBTREES, paths)


def test_what_is_wanted_is_there_afterwards(paths: Paths) -> None:
    made = make_all(paths)
    assert [authority.names for authority in made.authorities] == [("love.cat",)]
    assert ([leaf.host for leaf in made.leaves], made.notices) == (["love.cat"], ())
    assert make([], ["love.cat"], SUBTREES, paths) == made


def test_what_is_damaged_is_moved_aside_told_and_made_anew(paths: Paths) -> None:
    before = make_all(paths)
    before.leaves[0].key.write_bytes(b"-----BEGIN PRIVATE")
    (fact, _cure) = make_all(paths).notices[0]
    assert fact.startswith(f"the certificate of love.cat in {before.leaves[0].key.parent} is damaged; it is in ")
    (before.authorities[0].directory / "root.pem").unlink()
    after = make_all(paths)
    assert after.notices[0][0].startswith(f"the certificate authority in {before.authorities[0].directory} is damaged")
    assert after.authorities[0].id != before.authorities[0].id
    assert after.leaves[0].serial != before.leaves[0].serial


def test_an_authority_of_another_clock_is_told_and_left_alone(paths: Paths) -> None:
    ahead = ca.create_authority(paths, ("love.cat",), datetime.now(UTC) + timedelta(days=400))
    made = make_all(paths)
    ((fact, _cure),) = made.notices
    assert "begins on 20" in fact
    assert "it is not used" in fact
    assert made.authorities[0].id != ahead.id
    assert ahead in ca.load_authorities(paths)


def test_an_authority_past_its_date_goes_once_no_store_holds_it(paths: Paths) -> None:
    authority = make_all(paths).authorities[0]
    discard_outdated(paths, [authority], [])
    assert not authority.directory.exists()
