"""What devtls put into which store, written down before it is done, so that all of it can be undone.

trust.json, in the data directory, 0600: an entry is "intended" before the change and "done" after a look confirmed it.
"""

from __future__ import annotations

import json
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import asdict, replace

from devtls.errors import DevtlsError
from devtls.system.files import locked, make_private_directory, read_or_none, write_atomically
from devtls.trust import Change, Held, Store, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from devtls.model import Authority
    from devtls.system.paths import Paths
    from devtls.system.run import Runner


class Receipt(Struct, frozen=True):
    """One root in one store.

    Attributes:
        place: the store's directory.
        store: the store's name, for messages.
        root: the root's name, "devtls-1a2b3c4d".
        fingerprint: SHA-256 of its DER, hexadecimal.
        needs_root: whether taking it out needs root.
        made_store: whether the store was not there before.
        done: a look confirmed it; otherwise it was only intended, and may be there or not.
    """

    place: str
    store: str
    root: str
    fingerprint: str
    needs_root: bool
    made_store: bool
    done: bool


def load_receipts(paths: Paths) -> tuple[Receipt, ...]:
    """Return what was written down.

    Raises:
        DevtlsError: the file is damaged.
    """
    path = paths.data / "trust.json"
    try:
        return tuple(Receipt(**each) for each in json.loads(read_or_none(path) or b'{"receipts": []}')["receipts"])
    except (ValueError, TypeError, KeyError) as error:
        raise DevtlsError(
            f"{path} is damaged: {error}",
            "Move it away; `devtls clean` then finds the roots by looking into each store.",
        ) from error


def is_done_in(paths: Paths | None) -> Callable[[str, str], bool]:
    """Return what tells whether a root is on record as trusted, asked with (place, fingerprint)."""

    def is_done(place: str, fingerprint: str) -> bool:
        return paths is not None and any(
            each.done and (each.place, each.fingerprint) == (place, fingerprint) for each in load_receipts(paths)
        )

    return is_done


def trust(store: Store, authority: Authority, paths: Paths) -> Change:
    """Ask a store to trust an authority; operations that come back are confirmed with `confirm` when root has run."""
    receipt = _receipt(store, authority)
    if store.is_trusted(authority):
        if any(_is_same(each, receipt) and not each.done for each in load_receipts(paths)):  # killed before it looked
            confirm(store, authority, paths)
        return Change()
    _update(paths, lambda old: [*(each for each in old if not _is_same(each, receipt)), _intend(old, receipt)])
    change = store.trust(authority)
    if change.operations or change.troubles:
        return change
    trouble = confirm(store, authority, paths)
    return Change(troubles=(trouble,)) if trouble else change


def confirm(store: Store, authority: Authority, paths: Paths) -> Trouble | None:
    """Look whether the store trusts the authority now, and write it down."""
    if not store.is_trusted(authority):
        return Trouble(store.name, f"{authority.name} is still not trusted here")
    wanted = _receipt(store, authority)
    _update(paths, lambda old: [replace(each, done=True) if _is_same(each, wanted) else each for each in old])
    return None


def untrust_all(stores: Sequence[Store], paths: Paths, owner: str, run: Runner) -> Change:
    """Take out all that devtls ever put anywhere: by receipts, and by looking for this owner's roots in each store."""
    receipts = load_receipts(paths)
    everywhere = [*stores, *_forgotten_stores(receipts, stores, run)]
    held = {each.fingerprint: each for store in everywhere for each in store.find_held(owner)}
    held |= {each.fingerprint: Held(each.root, each.fingerprint) for each in receipts}
    return untrust_some(stores, paths, tuple(held.values()), run)


def untrust_some(stores: Sequence[Store], paths: Paths, roots: Sequence[Held], run: Runner) -> Change:
    """Take these roots out of every store, such as those past their date; `confirm_gone` closes what root has to do.

    A store that devtls made goes with the last root in it, and only then the receipt that says who made it.
    """
    receipts = load_receipts(paths)
    everywhere = [*stores, *_forgotten_stores(receipts, stores, run)]
    change = reduce(add, (store.untrust(each) for store in everywhere for each in roots), Change())
    for store in everywhere:
        if any(each.made_store and each.place == str(store.place) for each in receipts):
            store.discard()
    confirm_gone(everywhere, paths)
    return Change(tuple(dict.fromkeys(change.operations)), change.troubles)


def confirm_gone(stores: Iterable[Store], paths: Paths) -> tuple[Receipt, ...]:
    """Drop the receipts of roots that are in their store no more, and return those that are left."""
    known = {str(store.place): store for store in stores}

    def is_left(receipt: Receipt) -> bool:
        store = known.get(receipt.place)
        return store.holds(Held(receipt.root, receipt.fingerprint)) if store else Path(receipt.place).exists()

    def keep(old: Sequence[Receipt]) -> list[Receipt]:
        left = [each for each in old if is_left(each)]
        made = {each.place for each in old if each.made_store}
        return [replace(each, made_store=each.place in made) for each in left]

    _update(paths, keep)
    return load_receipts(paths)


def _forgotten_stores(receipts: Iterable[Receipt], stores: Iterable[Store], run: Runner) -> list[Store]:
    """What we changed and nobody names now, such as a removed Firefox profile, or a JDK that left JAVA_HOME."""
    from devtls.trust.java import NAMES as JAVA_NAMES
    from devtls.trust.java import JavaStore, find_keytool
    from devtls.trust.nss import NssStore

    known = {str(store.place) for store in stores}
    places = {each.place: each.store for each in receipts if each.place not in known and not each.needs_root}
    forgotten: list[Store] = []
    for place, name in places.items():
        path = Path(place)
        if path.is_dir():
            forgotten.append(NssStore(name, path, run))
        elif path.is_file() and path.name in JAVA_NAMES:
            forgotten.append(JavaStore(name, path, find_keytool(path), run))
    return forgotten


def _receipt(store: Store, authority: Authority) -> Receipt:
    return Receipt(
        place=str(store.place),
        store=store.name,
        root=authority.name,
        fingerprint=authority.fingerprint,
        needs_root=store.needs_root,
        made_store=not store.place.exists(),
        done=False,
    )


def _intend(receipts: Iterable[Receipt], new: Receipt) -> Receipt:
    """An earlier try may have made the store; that stays true."""
    made = any(_is_same(each, new) and each.made_store for each in receipts)
    return replace(new, made_store=new.made_store or made)


def _is_same(one: Receipt, other: Receipt) -> bool:
    return (one.place, one.fingerprint) == (other.place, other.fingerprint)


def _update(paths: Paths, change: Callable[[Sequence[Receipt]], list[Receipt]]) -> None:
    if not paths.data.is_dir() and not change([]):
        return
    make_private_directory(paths.data)
    with locked(paths.data / ".trust.lock"):
        before = load_receipts(paths)
        after = change(before)
        if list(before) != after:
            document = {"schema": "devtls.trust/1", "receipts": [asdict(each) for each in after]}
            write_atomically(paths.data / "trust.json", json.dumps(document, indent=1).encode() + b"\n")
