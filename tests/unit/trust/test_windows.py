from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from devtls.system import windows as system
from devtls.trust import Change, Held
from devtls.trust.certificates import parse_pem
from devtls.trust.windows import WindowsStore, find_stores
from tests.unit.trust.fakes import OWNER, FakeTools, make_authority

if TYPE_CHECKING:
    from pathlib import Path

    from devtls.model import Authority


class Windows(FakeTools):
    """Says what powershell.exe and wslpath would, by their manuals: not a Windows."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(self.say)
        self.der = parse_pem(authority.root.read_bytes())
        self.is_there = False

    def say(self, argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "wslpath":
            return 0, "\\\\wsl.localhost\\Debian\\home\\o'me\\root.pem\n"
        if "Import-Certificate" in argv[-1]:
            self.is_there = True
        elif "Remove-Item" in argv[-1]:
            self.is_there = False
        elif self.is_there:
            return 0, base64.b64encode(self.der).decode() + "\r\n"
        return 0, ""


def never(_place: str, _fingerprint: str) -> bool:
    return False


def test_a_root_is_imported_by_its_windows_path_and_removed_by_its_thumbprint(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    windows = Windows(authority)
    store = WindowsStore(tmp_path / "powershell.exe", windows, never)
    held = Held(authority.name, authority.fingerprint)
    assert store.trust(authority) == Change()
    command = r"Import-Certificate -CertStoreLocation Cert:\CurrentUser\Root -FilePath "
    assert windows.asked[-1] == (
        *(str(tmp_path / "powershell.exe"), "-NoProfile", "-Command"),
        f"$ErrorActionPreference = 'Stop'; {command}'\\\\wsl.localhost\\Debian\\home\\o''me\\root.pem'",
    )
    assert store.is_trusted(authority)
    assert store.find_held(OWNER) == (held,)
    assert store.untrust(held) == Change()
    removal = next(argv[-1] for argv in windows.asked if "Remove-Item" in argv[-1])
    assert len(removal.rpartition("\\")[2]) == 40 + 1
    assert not store.holds(held)


def test_a_receipt_is_believed_and_nobody_is_asked(tmp_path: Path) -> None:
    tools = FakeTools()
    store = WindowsStore(tmp_path / "powershell.exe", tools, lambda _place, _fingerprint: True)
    assert store.is_trusted(make_authority(tmp_path))
    assert tools.asked == []


def test_a_windows_that_does_not_answer_may_hold_anything_and_trusts_nothing(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    store = WindowsStore(tmp_path / "powershell.exe", FakeTools(lambda _argv: None), never)
    assert not store.is_trusted(authority)
    assert store.holds(Held(authority.name, authority.fingerprint))
    assert len(store.trust(authority).troubles) == 1


def test_there_is_one_store_where_there_is_a_windows(tmp_path: Path) -> None:
    around_us = system.Windows(tmp_path / "powershell.exe", tmp_path / "hosts")
    assert [each.place for each in find_stores(FakeTools(), never, around_us)] == [around_us.powershell]
    assert find_stores(FakeTools(), never, None) == ()
