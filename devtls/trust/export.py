"""Trust for containers and other people's devices: the roots as files, and how to use them. No key is among them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import ConflictError, DevtlsError
from devtls.system.files import PUBLIC_FILE, cure_for, read_or_none, write_atomically
from devtls.system.templates import fill
from devtls.trust.runtimes import find_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from devtls.model import Authority

ROOT, COMBINED, TRUSTSTORE, README = "root.pem", "combined.pem", "truststore.p12", "README.md"
MARK = "<!-- Written by devtls. -->"  # by which a folder is known to be ours to write to again


class Exported(Struct, frozen=True):
    """What was written, and how many public certificates Java's file had to go without."""

    files: tuple[Path, ...]
    skipped: int


def export(authorities: Sequence[Authority], directory: Path, templates: Path) -> Exported:
    """Write the roots of these authorities into a folder, which is made when it is not there.

    Raises:
        ConflictError: the folder has files of these names that devtls did not write.
        DevtlsError: it cannot be written.
    """
    _refuse_foreign(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DevtlsError(f"the folder {directory} cannot be made: {error.strerror}", *cure_for(error)) from error
    roots = b"".join(each.root.read_bytes() for each in authorities)
    bundle = find_bundle()
    combined = (_ended(bundle.read_bytes()) if bundle else b"") + roots
    truststore, skipped = _render_truststore(combined)
    content = {README: _render_readme(authorities, directory, templates).encode(), ROOT: roots, COMBINED: combined}
    for name, data in (*content.items(), (TRUSTSTORE, truststore)):
        write_atomically(directory / name, data, PUBLIC_FILE)
    return Exported(tuple(directory / name for name in (ROOT, COMBINED, TRUSTSTORE, README)), skipped)


def _refuse_foreign(directory: Path) -> None:
    if MARK.encode() in (read_or_none(directory / README) or b""):
        return
    for name in (README, ROOT, COMBINED, TRUSTSTORE):
        if (directory / name).exists() or (directory / name).is_symlink():
            raise ConflictError(
                f"{directory / name} is there already, and devtls did not write it",
                "Take another folder:",
                "  devtls trust --export some/folder",
            )


def _render_truststore(combined: bytes) -> tuple[bytes, int]:
    """Java's trust store of all certificates that can be parsed, without a password; and how many cannot."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

    from devtls.trust.certificates import parse_bundle

    kept, skipped = [], 0
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of public certificates that are not as they should be, which is not our affair
        for number, der in enumerate(parse_bundle(combined)):
            try:
                certificate = x509.load_der_x509_certificate(der)
                kept.append(pkcs12.PKCS12Certificate(certificate, f"root-{number}".encode()))
            except ValueError:
                skipped += 1
        return pkcs12.serialize_java_truststore(kept, NoEncryption()), skipped


def _render_readme(authorities: Sequence[Authority], directory: Path, templates: Path) -> str:
    names = [name for each in authorities for name in each.names]
    return fill(
        templates,
        "export/README.md",
        mark=MARK,
        names=", ".join(names),
        until=f"{min(each.not_after for each in authorities):%Y-%m-%d}",
        plural="s" if len(authorities) > 1 else "",
        folder=directory.name or ".",
        host=next((name for name in names if "." in name), "love.test"),
    )


def _ended(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"
