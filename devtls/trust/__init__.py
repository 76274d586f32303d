"""The places that browsers and runtimes take trusted roots from: one file per kind of store, the same verbs in each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devtls.model import Authority
    from devtls.system.paths import Paths
    from devtls.system.root import InstallRoot, RemoveRoot
    from devtls.system.run import Runner


class Trouble(Struct, frozen=True):
    """A store that could not be changed or read: which, why, and what to do; it never stops the rest."""

    store: str
    fact: str
    cure: tuple[str, ...] = ()


class Change(Struct, frozen=True):
    """What came of asking a store: nothing more to do, or operations for root, or trouble."""

    operations: tuple[InstallRoot | RemoveRoot, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    def __add__(self, other: Change) -> Change:
        """Both."""
        return Change(self.operations + other.operations, self.troubles + other.troubles)


class Held(Struct, frozen=True):
    """A root of ours that was found in a store: SHA-256 of its DER in hexadecimal, and what the store calls it."""

    name: str
    fingerprint: str


class Store(Protocol):
    """One place that keeps trusted roots."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def place(self) -> Path:
        """Where it is; with this a receipt finds it again."""
        ...

    @property
    def needs_root(self) -> bool:
        """Whether `trust` and `untrust` return operations for root instead of acting."""
        ...

    def is_trusted(self, authority: Authority) -> bool:
        """Whether the root is in it, byte for byte; fast, asked at each start. What cannot be read is not trusted."""
        ...

    def trust(self, authority: Authority) -> Change:
        """Add the root."""
        ...

    def untrust(self, held: Held) -> Change:
        """Take a root out, by its bytes; already gone is fine."""
        ...

    def holds(self, held: Held) -> bool:
        """Whether any trace of the root is left in it, trusted or not; true when it cannot be read."""
        ...

    def discard(self) -> None:
        """Delete the store itself, which devtls made, unless somebody else has put something into it."""
        ...

    def find_held(self, owner: str) -> tuple[Held, ...]:
        """Return the roots in it that devtls made for this owner ("user@host"), known here or not."""
        ...


class Stores(Struct, frozen=True):
    """The stores of this machine and user, and what is missing.

    Attributes:
        found: those that devtls changes.
        troubles: what a start tells each time, until it is cured.
        left: those that only the user can change; their `trust` and `untrust` tell the command. A start is silent about
            them, since `devtls exec` serves their programs all the same.
    """

    found: tuple[Store, ...]
    troubles: tuple[Trouble, ...]
    left: tuple[Store, ...] = ()

    @property
    def everything(self) -> tuple[Store, ...]:
        """Where a root of ours may be."""
        return self.found + self.left


def find_stores(
    home: Path,
    environment: Mapping[str, str],
    run: Runner,
    paths: Paths | None = None,
    *,
    platform: str = sys.platform,
) -> Stores:
    """Return every store there is: the system's, each NSS database and each Java keystore of the user.

    With `paths`, stores that only a slow tool can look into believe their receipts.
    """
    from devtls.trust import java, nss

    system, troubles = _find_system(home, run, paths, platform)
    keystores, bad_home = java.find_stores(home, environment, run)
    ours = tuple(each for each in keystores if each.is_ours)
    left = tuple(each for each in keystores if not each.is_ours)
    return Stores((*system, *nss.find_stores(home, environment, run), *ours), (*troubles, *bad_home), left)


def _find_system(
    home: Path, run: Runner, paths: Paths | None, platform: str
) -> tuple[tuple[Store, ...], tuple[Trouble, ...]]:
    from devtls.trust import receipts

    is_done = receipts.is_done_in(paths)
    if platform == "darwin":
        from devtls.trust import macos

        return (macos.find_store(home, run, is_done),), ()
    from devtls.system.windows import find_windows
    from devtls.trust import nixos, system, windows
    from devtls.trust.alpine import ALPINE
    from devtls.trust.arch import ARCH
    from devtls.trust.debian import DEBIAN
    from devtls.trust.fedora import FEDORA
    from devtls.trust.suse import SUSE

    beyond = windows.find_stores(run, is_done, find_windows())
    if nixos.is_here():
        return (nixos.NixStore(), *beyond), ()
    families = (FEDORA, ARCH, SUSE, ALPINE, DEBIAN)  # Debian's tool and directory exist elsewhere, too: it is the last
    family = system.find_family(families)
    if family is None:
        return beyond, (system.missing(families),)
    return (system.SystemStore(family.anchors), *beyond), ()
