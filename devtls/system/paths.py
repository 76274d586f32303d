"""Where devtls keeps things, all in the home of the user who asked."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.system.files import make_private_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_SOCKET_PATH = 107  # bytes; sun_path of unix(7) less the final NUL


class Paths(Struct, frozen=True):
    """The two directories of a user: `data` is kept (keys, receipts), `state` may be lost (sockets, logs)."""

    home: Path
    data: Path
    state: Path

    @property
    def authorities(self) -> Path:
        """The certificate authorities, one directory each."""
        return self.data / "ca"

    @property
    def leaves(self) -> Path:
        """The served certificates, one directory a host."""
        return self.data / "leaf"

    @property
    def gateway(self) -> Path:
        """The one gateway of this user: its lock, configuration and logs."""
        return self.state / "gateway"

    def project(self, directory: Path) -> Path:
        """The state of the project in `directory`: its lock, facts and logs."""
        digest = hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:12]
        return self.state / "projects" / digest

    def control(self, directory: Path) -> Path:
        """Where the session of the project in `directory` listens."""
        return self.socket(self.project(directory), "control.sock")

    @property
    def short_sockets(self) -> Path:
        """Where sockets go whose path would be too long."""
        return Path(f"/tmp/devtls-{os.getuid()}")  # noqa: S108 - its owner and mode are checked where it is used

    def socket(self, place: Path, name: str) -> Path:
        """A path for a Unix socket: in `place`, or in a short private directory when that will not do.

        It must be short, and without what ends it in nginx' access_log: "syslog:server=unix:/path,…".

        Raises:
            DevtlsError: somebody else owns the short directory.
        """
        path = place / name
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH and not {",", ":"} & set(str(path)):
            return path
        short = self.short_sockets
        make_private_directory(short)
        found = short.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise DevtlsError(
                f"{short} is not a private directory of yours", "Remove it, then try again:", f"  sudo rm -rf {short}"
            )
        return short / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:12]}-{name}"


def find_paths(environment: Mapping[str, str]) -> Paths:
    """Return this user's directories, by the platform's conventions (XDG on Linux).

    Raises:
        DevtlsError: nginx cannot name a file in one of them.
    """
    import platformdirs

    home = Path(environment.get("HOME") or Path.home())
    data, state = platformdirs.user_data_path("devtls"), platformdirs.user_state_path("devtls")
    for place in (data, state):
        if not _is_speakable(str(place)):
            raise DevtlsError(
                f"devtls cannot keep its files in {str(place)!r}: nginx cannot name what is there",
                "Choose a folder whose name is UTF-8, without $ and control characters:",
                "  export XDG_DATA_HOME=/some/plain/path XDG_STATE_HOME=/some/plain/path",
            )
    return Paths(home=home, data=data, state=state)


def _is_speakable(path: str) -> bool:
    """Whether nginx takes it as it is: $ begins a variable; bytes that are no UTF-8 arrive as surrogates."""
    return not any(letter in "$\x7f" or letter < " " or "\ud800" <= letter <= "\udfff" for letter in path)
