"""Where Chromium and Firefox keep their NSS databases, installed as packages, snaps or flatpaks."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHROMIUMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "microsoft-edge-stable",
    "brave-browser",
    "vivaldi",
    "vivaldi-stable",
    "opera",
)
# What a running one is called in the process table, where Linux cuts names to 15 characters.
CHROMIUM_PROCESSES = frozenset({"chromium", "chromium-browse", "chrome", "msedge", "brave", "vivaldi-bin", "opera"})
SNAP_CHROMIUMS = ("chromium", "brave")
FLATPAK_CHROMIUMS = ("org.chromium.Chromium", "com.google.Chrome", "com.microsoft.Edge", "com.brave.Browser")


class Place(Struct, frozen=True):
    """A directory that holds cert9.db, or will; and whose it is."""

    name: str
    directory: Path


def find_places(home: Path, environment: Mapping[str, str]) -> tuple[Place, ...]:
    """Return the databases, each once: browsers share some, and a profile may be named by several files.

    No two have the same name: profiles that do are told apart by where they are.
    """
    places: dict[Path, Place] = {}
    for place in (*_chromium(home, environment), *_firefox(home, environment)):
        places.setdefault(place.directory.resolve(), place)
    names = Counter(place.name for place in places.values())
    return tuple(
        place if names[place.name] == 1 else Place(f"{place.name} in {place.directory.parent}", place.directory)
        for place in places.values()
    )


def find_running_browsers(uid: int) -> tuple[str, ...]:
    """Return the Chromium-family browsers of a user that run now: they notice a new root only after a restart."""
    import psutil

    found = (each.info for each in psutil.process_iter(["name", "uids"]))
    return select_browsers(((info["name"] or "", info["uids"].real if info["uids"] else -1) for info in found), uid)


def select_browsers(processes: Iterator[tuple[str, int]], uid: int) -> tuple[str, ...]:
    """Return the names of browsers among (name, uid) pairs, each once."""
    return tuple(sorted({name for name, owner in processes if owner == uid and name in CHROMIUM_PROCESSES}))


def _chromium(home: Path, environment: Mapping[str, str]) -> Iterator[Place]:
    """~/.pki/nssdb wins wherever it exists, so it is never made: Chromium 146 and later would lose the other one."""
    old = home / ".pki/nssdb"
    new = _directory(environment, "XDG_DATA_HOME", home / ".local/share") / "pki/nssdb"
    if old.is_dir():
        yield Place("Chromium", old)
    elif new.is_dir() or any(shutil.which(each, path=environment.get("PATH")) for each in CHROMIUMS):
        yield Place("Chromium", new)
    for app in SNAP_CHROMIUMS:
        snap = home / "snap" / app / "current"
        for directory in (snap / ".pki/nssdb", snap / ".local/share/pki/nssdb"):
            if directory.is_dir():
                yield Place(f"{app.capitalize()} (snap)", directory)
    for app in FLATPAK_CHROMIUMS:
        for directory in (home / ".var/app" / app / ".pki/nssdb", home / ".var/app" / app / "data/pki/nssdb"):
            if directory.is_dir():
                yield Place(f"{app} (flatpak)", directory)


def _firefox(home: Path, environment: Mapping[str, str]) -> Iterator[Place]:
    flatpak = home / ".var/app/org.mozilla.firefox"
    roots = {
        _directory(environment, "XDG_CONFIG_HOME", home / ".config") / "mozilla/firefox": "Firefox",
        home / ".mozilla/firefox": "Firefox",
        home / "snap/firefox/common/.mozilla/firefox": "Firefox (snap)",
        flatpak / ".mozilla/firefox": "Firefox (flatpak)",
        flatpak / "config/mozilla/firefox": "Firefox (flatpak)",
    }
    for root, name in roots.items():
        for profile in _profiles(root):
            if profile.is_dir():
                yield Place(f"{name}, profile {profile.name}", profile)


def _profiles(root: Path) -> Iterator[Path]:
    """The directories that profiles.ini names; Path= is relative to it, or absolute."""
    try:
        text = (root / "profiles.ini").read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return
    import configparser

    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for section in parser.sections():
        if section.startswith("Profile") and (path := parser.get(section, "Path", fallback="")):
            yield root / path


def _directory(environment: Mapping[str, str], variable: str, otherwise: Path) -> Path:
    """The XDG base directory specification ignores a value that is not absolute."""
    value = environment.get(variable, "")
    return Path(value) if value.startswith("/") else otherwise
