"""Authorities and leaves on disk, in the user's data directory.

```
ca/<id>/facts.json root.pem issuer.pem            made under a lock, appearing whole by one rename
leaf/<host>/<serial>/fullchain.pem privkey.pem facts.json
leaf/<host>/live -> <serial>                      swapped by rename; the serial before it is kept
```
Looking needs no lock and no cryptography: the facts that a warm start asks for are JSON.
"""

from __future__ import annotations

import base64
import os
import pwd
import re
import shutil
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from devtls.ca.records import NEW, appearing, read_facts, refuse_readable_by_others, told, write_facts
from devtls.errors import DevtlsError
from devtls.model import Authority, Leaf
from devtls.system.files import PUBLIC_FILE, locked, sync_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from devtls.system.paths import Paths


RENEWED_BEFORE = timedelta(days=60)  # a new authority is made next to one that ends soon, so nothing stops on the day
ID = re.compile(r"[0-9a-f]{8}")


def load_authorities(paths: Paths) -> tuple[Authority, ...]:
    """Return the whole authorities on disk, oldest expiry first; `find_broken` names the others."""
    found = [_read_authority(directory) for directory in _authority_directories(paths)]
    return tuple(sorted((each for each in found if each), key=lambda each: (each.not_after, each.id)))


def find_broken(paths: Paths) -> tuple[Path, ...]:
    """Return the directories of authorities that are damaged: truncated, unreadable, or edited."""
    return tuple(each for each in _authority_directories(paths) if not _read_authority(each))


def set_aside(directory: Path, now: datetime) -> Path:
    """Rename a damaged authority to `<name>.broken-<time>` and return its new place; nothing is deleted."""
    aside = directory.with_name(f"{directory.name}.broken-{now:%Y%m%dT%H%M%S}-{os.urandom(2).hex()}")
    directory.rename(aside)
    sync_directory(directory.parent)
    return aside


def find_authority(authorities: Iterable[Authority], host: str, now: datetime | None = None) -> Authority | None:
    """Return the authority that signs for a host: of those that may, the one that lasts longest.

    With `now`, one that ends within 60 days does not count, so that its successor is made in time.
    """
    able = [each for each in authorities if each.covers(host) and (not now or each.not_after - now > RENEWED_BEFORE)]
    return max(able, key=lambda each: each.not_after, default=None)


def create_authority(paths: Paths, subtrees: Sequence[str], now: datetime) -> Authority:
    """Make an authority, or return the one that another process made meanwhile.

    Raises:
        DevtlsError: the disk is full or may not be written; nothing was changed.
    """
    from devtls.ca import profile

    with told("make a certificate authority in", paths.authorities), locked(paths.authorities / ".lock"):
        authorities = load_authorities(paths)
        for authority in authorities:
            if all(find_authority([authority], each, now) for each in subtrees):
                return authority
        made = profile.make_authority(subtrees, owner=describe_owner(), now=now)
        facts = {
            "schema": "devtls.ca/1",
            "subtrees": list(subtrees),
            "fingerprint": made.fingerprint,
            "not_after": made.not_after.isoformat(),
        }
        with appearing(paths.authorities / made.id) as directory:
            write_atomically(directory / "root.pem", made.root, PUBLIC_FILE)
            write_atomically(directory / "issuer.pem", made.issuer)
            write_facts(directory / "facts.json", facts)
        return Authority(
            made.id,
            tuple(subtrees),
            paths.authorities / made.id,
            fingerprint=made.fingerprint,
            not_after=made.not_after,
        )


def load_leaf(paths: Paths, host: str, now: datetime) -> Leaf | None:
    """Return the served certificate of a host, or None when a new one is due.

    It is due when there is none, a third of its life or less is left, a file is missing, or its issuer is not the one
    that signs for this host now.

    Raises:
        DevtlsError: others can read its key.
    """
    directory = _leaf_directory(paths, host) / "live"
    try:
        directory = directory.parent / directory.readlink()
    except OSError:
        return None
    facts = read_facts(directory / "facts.json")
    authorities = load_authorities(paths)
    # Where nobody could agree to a successor's root yet, the authority that ends soon still signs.
    authority = find_authority(authorities, host, now) or find_authority(authorities, host)
    if not facts or not authority or facts.get("issuer") != authority.id:
        return None
    try:
        serial, not_after = int(facts["serial"], 16), datetime.fromisoformat(facts["not_after"])
        not_before = datetime.fromisoformat(facts["not_before"])
    except (KeyError, TypeError, ValueError):
        return None
    leaf = Leaf(host, directory / "fullchain.pem", directory / "privkey.pem", serial=serial, not_after=not_after)
    if now < not_before or (not_after - now) * 3 <= not_after - not_before:
        return None
    if not leaf.fullchain.is_file() or not leaf.key.is_file():
        return None
    refuse_readable_by_others(leaf.key)
    return leaf


