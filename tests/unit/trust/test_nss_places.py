from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.trust.nss_places import find_places, select_browsers

if TYPE_CHECKING:
    from pathlib import Path


def directories(home: Path, **environment: str) -> list[str]:
    found = find_places(home, {"PATH": str(home / "bin"), **environment})
    return [str(each.directory.relative_to(home)) for each in found]


def install(home: Path, program: str) -> None:
    path = home / "bin" / program
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_a_home_without_browsers_has_no_database(tmp_path: Path) -> None:
    assert directories(tmp_path) == []


def test_an_installed_chromium_that_never_ran_gets_the_new_place(tmp_path: Path) -> None:
    install(tmp_path, "google-chrome")
    assert directories(tmp_path) == [".local/share/pki/nssdb"]
    assert directories(tmp_path, XDG_DATA_HOME=str(tmp_path / "d")) == ["d/pki/nssdb"]
    assert directories(tmp_path, XDG_DATA_HOME="relative") == [".local/share/pki/nssdb"]


def test_the_old_place_wins_where_it_exists(tmp_path: Path) -> None:
    install(tmp_path, "chromium")
    (tmp_path / ".pki/nssdb").mkdir(parents=True)
    (tmp_path / ".local/share/pki/nssdb").mkdir(parents=True)
    assert directories(tmp_path) == [".pki/nssdb"]


def test_snap_and_flatpak_places_count_when_they_exist(tmp_path: Path) -> None:
    places = ["snap/chromium/current/.pki/nssdb", ".var/app/org.chromium.Chromium/data/pki/nssdb"]
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    assert directories(tmp_path) == places


def test_every_profile_of_every_firefox_is_found_absolute_paths_too(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    new, old = tmp_path / ".config/mozilla/firefox", tmp_path / ".mozilla/firefox"
    for profile in (new / "a.default", old / "b.dev", elsewhere):
        profile.mkdir(parents=True)
    (new / "profiles.ini").write_text(
        f"[General]\nVersion=2\n[Profile0]\nIsRelative=1\nPath=a.default\n[Profile1]\nIsRelative=0\nPath={elsewhere}\n"
        "[Profile2]\nPath=gone.default\n"
    )
    (old / "profiles.ini").write_text(f"[Profile0]\nPath=b.dev\n[Profile1]\nIsRelative=0\nPath={elsewhere}\n")
    assert directories(tmp_path) == [".config/mozilla/firefox/a.default", "elsewhere", ".mozilla/firefox/b.dev"]


def test_profiles_of_one_name_in_two_places_are_told_apart(tmp_path: Path) -> None:
    roots = [tmp_path / ".config/mozilla/firefox", tmp_path / ".mozilla/firefox"]
    for root in roots:
        (root / "x.dev-edition-default").mkdir(parents=True)
        (root / "profiles.ini").write_text("[Profile0]\nIsRelative=1\nPath=x.dev-edition-default\n")
    names = [each.name for each in find_places(tmp_path, {"PATH": ""})]
    assert names == [f"Firefox, profile x.dev-edition-default in {root}" for root in roots]


def test_a_profiles_file_that_is_no_ini_file_hides_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".mozilla/firefox").mkdir(parents=True)
    (tmp_path / ".mozilla/firefox/profiles.ini").write_bytes(b"\xff\xfe broken")
    (tmp_path / ".pki/nssdb").mkdir(parents=True)
    assert directories(tmp_path) == [".pki/nssdb"]


def test_only_browsers_of_this_user_are_said_to_run() -> None:
    processes = iter([("chrome", 1000), ("chrome", 1000), ("chromium", 0), ("firefox", 1000), ("bash", 1000)])
    assert select_browsers(processes, 1000) == ("chrome",)
