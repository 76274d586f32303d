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
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from devtls.ca.records import NEW, appearing, read_facts, refuse_readable_by_others, told, write_facts
from devtls.errors import DevtlsError
from devtls.model import DEFAULT_HOST, DEFAULT_NAMES, Authority, Leaf, choose_authority, is_address
from devtls.system.files import PUBLIC_FILE, locked, sync_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from devtls.system.paths import Paths


RENEWED_BEFORE = timedelta(days=60)  # a new authority is made next to one that ends soon, so nothing stops on the day
BROKEN = ".broken-"  # stands in the name of what was moved aside
ID = re.compile(r"[0-9a-f]{8}")
LIFE = timedelta(days=1095, hours=1)  # of authorities whose facts do not say when they began
BEGINNING = datetime(2026, 11, 1, tzinfo=UTC)  # there was no devtls before: a clock that says so is wrong


def load_authorities(paths: Paths) -> tuple[Authority, ...]:
    """Return the whole authorities on disk, oldest expiry first; `find_broken` names the others."""
    found = [_read_authority(directory) for directory in _authority_directories(paths)]
    return tuple(sorted((each for each in found if each), key=lambda each: (each.not_after, each.id)))


def issuer_spki(authority: Authority) -> str:
    """SHA-256 of the issuer's public key, base64; nothing where older facts do not say it."""
    return str(read_facts(authority.directory / "facts.json").get("issuer_spki", ""))


def find_broken(paths: Paths) -> tuple[Path, ...]:
    """Return the directories of authorities that are damaged: truncated, unreadable, or edited."""
    return tuple(each for each in _authority_directories(paths) if not _read_authority(each))


def set_aside(directory: Path, now: datetime) -> Path:
    """Rename a damaged authority or leaf to `<name>.broken-<time>` and return its new place; nothing is deleted."""
    aside = directory.with_name(f"{directory.name}{BROKEN}{now:%Y%m%dT%H%M%S}-{os.urandom(2).hex()}")
    directory.rename(aside)
    sync_directory(directory.parent)
    return aside


def find_authority(authorities: Iterable[Authority], host: str, now: datetime | None = None) -> Authority | None:
    """Return the authority that signs for a host: of those that may, the narrowest, then the one that lasts longest.

    With `now`, one that ends within 60 days does not count, so that its successor is made in time; nor one that has not
    begun, since a clock was ahead when it was made.
    """
    return find_common_authority(authorities, [host], now)


def find_common_authority(
    authorities: Iterable[Authority], names: Sequence[str], now: datetime | None = None
) -> Authority | None:
    """Return the authority that signs for all of these names, chosen in the same way."""
    return choose_authority((each for each in authorities if not now or _is_usable(each, now)), names)


def _is_usable(authority: Authority, now: datetime) -> bool:
    return authority.not_before <= now and authority.not_after - now > RENEWED_BEFORE


def create_authority(paths: Paths, names: Sequence[str], now: datetime) -> Authority:
    """Make an authority for host names and addresses, or return the one that another process made meanwhile.

    Raises:
        DevtlsError: the disk is full or may not be written, or the clock is wrong; nothing was changed.
    """
    from devtls.ca import profile

    _refuse_clock(now)
    with told("make a certificate authority in", paths.authorities), locked(paths.authorities / ".lock"):
        if already := find_common_authority(load_authorities(paths), names, now):
            return already
        made = profile.make_authority(names, owner=describe_owner(), now=now)
        facts = {
            "schema": "devtls.ca/1",
            "subtrees": [name for name in names if not is_address(name)],
            "addresses": [name for name in names if is_address(name)],
            "fingerprint": made.fingerprint,
            "not_before": made.not_before.isoformat(),
            "not_after": made.not_after.isoformat(),
            "issuer_spki": made.spki,
        }
        with appearing(paths.authorities / made.id) as directory:
            write_atomically(directory / "root.pem", made.root, PUBLIC_FILE)
            write_atomically(directory / "issuer.pem", made.issuer)
            write_facts(directory / "facts.json", facts)
        return Authority(
            made.id,
            tuple(facts["subtrees"]),
            paths.authorities / made.id,
            fingerprint=made.fingerprint,
            not_after=made.not_after,
            not_before=made.not_before,
            addresses=tuple(facts["addresses"]),
        )


