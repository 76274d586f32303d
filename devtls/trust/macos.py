"""The user's login keychain of macOS, through security(1). Not yet run.

macOS asks for the user's password or finger by itself, so nothing is done as root. Safari, Chrome, curl and Go read it;
Firefox does too (security.enterprise_roots.enabled).
"""

from __future__ import annotations

import hashlib
import os
import shlex
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.trust import Change, Held, Trouble
from devtls.trust.certificates import fingerprint, identity_of, parse_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from devtls.model import Authority
    from devtls.system.run import Runner

SECURITY = "/usr/bin/security"
KEYCHAIN = "Library/Keychains/login.keychain-db"
NOTHING = ("could not be found in the keychain", "No Trust Settings were found")
PATIENCE = 300.0  # seconds, for a person to type a password


class MacStore(Struct, frozen=True):
    """The login keychain.

    Attributes:
        is_done: whether a receipt for (place, fingerprint) is done: then nobody is asked at each start.
    """

    place: Path
    run: Runner
    is_done: Callable[[str, str], bool]
    name: str = "macOS keychain"
    needs_root: bool = False

    def is_trusted(self, authority: Authority) -> bool:
        """Whether a receipt says so, or the keychain."""
        if self.is_done(str(self.place), authority.fingerprint):
            return True
        settings = (self._say(["dump-trust-settings"]) or "").splitlines()
        return any(line.rstrip().endswith(f" {authority.id}") for line in settings) and any(
            fingerprint(der) == authority.fingerprint for der in self._list() or ()
        )

    def trust(self, authority: Authority) -> Change:
        """Add the root, trusted for TLS and nothing else."""
        if self.is_trusted(authority):
            return Change()
        words = ["add-trusted-cert", "-r", "trustRoot", "-p", "ssl", "-p", "basic"]
        return self._change([*words, "-k", os.fspath(self.place), os.fspath(authority.root)])

    def untrust(self, held: Held) -> Change:
        """Delete the certificate and what it is trusted for."""
        der = next((each for each in self._list() or () if fingerprint(each) == held.fingerprint), None)
        if der is None:
            return Change()
        digest = hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
        return self._change(["delete-certificate", "-Z", digest, "-t", os.fspath(self.place)])

    def holds(self, held: Held) -> bool:
        """Whether the certificate is in it; true when the keychain does not answer."""
        listed = self._list()
        return listed is None or any(fingerprint(der) == held.fingerprint for der in listed)

    def discard(self) -> None:
        """It is the user's."""

    def find_held(self, owner: str) -> tuple[Held, ...]:
        """Return the roots that devtls made for this owner, told by their subject."""
        found = ((identity_of(der, owner), der) for der in self._list() or ())
        return tuple(Held(f"devtls-{identity}", fingerprint(der)) for identity, der in found if identity)

    def _list(self) -> tuple[bytes, ...] | None:
        """The DER of each certificate that names devtls; None when the keychain does not answer."""
        said = self._say(["find-certificate", "-a", "-c", "devtls", "-p", os.fspath(self.place)])
        return None if said is None else parse_bundle(said.encode())

    def _say(self, words: Sequence[str]) -> str | None:
        """It fails with a word of its own when there is nothing to say."""
        try:
            ended = self.run([SECURITY, *words], check=False)
        except DevtlsError:
            return None
        return ended.said if ended.status == 0 or any(each in ended.said for each in NOTHING) else None

    def _change(self, words: Sequence[str]) -> Change:
        argv = [SECURITY, *words]
        try:
            ended = self.run(argv, check=False, timeout=PATIENCE)
        except DevtlsError as error:
            return Change(troubles=(Trouble(self.name, str(error)),))
        if ended.status == 0:
            return Change()
        said = ended.said.strip() or f"security ended with status {ended.status}"
        return Change(troubles=(Trouble(self.name, said, ("Try it yourself:", f"  {shlex.join(argv)}")),))


def find_store(home: Path, run: Runner, is_done: Callable[[str, str], bool]) -> MacStore:
    """Return the login keychain of the user."""
    return MacStore(home / KEYCHAIN, run, is_done)
