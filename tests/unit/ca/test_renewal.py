from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devtls.ca.renewal import RENEWED_WITH, Due, find_due, issue_all
from devtls.ca.store import create_authority, load_leaf
from devtls.errors import DevtlsError
from devtls.model import Authority, Leaf
from devtls.system.paths import Paths

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def leaf(host: str, *, left: timedelta) -> Leaf:
    return Leaf(host, Path("f.pem"), Path("k.pem"), 1, NOW + left)


def authority(number: str, *subtrees: str, left: timedelta) -> Authority:
    return Authority(number, subtrees, Path("ca"), number, NOW + left)


def test_a_leaf_is_due_when_a_third_of_its_life_is_left() -> None:
    cat = authority("1", "love.cat", left=timedelta(days=1000))
    fresh = leaf("love.cat", left=RENEWED_WITH + timedelta(seconds=1))
    assert find_due([fresh], [cat], NOW) == ()
    due = leaf("love.cat", left=RENEWED_WITH)
    assert find_due([fresh, due], [cat], NOW) == (Due(due, cat),)


def test_a_leaf_that_ends_with_its_authority_waits_for_another_one() -> None:
    ending = authority("1", "love.cat", left=timedelta(days=5))
    due = leaf("love.cat", left=timedelta(days=5))
    other = authority("2", "shop.test", left=timedelta(days=900))
    assert find_due([due], [ending, other], NOW) == (Due(due, None),)
    successor = authority("3", "love.cat", left=timedelta(days=900))
    assert find_due([due], [ending, other, successor], NOW) == (Due(due, successor),)


def test_every_host_gets_a_certificate_and_one_that_nobody_signs_for_is_told(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path / "data", tmp_path / "state")
    create_authority(paths, ("love.cat",), NOW)
    issue_all(paths, ("love.cat", "chat.love.cat"), NOW)
    assert [bool(load_leaf(paths, host, NOW)) for host in ("love.cat", "chat.love.cat")] == [True, True]
    with pytest.raises(DevtlsError, match=r"no certificate authority signs for example\.com"):
        issue_all(paths, ("example.com",), NOW)
