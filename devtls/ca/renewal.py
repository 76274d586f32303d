"""Which served certificates are due, and new ones for them; none outlives its issuer, so one may have to be told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.ca.store import find_authority, issue, load_authorities
from devtls.errors import DevtlsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from devtls.model import Authority, Leaf
    from devtls.system.paths import Paths

RENEWED_WITH = timedelta(days=10)  # left: a third of the 30 days that a served leaf lives


class Due(Struct, frozen=True):
    """A certificate that ends soon, and the authority that can sign one that lasts longer; None when none can."""

    leaf: Leaf
    authority: Authority | None


def find_due(leaves: Iterable[Leaf], authorities: Sequence[Authority], now: datetime) -> tuple[Due, ...]:
    """Return the leaves that are due; only these authorities may sign, which are those that the user's stores trust."""
    due = [leaf for leaf in leaves if leaf.not_after - now <= RENEWED_WITH]
    able = [
        (leaf, [ca for ca in authorities if ca.covers(leaf.host) and ca.not_after > leaf.not_after]) for leaf in due
    ]
    return tuple(Due(leaf, max(signers, key=lambda ca: ca.not_after, default=None)) for leaf, signers in able)


def issue_all(paths: Paths, hosts: Collection[str], now: datetime) -> None:
    """Issue the certificate of each host by the authority that signs for it.

    Raises:
        DevtlsError: there is no such authority, or it cannot be done; what was issued before that is kept.
    """
    authorities = load_authorities(paths)
    for host in hosts:
        # Where nobody could agree to a successor's root yet, the authority that ends soon still signs.
        authority = find_authority(authorities, host, now) or find_authority(authorities, host)
        if authority is None:
            raise DevtlsError(f"no certificate authority signs for {host}", "Run the same command again.")
        issue(paths, authority, host, now)
