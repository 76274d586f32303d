"""The system's store as Debian and Ubuntu keep it: files, and a bundle that update-ca-certificates makes of them.

curl, wget, git, Python's ssl, Ruby, Go and Java read it; Chromium, Firefox, Node and requests do not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.system.files import read_or_none
from devtls.system.root import InstallRoot, RemoveRoot
from devtls.trust import Change, Held, Trouble

if TYPE_CHECKING:
    from devtls.model import Authority

DIRECTORY = Path("/usr/local/share/ca-certificates")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
NAME = re.compile(r"devtls-[0-9a-f]{8}")
ADMINISTRATORS_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # a user's PATH lacks sbin


class DebianStore(Struct, frozen=True):
    """The store of ca-certificates; only root changes it."""

    directory: Path = DIRECTORY
    bundle: Path = BUNDLE
    needs_root: bool = True

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return "system store"

    @property
    def place(self) -> Path:
        """Where our files go."""
        return self.directory

    def is_trusted(self, authority: Authority) -> bool:
        """Whether our file is there with the same bytes, and the bundle has taken it in."""
        pem = _read(authority.root)
        return bool(pem) and _read(self._file(authority.name)) == pem and pem.strip() in _read(self.bundle)

    def trust(self, authority: Authority) -> Change:
        """Ask root to add the root certificate."""
        if self.is_trusted(authority):
            return Change()
        return Change((InstallRoot(authority.name, authority.root.read_bytes()),))

    def untrust(self, held: Held) -> Change:
        """Ask root to remove it; also when only the file or only its copy in the bundle is left."""
        return Change((RemoveRoot(held.name),)) if NAME.fullmatch(held.name) and self.holds(held) else Change()

    def holds(self, held: Held) -> bool:
        """Whether our file, or its copy in the bundle, is there."""
        pem = _read(self._file(held.name))
        if pem:
            return _fingerprint(pem) == held.fingerprint
        return any(_fingerprint(each) == held.fingerprint for each in _certificates(_read(self.bundle)))

    def discard(self) -> None:
        """The system's store is never ours to delete."""

    def find_held(self, owner: str) -> tuple[Held, ...]:
        """Return the roots of this owner, told by their subject: other users of the machine have theirs."""
        found = ((path.stem, _read(path)) for path in sorted(self.directory.glob("devtls-*.crt")))
        return tuple(
            Held(name, _fingerprint(pem))
            for name, pem in found
            if NAME.fullmatch(name) and f"devtls {owner} ".encode() in _der(pem)
        )

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.crt"


def find_store() -> tuple[tuple[DebianStore, ...], tuple[Trouble, ...]]:
    """Return this machine's system store, or what is missing."""
    if shutil.which("update-ca-certificates", path=ADMINISTRATORS_PATH) and DIRECTORY.parent.is_dir():
        return (DebianStore(),), ()
    return (), (_missing(Path("/etc/debian_version").exists()),)


def _missing(is_debian: bool) -> Trouble:
    if is_debian:
        return Trouble("system store", "ca-certificates is not installed", ("  sudo apt install ca-certificates",))
    return Trouble(
        "system store",
        "devtls does not know this system's store yet; curl and the like will not trust the certificates",
        ("Name the root to them, each in its own way:", "  curl --cacert ~/.local/share/devtls/ca/*/root.pem …"),
    )


def _read(path: Path) -> bytes:
    try:
        return read_or_none(path) or b""
    except OSError:
        return b""


def _certificates(bundle: bytes) -> list[bytes]:
    return re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", bundle, re.DOTALL)


def _der(pem: bytes) -> bytes:
    try:
        return base64.b64decode(pem.split(b"-----")[2])
    except (IndexError, binascii.Error):
        return b""


def _fingerprint(pem: bytes) -> str:
    return hashlib.sha256(_der(pem)).hexdigest()
