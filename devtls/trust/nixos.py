"""NixOS: its store is made of its configuration, which is the user's to edit; this tells the lines. Not yet run.

https://search.nixos.org/options?query=security.pki.certificateFiles
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.trust import Change, Held, Trouble
from devtls.trust.certificates import fingerprint, identity_of, parse_bundle, parse_pem, read

if TYPE_CHECKING:
    from devtls.model import Authority

SIGN = Path("/etc/NIXOS")
CONFIGURATION = Path("/etc/nixos")  # a file in a home that others cannot enter would fail the build
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


class NixStore(Struct, frozen=True):
    """The bundle that nixos-rebuild makes; it is looked at, never changed."""

    place: Path = BUNDLE
    name: str = "system store"
    needs_root: bool = False

    def is_trusted(self, authority: Authority) -> bool:
        """Whether the bundle has the root."""
        pem = read(authority.root)
        return bool(pem) and parse_pem(pem) in parse_bundle(read(self.place))

    def trust(self, authority: Authority) -> Change:
        """Tell the lines that add it."""
        if self.is_trusted(authority):
            return Change()
        file = CONFIGURATION / f"{authority.name}.pem"
        cure = (
            "Copy it to where the build can read it, add the line to configuration.nix, and build:",
            f"  sudo install -m 644 {shlex.quote(os.fspath(authority.root))} {file}",
            f"  security.pki.certificateFiles = [ {file} ];",
            "  sudo nixos-rebuild switch",
        )
        return Change(troubles=(Trouble(self.name, "NixOS takes roots from its configuration only", cure),))

    def untrust(self, held: Held) -> Change:
        """Tell what to take out."""
        if not self.holds(held):
            return Change()
        cure = (
            f"Take {CONFIGURATION / held.name}.pem out of security.pki.certificateFiles, and build:",
            "  sudo nixos-rebuild switch",
        )
        return Change(troubles=(Trouble(self.name, f"{held.name} is in the configuration of NixOS", cure),))

    def holds(self, held: Held) -> bool:
        """Whether the bundle has the root."""
        return any(fingerprint(der) == held.fingerprint for der in parse_bundle(read(self.place)))

    def discard(self) -> None:
        """It is never ours to delete."""

    def find_held(self, owner: str) -> tuple[Held, ...]:
        """Return the roots of this owner that are in the bundle; it has no names, so theirs is made up again."""
        return tuple(
            Held(f"devtls-{identity}", fingerprint(der))
            for der in parse_bundle(read(self.place))
            if (identity := identity_of(der, owner))
        )


def is_here() -> bool:
    """Whether this is NixOS; its installer makes the file."""
    return SIGN.exists()