def issue(paths: Paths, authority: Authority, host: str, now: datetime) -> Leaf:
    """Issue a leaf and make it the live one; the one before it stays, for a server that has not reloaded.

    Raises:
        DevtlsError: others can read the issuer's key; or the issuer is damaged, and its directory was set aside.
    """
    from devtls.ca import profile

    if not authority.covers(host):
        raise DevtlsError(f"the authority of {', '.join(authority.subtrees)} cannot sign for {host}")
    place = _leaf_directory(paths, host)
    with told("keep a certificate in", place), locked(paths.leaves / ".lock"):
        live = load_leaf(paths, host, now)
        if live and _issuer_of(live) == authority.id:
            return live
        try:
            made = profile.issue_leaf(_read_issuer(authority), host, now=now)
        except (ValueError, TypeError) as error:  # whatever cryptography says of it: the file is not what was written
            raise _broken_issuer(authority, now) from error
        serial = f"{made.serial:040x}"
        facts = {
            "schema": "devtls.leaf/1",
            "issuer": authority.id,
            "serial": serial,
            "not_before": (now - profile.BACKDATED).isoformat(),
            "not_after": made.not_after.isoformat(),
        }
        with appearing(place / serial) as directory:
            write_atomically(directory / "fullchain.pem", made.fullchain, PUBLIC_FILE)
            write_atomically(directory / "privkey.pem", made.key)
            write_facts(directory / "facts.json", facts)
        _make_live(place, serial)
        return Leaf(
            host,
            place / serial / "fullchain.pem",
            place / serial / "privkey.pem",
            serial=made.serial,
            not_after=made.not_after,
        )


def _authority_directories(paths: Paths) -> list[Path]:
    try:
        return sorted(each for each in paths.authorities.iterdir() if ID.fullmatch(each.name) and each.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read_authority(directory: Path) -> Authority | None:
    facts = read_facts(directory / "facts.json")
    try:
        authority = Authority(
            directory.name,
            tuple(str(each) for each in facts["subtrees"]),
            directory,
            fingerprint=str(facts["fingerprint"]),
            not_after=datetime.fromisoformat(facts["not_after"]),
        )
        whole = _fingerprint((directory / "root.pem").read_bytes()) == authority.fingerprint
        issuer = (directory / "issuer.pem").read_bytes()
    except (KeyError, TypeError, ValueError, IndexError, OSError):
        return None
    blocks = (b"-----END PRIVATE KEY-----\n", b"-----END CERTIFICATE-----\n")
    return authority if whole and [issuer.count(each) for each in blocks] == [1, 2] else None


def _fingerprint(pem: bytes) -> str:
    import hashlib

    return hashlib.sha256(base64.b64decode(pem.split(b"-----")[2])).hexdigest()


def _read_issuer(authority: Authority) -> bytes:
    path = authority.directory / "issuer.pem"
    refuse_readable_by_others(path)
    return path.read_bytes()


def _broken_issuer(authority: Authority, now: datetime) -> DevtlsError:
    aside = set_aside(authority.directory, now)
    return DevtlsError(
        f"the certificate authority of {', '.join(authority.subtrees)} is damaged; it was moved to {aside}",
        "Run the same command again: it makes a new one and asks to trust it.",
    )


def _leaf_directory(paths: Paths, host: str) -> Path:
    if "/" in host or host.startswith(".") or not host:
        raise ValueError(f"{host!r} is not a host name")  # a bug: names are parsed at the edge
    return paths.leaves / host


def _issuer_of(leaf: Leaf) -> str:
    return str(read_facts(leaf.key.parent / "facts.json").get("issuer"))


def _make_live(place: Path, serial: str) -> None:
    live = place / "live"
    previous = os.fspath(live.readlink()) if live.is_symlink() else ""
    link = place / f"{NEW}{os.urandom(4).hex()}"
    link.symlink_to(serial)
    link.replace(live)
    sync_directory(place)
    for each in place.iterdir():
        if each.name not in {"live", serial, previous}:
            shutil.rmtree(each, ignore_errors=True)


def describe_owner() -> str:
    """Return "user@host", which stands in the name of each root this user makes here."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run as numbers
        user = str(os.getuid())
    return f"{user}@{os.uname().nodename}"
