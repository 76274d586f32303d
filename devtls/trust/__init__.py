"""The places that browsers and runtimes take trusted roots from: one file per kind of store, the same verbs in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devtls.model import Authority
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
    """The stores of this machine and user, and what is missing."""

    found: tuple[Store, ...]
    troubles: tuple[Trouble, ...]


def find_stores(home: Path, environment: Mapping[str, str], run: Runner) -> Stores:
    """Return every store there is: the system's, and each NSS database of the user."""
    from devtls.trust import debian, nss

    system, troubles = debian.find_store()
    return Stores((*system, *nss.find_stores(home, environment, run)), troubles)
