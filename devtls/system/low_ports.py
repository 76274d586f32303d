"""The first port that every user may listen on: its value now, and the file by which devtls keeps it low.

The file says who asked for it and what the value was before, so that exactly this can be given back. It is root's: what
it says is written by root, from what root itself read.
"""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

from devtls.system.files import read_or_none

LOW = 80  # http:// is redirected from there
VALUE = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")  # Linux 4.11; for ::1, too
FILE = Path("/etc/sysctl.d/50-devtls-low-ports.conf")  # read at each start: sysctl.d(5)
MARK = "# devtls: every user of this machine may listen on the ports from 80 up; `devtls clean` takes that back\n"
ASKED = re.compile(r"# devtls: asked for by user (\d{1,10}); it was (\d{1,5}) before\n")


class Kept(Struct, frozen=True):
    """What the file says: the user's id who asked for low ports, and the value that there was before."""

    uid: int
    before: int


class LowPorts(Struct, frozen=True):
    """What was found.

    Attributes:
        start: the value now; None where the system has no such setting.
        kept: of our file; None when it is not there, or somebody changed it.
        is_changed: a file of that name is there, and it is not as devtls wrote it.
    """

    start: int | None
    kept: Kept | None = None
    is_changed: bool = False

    @property
    def is_low(self) -> bool:
        """Whether any user may listen on 80 and 443."""
        return self.start is not None and self.start <= LOW


def look_at_low_ports(value: Path = VALUE, file: Path = FILE) -> LowPorts:
    """Return how it is on this machine."""
    try:
        start = int(value.read_bytes())
    except (OSError, ValueError):
        start = None
    try:
        text = read_or_none(file)
    except OSError:
        text = b""  # there, and not to be read: nothing that devtls wrote
    if text is None and not file.is_symlink():
        return LowPorts(start)
    kept = None if text is None or file.is_symlink() else parse_file(text.decode("utf-8", "replace"))
    return LowPorts(start, kept, is_changed=kept is None)


def parse_file(text: str) -> Kept | None:
    """Return what the file says; None when it is not, to the byte, as devtls wrote it."""
    found = ASKED.search(text)
    kept = Kept(int(found[1]), int(found[2])) if found else None
    return kept if kept and render_file(kept) == text else None


def render_file(kept: Kept) -> str:
    """Return the file as root writes it."""
    asked = f"# devtls: asked for by user {kept.uid}; it was {kept.before} before\n"
    return f"{MARK}{asked}net.ipv4.ip_unprivileged_port_start={LOW}\n"
