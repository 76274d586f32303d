"""Certificates that leave devtls: files for elsewhere, named as mkcert names them, all of them or none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.ca import profile
from devtls.errors import ConflictError
from devtls.system.files import PRIVATE_FILE, PUBLIC_FILE, read_or_none, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509

    from devtls.ca.profile import LeafPem


class Files(Struct, frozen=True):
    """Where a certificate goes: chain and key, or both in one PKCS#12 file."""

    certificate: Path | None
    key: Path | None
    pkcs12: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Those that there are."""
        return tuple(each for each in (self.key, self.certificate, self.pkcs12) if each)


def name_files(directory: Path, names: Sequence[str], *, is_client: bool, as_pkcs12: bool) -> Files:
    """Return mkcert's names for the files: love.cat+2.pem and love.cat+2-key.pem, _wildcard.love.cat-client.p12."""
    stem = names[0].replace("*", "_wildcard").replace(":", "_")
    stem += (f"+{len(names) - 1}" if len(names) > 1 else "") + ("-client" if is_client else "")
    if as_pkcs12:
        return Files(None, None, directory / f"{stem}.p12")
    return Files(directory / f"{stem}.pem", directory / f"{stem}-key.pem", None)


def refuse_foreign(files: Files) -> None:
    """Check that nobody else's file is in the way.

    Raises:
        ConflictError: a file is there that devtls did not write.
    """
    for path in files.paths:
        if (path.is_symlink() or path.exists()) and not _is_ours(path, files):
            raise ConflictError(
                f"{path} is there already, and devtls did not write it",
                "Move it away, or have the files written elsewhere:",
                "  devtls cert … --out some/folder",
            )


def write_files(files: Files, leaf: LeafPem) -> None:
    """Write them, each whole; when one cannot be written, those that are new are taken away again.

    Raises:
        DevtlsError: the disk is full or may not be written.
    """
    content = {files.key: (leaf.key, PRIVATE_FILE), files.certificate: (leaf.fullchain, PUBLIC_FILE)}
    if files.pkcs12:
        content = {files.pkcs12: (profile.render_pkcs12(leaf), PRIVATE_FILE)}
    before = {path: read_or_none(path) for path in content if path}
    try:
        for path, (data, mode) in content.items():
            if path:
                write_atomically(path, data, mode)
    except BaseException:
        for path, old in before.items():
            with contextlib.suppress(Exception):
                path.unlink() if old is None else write_atomically(path, old, content[path][1])
        raise


def _is_ours(path: Path, files: Files) -> bool:
    """Told by the leaf's subject; a key by its certificate, since it says nothing of itself."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if path != files.key:
            return (
                path.is_file()
                and not path.is_symlink()
                and _read_ours(path, is_pkcs12=files.pkcs12 is not None) is not None
            )
        leaf = _read_ours(files.certificate, is_pkcs12=False) if files.certificate and not path.is_symlink() else None
        return leaf is not None and load_pem_private_key(path.read_bytes(), None).public_key() == leaf.public_key()
    except (OSError, ValueError, TypeError):  # not to be read, or not what it is called
        return False


def _read_ours(path: Path, *, is_pkcs12: bool) -> x509.Certificate | None:
    """The leaf in a file, if devtls made it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import pkcs12

    if is_pkcs12:
        held = pkcs12.load_pkcs12(path.read_bytes(), profile.PKCS12_PASSWORD).cert
        leaf = held.certificate if held else None
    else:
        leaf = x509.load_pem_x509_certificate(path.read_bytes())
    return leaf if leaf and profile.LEAF_ORGANIZATION in leaf.subject.rfc4514_string() else None
