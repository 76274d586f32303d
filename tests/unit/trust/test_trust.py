from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.trust import Change, Trouble, find_stores
from tests.unit.trust.fakes import FakeTools

if TYPE_CHECKING:
    from pathlib import Path


def test_on_a_mac_the_keychain_is_the_systems_store(tmp_path: Path) -> None:
    (tmp_path / ".pki/nssdb").mkdir(parents=True)
    stores = find_stores(tmp_path, {"PATH": ""}, FakeTools(), platform="darwin")
    assert [each.name for each in stores.found if "Java" not in each.name] == ["macOS keychain", "Chromium"]


def test_looking_for_stores_asks_no_tool(tmp_path: Path) -> None:
    tools = FakeTools()
    find_stores(tmp_path, {"PATH": ""}, tools)
    assert tools.asked == []


def test_a_bad_java_home_stops_no_store(tmp_path: Path) -> None:
    (tmp_path / ".pki/nssdb").mkdir(parents=True)
    good = find_stores(tmp_path, {"PATH": ""}, FakeTools())
    bad = find_stores(tmp_path, {"PATH": "", "JAVA_HOME": "/no/such"}, FakeTools())
    assert [each.name for each in bad.found] == [each.name for each in good.found]
    assert len(bad.troubles) == len(good.troubles) + 1


def test_two_changes_are_one() -> None:
    one, other = Change(troubles=(Trouble("a", "x"),)), Change(troubles=(Trouble("b", "y"),))
    assert [each.store for each in (one + other).troubles] == ["a", "b"]
