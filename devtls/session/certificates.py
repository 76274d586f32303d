"""The certificates that a session serves, renewed while it runs.

The gateway reads new ones by a reload, which drops no connection.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from devtls.ca import renewal
from devtls.ca.store import issue, issuer_of, load_authorities, load_leaf
from devtls.errors import DevtlsError
from devtls.system.run import in_child
from devtls.trust import receipts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from devtls.ca.renewal import Due
    from devtls.model import Authority, Leaf
    from devtls.session.setup import Setup
    from devtls.session.voice import Voice
    from devtls.system.loop import Loop
    from devtls.system.paths import Paths

LOOK_EVERY = 10.0  # s; timers stand still while a machine sleeps, so this is how soon after waking up it is noticed


class Owner(Protocol):
    """Who has to have new certificates served."""

    def certificates_renewed(self) -> None:
        """Some of the leaves are new."""
        ...


def now_by_the_wall() -> datetime:
    """The date and time, UTC."""
    return datetime.now(UTC)


class Certificates:
    """What is served: a leaf for each host, and the authorities whose roots vouch for them."""

    def __init__(
        self, loop: Loop, setup: Setup, voice: Voice, owner: Owner, clock: Callable[[], datetime] = now_by_the_wall
    ) -> None:
        self._loop = loop
        self._setup = setup
        self._voice = voice
        self._owner = owner
        self._clock = clock
        self._told = ""
        self.leaves: tuple[Leaf, ...] = setup.leaves
        self.authorities: tuple[Authority, ...] = setup.authorities

    def watch(self) -> None:
        """Look again and again whether one is due."""
        self._loop.call_later(LOOK_EVERY, self._look)

    def leaf(self, host: str) -> Leaf:
        """The certificate of a host."""
        return next(leaf for leaf in self.leaves if leaf.host == host)

    def root_of(self, host: str) -> Authority:
        """The authority that signed what is served for a host."""
        signed = {leaf.host: issuer_of(leaf) for leaf in self.leaves}
        signer = next((ca for ca in self.authorities if ca.id == signed.get(host)), None)
        return signer or max((ca for ca in self.authorities if ca.covers(host)), key=lambda ca: ca.not_after)

    def _look(self) -> None:
        now = self._clock()
        try:
            self._renew(renewal.find_due(self.leaves, self._trusted(), now), now)
        except (DevtlsError, OSError, RuntimeError) as error:  # the last: a child that was killed; it is tried again
            self._tell_once(f"a certificate could not be renewed: {error}")
        self.watch()

    def _trusted(self) -> tuple[Authority, ...]:
        """Ours, and any that the stores have come to trust since: a successor that `devtls trust` made."""
        if all(leaf.not_after - self._clock() > renewal.RENEWED_WITH for leaf in self.leaves):
            return self.authorities  # nothing is due: nothing is read
        done = {each.fingerprint for each in receipts.load_receipts(self._setup.paths) if each.done}
        new = (ca for ca in load_authorities(self._setup.paths) if ca.fingerprint in done)
        return tuple({ca.id: ca for ca in (*self.authorities, *new)}.values())

    def _renew(self, due: Sequence[Due], now: datetime) -> None:
        for each in due:
            if each.authority is None:
                self._tell_once(
                    f"the certificate of {each.leaf.host} ends on {each.leaf.not_after:%Y-%m-%d}, and so does its"
                    " authority: `devtls trust` makes a new one, and this notices"
                )
        signers = {each.leaf.host: each.authority for each in due if each.authority}
        if not signers:
            return
        paths = self._setup.paths
        in_child(lambda: _issue(paths, signers, now))  # cryptography would stay in this process for good
        renewed = {host: leaf for host in signers if (leaf := load_leaf(paths, host, now))}
        self.leaves = tuple(renewed.get(leaf.host, leaf) for leaf in self.leaves)
        self.authorities = tuple({ca.id: ca for ca in (*self.authorities, *signers.values())}.values())
        for host, leaf in renewed.items():
            self._voice.tell(f"the certificate of {host} is renewed, valid until {leaf.not_after:%Y-%m-%d}")
        self._owner.certificates_renewed()

    def _tell_once(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._voice.tell(text)


def _issue(paths: Paths, signers: Mapping[str, Authority], now: datetime) -> None:
    for host, authority in signers.items():
        issue(paths, authority, host, now)
