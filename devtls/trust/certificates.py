"""Certificates as bytes: out of PEM, out of bundles, and what tells whose they are."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING

from devtls.system.files import read_or_none

if TYPE_CHECKING:
    from pathlib import Path

PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
NAME = re.compile(r"devtls-[0-9a-f]{8}")
LONGEST_MARK = 64 - len(" 1a2b3c4d")  # bytes; RFC 5280, ub-common-name


def read(path: Path) -> bytes:
    """A file's bytes; nothing when it is not there or not to be read by us."""
    try:
        return read_or_none(path) or b""
    except OSError:
        return b""


def parse_pem(pem: bytes) -> bytes:
    """The DER of the first certificate; nothing when there is none."""
    found = PEM.search(pem)
    try:
        return base64.b64decode(found.group().split(b"-----")[2]) if found else b""
    except binascii.Error:
        return b""


def parse_bundle(bundle: bytes) -> tuple[bytes, ...]:
    """The DER of each certificate in a file of many."""
    return tuple(parse_pem(each.group()) for each in PEM.finditer(bundle))


def fingerprint(der: bytes) -> str:
    """SHA-256, lower-case hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def identity_of(der: bytes, owner: str) -> str:
    """The eight digits in the subject of a root that devtls made for this owner ("user@host"); else nothing.

    The subject is text in the DER, and its common name is cut to fit: the digits always stand in it.
    """
    mark = f"devtls {owner}".encode()[:LONGEST_MARK].decode("utf-8", "ignore").encode()
    found = re.search(rb"%s ([0-9a-f]{8})" % re.escape(mark), der)
    return found.group(1).decode() if found else ""
