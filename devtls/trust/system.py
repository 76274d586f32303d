"""The system's store: files that root adds to a directory, and one bundle that a tool makes of them.

curl, wget, git, Python's ssl, Ruby, Go and Java read it; Chromium, Firefox, Node and requests do not. What differs from
system to system is a value, `Family`, in a file of its own.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.system.root import InstallRoot, RemoveRoot
from devtls.system.root_script import Anchors  # noqa: TC001 - msgspec reads the types of fields
from devtls.trust import Change, Held, Trouble
from devtls.trust.certificates import NAME, fingerprint, identity_of, parse_bundle, parse_pem, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.model import Authority

ADMINISTRATORS_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # a user's PATH lacks sbin
STORE = "system store"


class Family(Struct, frozen=True):
    """Systems that keep their roots the same way.

    Attributes:
        tool: what makes the bundle.
        directory: is there wherever the tool reads `anchors.directory`.
        sign: is there on such a system, also without the tool.
        remedy: what installs the tool.
    """

    anchors: Anchors
    tool: str
    directory: str
    sign: str
    remedy: str


class SystemStore(Struct, frozen=True):
    """The system's store; only root changes it."""

    anchors: Anchors
    needs_root: bool = True

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return STORE

    @property
    def place(self) -> Path:
        """Where our files go."""
        return Path(self.anchors.directory)

    def is_trusted(self, authority: Authority) -> bool:
        """Whether our file is there with the same bytes, and the bundle has taken it in."""
        pem = read(authority.root)
        if not pem or read(self._file(authority.name)) != pem:
            return False
        bundle = read(Path(self.anchors.bundle))
        return pem.strip() in bundle or parse_pem(pem) in parse_bundle(bundle)  # a tool may break lines elsewhere

    def trust(self, authority: Authority) -> Change:
        """Ask root to add the root certificate."""
        if self.is_trusted(authority):
            return Change()
        return Change((InstallRoot(authority.name, authority.root.read_bytes(), self.anchors),))

    def untrust(self, held: Held) -> Change:
        """Ask root to remove it; also when only the file or only its copy in the bundle is left."""
        if NAME.fullmatch(held.name) and self.holds(held):
            return Change((RemoveRoot(held.name, self.anchors),))
        return Change()

    def holds(self, held: Held) -> bool:
        """Whether our file, or its copy in the bundle, is there."""
        pem = read(self._file(held.name))
        if pem:
            return fingerprint(parse_pem(pem)) == held.fingerprint
        return any(fingerprint(der) == held.fingerprint for der in parse_bundle(read(Path(self.anchors.bundle))))

    def discard(self) -> None:
        """The system's store is never ours to delete."""

    def find_held(self, owner: str) -> tuple[Held, ...]:
        """Return the roots of this owner, told by their subject: other users of the machine have theirs."""
        files = sorted(self.place.glob(f"devtls-*{self.anchors.suffix}"))
        found = ((path.name.removesuffix(self.anchors.suffix), parse_pem(read(path))) for path in files)
        return tuple(
            Held(name, fingerprint(der)) for name, der in found if NAME.fullmatch(name) and identity_of(der, owner)
        )

    def _file(self, name: str) -> Path:
        return Path(self.anchors.file(name))


def find_family(families: Sequence[Family], top: Path = Path("/")) -> Family | None:
    """Return the first family whose tool and directory are here; a version string would lie in a derivative."""
    path = ":".join(str(top / each.lstrip("/")) for each in ADMINISTRATORS_PATH.split(":"))
    for family in families:
        if shutil.which(family.tool, path=path) and (top / family.directory.lstrip("/")).is_dir():
            return family
    return None


def missing(families: Sequence[Family], top: Path = Path("/")) -> Trouble:
    """What to do where no store is found."""
    for family in families:
        if (top / family.sign.lstrip("/")).exists():
            return Trouble(STORE, f"there is no {family.tool} on this machine", (f"  {family.remedy}",))
    return Trouble(
        STORE,
        "devtls does not know this system's store; curl and the like will not trust the certificates",
        ("Give programs the root in their environment:", "  devtls exec -- curl https://love.cat"),
    )
