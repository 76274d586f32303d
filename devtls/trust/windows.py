"""The Windows side of WSL: the current user's roots, through powershell.exe. Not yet run.

Chrome, Edge and .NET on Windows read it; Firefox there does when about:config has security.enterprise_roots.enabled.
Windows asks the user in a window before it adds or deletes a root.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.system.windows import PATIENCE, quote
from devtls.trust import Change, Held, Trouble
from devtls.trust.certificates import fingerprint, identity_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from devtls.model import Authority
    from devtls.system.run import Runner
    from devtls.system.windows import Windows

ROOTS = r"Cert:\CurrentUser\Root"


class WindowsStore(Struct, frozen=True):
    """The roots of the Windows user.

    Attributes:
        place: powershell.exe, as WSL mounts it.
        is_done: whether a receipt for (place, fingerprint) is done: then nobody is asked at each start.
    """

    place: Path
    run: Runner
    is_done: Callable[[str, str], bool]
    name: str = "Windows"
    needs_root: bool = False

    def is_trusted(self, authority: Authority) -> bool:
        """Whether a receipt says so, or Windows."""
        if self.is_done(str(self.place), authority.fingerprint):
            return True
        return any(fingerprint(der) == authority.fingerprint for der in self._list() or ())

    def trust(self, authority: Authority) -> Change:
        """Add the root, by the path that Windows has for it."""
        if self.is_trusted(authority):
            return Change()
        try:
            path = self.run(["wslpath", "-w", os.fspath(authority.root)]).stdout.decode().strip()
        except (DevtlsError, UnicodeDecodeError) as error:
            return Change(troubles=(Trouble(self.name, str(error)),))
        return self._change(f"Import-Certificate -CertStoreLocation {ROOTS} -FilePath {quote(path)}")

    def untrust(self, held: Held) -> Change:
        """Delete the certificate; Windows calls it by its SHA-1."""
        der = next((each for each in self._list() or () if fingerprint(each) == held.fingerprint), None)
        if der is None:
            return Change()
        return self._change(f"Remove-Item {quote(ROOTS + chr(92) + _thumbprint(der))}")

    def holds(self, held: Held) -> bool:
        """Whether the certificate is in it; true when Windows does not answer."""
        listed = self._list()
        return listed is None or any(fingerprint(der) == held.fingerprint for der in listed)

    def discard(self) -> None:
        """It is the user's."""

    def find_held(self, owner: str) -> tuple[Held, ...]:
        """Return the roots that devtls made for this owner, told by their subject."""
        found = ((identity_of(der, owner), der) for der in self._list() or ())
        return tuple(Held(f"devtls-{identity}", fingerprint(der)) for identity, der in found if identity)

    def _list(self) -> tuple[bytes, ...] | None:
        """The DER of each root that names devtls: one line of base64 each; None when Windows does not answer."""
        command = (
            f"Get-ChildItem {ROOTS} | Where-Object Subject -like '*devtls*'"
            " | ForEach-Object { [Convert]::ToBase64String($_.RawData) }"
        )
        try:
            return tuple(map(base64.b64decode, self.run(self._argv(command)).stdout.split()))
        except (DevtlsError, binascii.Error):
            return None

    def _change(self, command: str) -> Change:
        argv = self._argv(command)
        try:
            ended = self.run(argv, check=False, timeout=PATIENCE)
        except DevtlsError as error:
            return Change(troubles=(Trouble(self.name, str(error)),))
        if ended.status == 0:
            return Change()
        said = ended.said.strip() or f"powershell.exe ended with status {ended.status}"
        return Change(troubles=(Trouble(self.name, said, ("Try it yourself:", f"  {shlex.join(argv)}")),))

    def _argv(self, command: str) -> list[str]:
        return [os.fspath(self.place), "-NoProfile", "-Command", f"$ErrorActionPreference = 'Stop'; {command}"]


def find_stores(run: Runner, is_done: Callable[[str, str], bool], windows: Windows | None) -> tuple[WindowsStore, ...]:
    """Return the Windows user's roots, when this Linux runs inside a Windows."""
    return (WindowsStore(windows.powershell, run, is_done),) if windows else ()


def _thumbprint(der: bytes) -> str:
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()
