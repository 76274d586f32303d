"""The databases of Chromium and Firefox: one store each, changed through NSS, found by the certificate's bytes.

A nickname finds nothing reliably: NSS keeps the first one when the same certificate is added again under another.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.system.files import make_private_directory
from devtls.trust import Change, Held, Trouble, nss_database, nss_places
from devtls.trust.certificates import fingerprint, identity_of, parse_pem, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devtls.model import Authority
    from devtls.system.run import Runner

CHILD = Path(__file__).with_name("nss_child.py")
HAS_PASSWORD = 4  # nss_child's exit status; importing it would load ctypes at each start
# Where a Firefox brings its own libnss3, for systems that have no other.
BUNDLED = (
    "/usr/lib/firefox-esr",
    "/usr/lib/firefox",
    "/usr/lib/firefox-developer-edition",
    "/usr/lib64/firefox",
    "/opt/firefox",
    "/opt/firefox-developer-edition",
    "/snap/firefox/current/usr/lib/firefox",
)


class NssStore(Struct, frozen=True):
    """One NSS database; its owner changes it, root is not needed."""

    name: str
    place: Path
    run: Runner
    needs_root: bool = False

    def is_trusted(self, authority: Authority) -> bool:
        """Whether the root is in it and trusted to name servers."""
        der = parse_pem(read(authority.root))
        return bool(der) and nss_database.is_trusted(self.place, der)

    def trust(self, authority: Authority) -> Change:
        """Add the root; a missing database is made, with an empty password as browsers do."""
        if self.is_trusted(authority):
            return Change()
        try:
            make_private_directory(self.place)
        except DevtlsError as error:
            return self._trouble(str(error), authority.root, authority.name)
        said = self._change("trust", authority.name, parse_pem(read(authority.root)))
        if self.is_trusted(authority):
            return Change()
        return self._trouble(said, authority.root, authority.name)

    def untrust(self, held: Held) -> Change:
        """Take the root out, whatever it is called here."""
        try:
            found = self._find(held.fingerprint)
            if not found:
                return Change()
            said = self._change("untrust", *found)
            if not self._find(held.fingerprint):
                return Change()
        except nss_database.UnreadableError as error:
            found, said = None, str(error)
        command = (
            f"  certutil -D -d {shlex.quote(f'sql:{self.place}')} -n {shlex.quote(found[0] if found else held.name)}"
        )
        return Change(troubles=(Trouble(self.name, said, ("Close the browser and try again, or:", command)),))

    def holds(self, held: Held) -> bool:
        """Whether the certificate is in it; true when the database cannot be read."""
        try:
            return self._find(held.fingerprint) is not None
        except nss_database.UnreadableError:
            return True

    def discard(self) -> None:
        """Delete the database, and the folder that browsers share it in, when it holds nothing at all.

        Killed in the middle, it goes on next time: files that are missing hold nothing.
        """
        if not nss_database.is_empty(self.place):
            return
        for name in (*nss_database.FILES, "pkcs11.txt"):
            (self.place / name).unlink(missing_ok=True)
        for folder in (self.place, self.place.parent):
            with contextlib.suppress(OSError):  # something else is in it
                folder.rmdir()

    def find_held(self, owner: str) -> tuple[Held, ...]:
        """Return the roots that devtls made for this owner, told by their subject."""
        try:
            certificates = nss_database.read_certificates(self.place)
        except nss_database.UnreadableError:
            return ()
        return tuple(Held(name, fingerprint(der)) for name, der in certificates if identity_of(der, owner))

    def _find(self, wanted: str) -> tuple[str, bytes] | None:
        if not (self.place / "cert9.db").exists():
            return None
        for name, der in nss_database.read_certificates(self.place):
            if fingerprint(der) == wanted:
                return name, der
        return None

    def _change(self, verb: str, name: str, der: bytes) -> str:
        """Try each way there is, and return what the last one said; the caller looks whether it worked."""
        said = "there is neither libnss3 nor certutil on this machine"
        for library in (None, *(each for each in BUNDLED if Path(each, "libnss3.so").exists())):
            environment = {**os.environ, "LD_LIBRARY_PATH": library} if library else None
            argv = [sys.executable, "-I", os.fspath(CHILD), verb, os.fspath(self.place), name]
            ended = self.run(argv, stdin=der, environment=environment, check=False)
            if ended.status == 0:
                return "the browser's library said that it was done, and it was not"
            if ended.status == HAS_PASSWORD:
                return "the database has a primary password, which devtls does not ask for"
            said = ended.said.strip() or f"libnss3 ended with status {ended.status}"
        return self._run_certutil(verb, name, der) or said

    def _run_certutil(self, verb: str, name: str, der: bytes) -> str:
        """The way without the library; returns nothing when certutil is not installed."""
        database = ["-d", f"sql:{self.place}"]
        steps = [["-D", *database, "-n", name]]
        if verb == "trust":
            new = [["-N", *database, "--empty-password"]] if not (self.place / "cert9.db").exists() else []
            steps = [*new, ["-A", *database, "-n", name, "-t", "C,,"]]
        said = ""
        try:
            for step in steps:
                said = self.run(["certutil", *step], stdin=der, check=False).said.strip()
        except DevtlsError:
            return ""
        return said

    def _trouble(self, said: str, root: Path, name: str) -> Change:
        database, pem = shlex.quote(f"sql:{self.place}"), shlex.quote(os.fspath(root))
        command = f"  certutil -A -d {database} -n {name} -t C,, -i {pem}"
        cure = ("Import it by hand in the browser's settings, or:", command)
        return Change(troubles=(Trouble(self.name, said, cure),))


def find_stores(home: Path, environment: Mapping[str, str], run: Runner) -> tuple[NssStore, ...]:
    """Return every database of the user's browsers, each once."""
    return tuple(NssStore(place.name, place.directory, run) for place in nss_places.find_places(home, environment))