def _refuse_clock(now: datetime) -> None:
    if now < BEGINNING:
        raise DevtlsError(
            f"this machine's clock says {now:%Y-%m-%d}, which is before there was a devtls",
            "Certificates made now would be of no use. Set the clock:",
            "  sudo timedatectl set-ntp true",
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
    if not _is_whole(directory, facts):
        return None
    refuse_readable_by_others(leaf.key)
    return leaf


def certified_hosts(paths: Paths) -> list[str]:
    """Return every host that has been given a certificate to be served with."""
    hosts = (each.name for each in paths.leaves.glob("*/") if (each / "live").is_symlink())
    return sorted(host for host in hosts if host != DEFAULT_HOST)


def find_broken_leaf(paths: Paths, host: str) -> Path | None:
    """Return the directory of a host's live certificate when it is damaged: truncated, unreadable, or edited."""
    live = _leaf_directory(paths, host) / "live"
    try:
        directory = live.parent / live.readlink()
    except OSError:
        return None
    return None if _is_whole(directory, read_facts(directory / "facts.json")) or not directory.is_dir() else directory


def _is_whole(directory: Path, facts: Mapping[str, Any]) -> bool:
    """Whether key and chain are as they were written; older facts say nothing of that, but that they are there."""
    try:
        content = [(directory / name).read_bytes() for name in ("fullchain.pem", "privkey.pem")]
    except OSError:
        return False
    return "sha256" not in facts or facts["sha256"] == _digest(content)


def _digest(content: Sequence[bytes]) -> str:
    import hashlib

    return hashlib.sha256(b"".join(content)).hexdigest()


def issue(paths: Paths, authority: Authority, host: str, now: datetime) -> Leaf:
    """Issue a leaf and make it the live one; the one before it stays, for a server that has not reloaded.

    Raises:
        DevtlsError: others can read the issuer's key; or the issuer is damaged, and its directory was set aside.
    """
    from devtls.ca import profile

    if not authority.covers(host):
        raise DevtlsError(f"the authority of {', '.join(authority.names)} cannot sign for {host}")
    _refuse_clock(now)
    place = _leaf_directory(paths, host)
    with told("keep a certificate in", place), locked(paths.leaves / ".lock"):
        live = load_leaf(paths, host, now)
        if live and issuer_of(live) == authority.id:
            return live
        try:
            names = DEFAULT_NAMES if host == DEFAULT_HOST else (host,)
            made = profile.issue_leaf(read_issuer(authority), *names, now=now)
        except (ValueError, TypeError) as error:  # whatever cryptography says of it: the file is not what was written
            raise broken_issuer(authority, now) from error
        serial = f"{made.serial:040x}"
        facts = {
            "schema": "devtls.leaf/1",
            "issuer": authority.id,
            "serial": serial,
            "not_before": (now - profile.BACKDATED).isoformat(),
            "not_after": made.not_after.isoformat(),
            "sha256": _digest([made.fullchain, made.key]),
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
            not_before=_beginning(facts),
            addresses=tuple(str(each) for each in facts.get("addresses", ())),
        )
        whole = _fingerprint((directory / "root.pem").read_bytes()) == authority.fingerprint
        issuer = (directory / "issuer.pem").read_bytes()
    except (KeyError, TypeError, ValueError, IndexError, OSError):
        return None
    blocks = (b"-----END PRIVATE KEY-----\n", b"-----END CERTIFICATE-----\n")
    return authority if whole and [issuer.count(each) for each in blocks] == [1, 2] else None


def _beginning(facts: Mapping[str, Any]) -> datetime:
    if "not_before" in facts:
        return datetime.fromisoformat(facts["not_before"])
    return datetime.fromisoformat(facts["not_after"]) - LIFE


def _fingerprint(pem: bytes) -> str:
    import hashlib

    return hashlib.sha256(base64.b64decode(pem.split(b"-----")[2])).hexdigest()


def read_issuer(authority: Authority) -> bytes:
    """Return the issuer's key and certificates, PEM.

    Raises:
        DevtlsError: others can read the key.
    """
    path = authority.directory / "issuer.pem"
    refuse_readable_by_others(path)
    return path.read_bytes()


def broken_issuer(authority: Authority, now: datetime) -> DevtlsError:
    """Move a damaged authority aside, and return what to say of it."""
    aside = set_aside(authority.directory, now)
    return DevtlsError(
        f"the certificate authority of {', '.join(authority.names)} is damaged; it was moved to {aside}",
        "Run the same command again: it makes a new one and asks to trust it.",
    )


def _leaf_directory(paths: Paths, host: str) -> Path:
    if "/" in host or host.startswith(".") or not host:
        raise ValueError(f"{host!r} is not a host name")  # a bug: names are parsed at the edge
    return paths.leaves / host


def issuer_of(leaf: Leaf) -> str:
    """The id of the authority that signed a leaf."""
    return str(read_facts(leaf.key.parent / "facts.json").get("issuer"))


def _make_live(place: Path, serial: str) -> None:
    live = place / "live"
    previous = os.fspath(live.readlink()) if live.is_symlink() else ""
    link = place / f"{NEW}{os.urandom(4).hex()}"
    link.symlink_to(serial)
    link.replace(live)
    sync_directory(place)
    for each in place.iterdir():
        if each.name not in {"live", serial, previous} and BROKEN not in each.name:
            shutil.rmtree(each, ignore_errors=True)


def describe_owner() -> str:
    """Return "user@host", which stands in the name of each root this user makes here."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run as numbers
        user = str(os.getuid())
    return f"{user}@{os.uname().nodename}"
