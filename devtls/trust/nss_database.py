"""Look into an NSS database (cert9.db) without NSS: it is SQLite, and asking takes well under a millisecond.

Columns are named "a" and the attribute's number; numbers are four bytes, big-endian (NSS, lib/softoken/sdb.c). A root
is trusted by a second object: CKO_NSS_TRUST with the SHA-1 of the certificate (seen from NSS 3.87), or PKCS#11's
CKO_TRUST with its SHA-256 (from 3.125). New NSS reads both, old NSS only the first.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CERTIFICATE = bytes.fromhex("00000001")  # CKO_CERTIFICATE
NSS_TRUST = ("ce534353", "ace5363b4", "ace536358", "ce534352", "sha1")  # class, hash, server auth, delegator
PKCS11_TRUST = ("0000000b", "a635", "a62c", "00000002", "sha256")  # class, hash, server auth, anchor
FILES = {"cert9.db": "nssPublic", "key4.db": "nssPrivate"}  # and the table that has what was put in
BUSY = 0.5  # seconds to wait for a browser that is writing


class UnreadableError(Exception):
    """The database is busy, damaged, or not to be read by us."""


def is_trusted(directory: Path, der: bytes) -> bool:
    """Whether the certificate is there and trusted to name servers; False when the database cannot be read."""
    try:
        with _opened(directory) as database:
            present = database.execute("SELECT 1 FROM nssPublic WHERE a0 = ? AND a11 = ?", (CERTIFICATE, der))
            return present.fetchone() is not None and any(
                _has_trust(database, der, *form) for form in (NSS_TRUST, PKCS11_TRUST)
            )
    except UnreadableError:
        return False


def read_certificates(directory: Path) -> tuple[tuple[str, bytes], ...]:
    """Return each certificate: its nickname and its DER.

    Raises:
        UnreadableError: now it cannot be read.
    """
    with _opened(directory) as database:
        rows = database.execute("SELECT a3, a11 FROM nssPublic WHERE a0 = ?", (CERTIFICATE,)).fetchall()
    return tuple(
        (nickname.decode("utf-8", "replace") if isinstance(nickname, bytes) else "", der)
        for nickname, der in rows
        if isinstance(der, bytes)
    )


def is_empty(directory: Path) -> bool:
    """Whether nobody has put anything into it: no certificate, no trust, no key; false when that cannot be told."""
    try:
        return all(_has_no_rows(directory, name, table) for name, table in FILES.items())
    except UnreadableError:
        return False


def _has_no_rows(directory: Path, name: str, table: str) -> bool:
    if not (directory / name).exists():
        return True
    with _opened(directory, name) as database:
        return database.execute(f"SELECT 1 FROM {table}").fetchone() is None  # noqa: S608 - a constant of this module


def _has_trust(  # noqa: PLR0913, PLR0917 - the parts of one form of trust object
    database: sqlite3.Connection, der: bytes, kind: str, digest: str, usage: str, trusted: str, algorithm: str
) -> bool:
    """Column names are constants of this module; a database of the other kind lacks them."""
    columns = {row[1] for row in database.execute("PRAGMA table_info(nssPublic)")}
    if not {digest, usage} <= columns:
        return False
    value = hashlib.new(algorithm, der, usedforsecurity=False).digest()
    query = f"SELECT 1 FROM nssPublic WHERE a0 = ? AND {digest} = ? AND {usage} = ?"  # noqa: S608 - constants, see above
    found = database.execute(query, (bytes.fromhex(kind), value, bytes.fromhex(trusted)))
    return found.fetchone() is not None


@contextlib.contextmanager
def _opened(directory: Path, name: str = "cert9.db") -> Iterator[sqlite3.Connection]:
    path = directory / name
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY)
    except (sqlite3.Error, ValueError) as error:
        raise UnreadableError(f"{path}: {error}") from error
    try:
        yield database
    except sqlite3.Error as error:
        raise UnreadableError(f"{path}: {error}") from error
    finally:
        database.close()
