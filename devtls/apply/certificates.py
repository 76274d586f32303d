"""The authorities and certificates of a plan, made in a child process: cryptography stays out of the supervisor."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.ca.renewal import issue_all
from devtls.ca.store import (
    create_authority,
    find_broken,
    find_broken_leaf,
    find_common_authority,
    load_authorities,
    load_leaf,
    set_aside,
)
from devtls.errors import DevtlsError
from devtls.plan import CreateAuthority, IssueLeaf
from devtls.system.run import in_child
from devtls.trust import receipts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from devtls.model import Authority, Leaf, Notice
    from devtls.system.paths import Paths
    from devtls.trust import Store


class Made(Struct, frozen=True):
    """What there is afterwards: the authorities that were asked for, and a leaf for each host."""

    authorities: tuple[Authority, ...]
    leaves: tuple[Leaf, ...]
    notices: tuple[Notice, ...]


def make(
    wanted: Sequence[CreateAuthority | IssueLeaf], hosts: Sequence[str], subtrees: Iterable[Sequence[str]], paths: Paths
) -> Made:
    """Make what is wanted; each is whole or not there, and one that is not used in the end is the next run's "already".

    Raises:
        DevtlsError: it cannot be made.
    """
    now = datetime.now(UTC)
    broken = [("certificate authority", directory) for directory in find_broken(paths)]
    broken += [(f"certificate of {host}", place) for host in hosts if (place := find_broken_leaf(paths, host))]
    notices: tuple[Notice, ...] = tuple(
        (f"the {what} in {directory} is damaged; it is in {set_aside(directory, now)} now, and made anew", ())
        for what, directory in broken
    )
    notices += tuple(_not_begun(ca) for ca in load_authorities(paths) if ca.not_before > now)
    if wanted:
        in_child(lambda: _make(wanted, paths, now))
    everything = load_authorities(paths)
    leaves = tuple(leaf for host in hosts if (leaf := load_leaf(paths, host, now)))
    used = [find_common_authority(everything, names, now) for names in subtrees]
    if len(leaves) != len(hosts) or None in used:
        raise DevtlsError("the certificates that were just issued cannot be read", "Run the same command again.")
    return Made(tuple(dict.fromkeys(ca for ca in used if ca)), leaves, notices)


def _not_begun(authority: Authority) -> Notice:
    begin, names = f"{authority.not_before:%Y-%m-%d}", ", ".join(authority.names)
    return f"an authority of {names} begins on {begin}, since a clock was ahead: it is not used", ()


def _make(wanted: Sequence[CreateAuthority | IssueLeaf], paths: Paths, now: datetime) -> None:
    for item in wanted:
        if isinstance(item, CreateAuthority):
            create_authority(paths, item.subtrees, now)
    issue_all(paths, [item.host for item in wanted if isinstance(item, IssueLeaf)], now)


def discard_outdated(paths: Paths, outdated: Iterable[Authority], stores: Sequence[Store]) -> None:
    """Delete authorities that are past their date, once no store holds their root any more."""
    held = {each.fingerprint for each in receipts.confirm_gone(stores, paths)}
    for authority in outdated:
        if authority.fingerprint not in held:
            shutil.rmtree(authority.directory, ignore_errors=True)
