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
from msgspec.structs import asdict

from devtls.errors import DevtlsError
from devtls.system.files import locked, make_private_directory, read_or_none, write_atomically
from devtls.trust import Change, Held, Store, Trouble
from devtls.trust.nss import NssStore

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


def trust(store: Store, authority: Authority, paths: Paths) -> Change:
    """Ask a store to trust an authority; operations that come back are confirmed with `confirm` when root has run."""
    if store.is_trusted(authority):
        return Change()
    receipt = _receipt(store, authority)
    _update(paths, lambda old: [*(each for each in old if not _is_same(each, receipt)), _oldest(old, receipt)])
    change = store.trust(authority)
    if not change.operations and not change.troubles:
        confirm(store, authority, paths)
    return change


def confirm(store: Store, authority: Authority, paths: Paths) -> Trouble | None:
    """Look whether the store trusts the authority now, and write it down."""
    if not store.is_trusted(authority):
        return Trouble(store.name, f"{authority.name} is still not trusted here")
    wanted = _receipt(store, authority)
    _update(paths, lambda old: [_done(each) if _is_same(each, wanted) else each for each in old])
    return None


def untrust_all(stores: Sequence[Store], paths: Paths, owner: str, run: Runner) -> Change:
    """Take out all that devtls ever put anywhere: by receipts, and by looking for this owner's roots in each store."""
    receipts = load_receipts(paths)
    everywhere = [*stores, *_forgotten_stores(receipts, stores, run)]
    held = {each.fingerprint: each for store in everywhere for each in store.find_held(owner)}
    held |= {each.fingerprint: Held(each.root, each.fingerprint) for each in receipts}
    change = reduce(add, (store.untrust(each) for store in everywhere for each in held.values()), Change())
    confirm_gone(everywhere, paths)
    for store in everywhere:
        if any(each.made_store and each.place == str(store.place) for each in receipts):
            store.discard()
    return Change(tuple(dict.fromkeys(change.operations)), change.troubles)


def confirm_gone(stores: Iterable[Store], paths: Paths) -> tuple[Receipt, ...]:
    """Drop the receipts of roots that are in their store no more, and return those that are left."""
    known = {str(store.place): store for store in stores}

    def is_left(receipt: Receipt) -> bool:
        store = known.get(receipt.place)
        return store.holds(Held(receipt.root, receipt.fingerprint)) if store else Path(receipt.place).exists()

    _update(paths, lambda old: [each for each in old if is_left(each)])
    return load_receipts(paths)


def _forgotten_stores(receipts: Iterable[Receipt], stores: Iterable[Store], run: Runner) -> list[NssStore]:
    """Databases that we changed and that no browser names now, such as a removed Firefox profile."""
    known = {str(store.place) for store in stores}
    places = {each.place: each.store for each in receipts if each.place not in known and not each.needs_root}
    return [NssStore(name, Path(place), run) for place, name in places.items() if Path(place).is_dir()]


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


def _oldest(receipts: Iterable[Receipt], new: Receipt) -> Receipt:
    """An earlier try may have made the store; that stays true."""
    return next((each for each in receipts if _is_same(each, new)), new)


def _is_same(one: Receipt, other: Receipt) -> bool:
    return (one.place, one.fingerprint) == (other.place, other.fingerprint)


def _done(receipt: Receipt) -> Receipt:
    return Receipt(**{**asdict(receipt), "done": True})


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
