"""The route by which systemd-resolved asks the gateway for names below wildcards: a file among its settings.

The file says for whom each domain was put in, so that each user can take back their own. It is root's: what it says is
written by root, from what root itself read.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.system.files import read_or_none

if TYPE_CHECKING:
    from collections.abc import Iterable

# Nobody's at IANA, below what systems hand out for outgoing packets (32768 on Linux, ip(7)), and none of 5353 to 5355,
# where mDNS and LLMNR are. Not privileged: the keeper is not root.
PORT = 15353
FILE = Path("/etc/systemd/resolved.conf.d/50-devtls.conf")  # resolved.conf(5)
RUNNING = Path("/run/systemd/resolve/io.systemd.Resolve")  # systemd-resolved listens there for as long as it runs
RESOLV, NSSWITCH = Path("/etc/resolv.conf"), Path("/etc/nsswitch.conf")
MARK = "# devtls: names below these domains are asked of the gateway; `devtls clean` takes that back\n"
FOLDER_MARK = "# devtls: made this folder\n"
ROUTED = re.compile(r"^# devtls: ([a-z0-9.-]{1,253}) for user (\d{1,10})$", re.MULTILINE)
STUB = re.compile(r"^\s*nameserver\s+127\.0\.0\.5[34]\s*$", re.MULTILINE)  # systemd-resolved.service(8)
ASKED_BY_PROGRAMS = re.compile(r"^\s*hosts:.*\bresolve\b", re.MULTILINE)  # nss-resolve(8)


class Routed(Struct, frozen=True):
    """A domain, and the id of the user for whose gateway it is routed."""

    domain: str
    uid: int


class Kept(Struct, frozen=True):
    """What the file says; whether the folder that it is in was made for it."""

    routed: tuple[Routed, ...]
    made_folder: bool = False


class NameRoute(Struct, frozen=True):
    """What was found.

    Attributes:
        kept: of our file; None when it is not there, or somebody changed it.
        is_changed: a file of that name is there, and it is not as devtls wrote it.
    """

    kept: Kept | None = None
    is_changed: bool = False

    @property
    def domains(self) -> tuple[str, ...]:
        """Those below which every name is asked of the gateway, for whomever."""
        return tuple(dict.fromkeys(each.domain for each in self.kept.routed)) if self.kept else ()

    def domains_of(self, uid: int) -> tuple[str, ...]:
        """Those that this user has put in."""
        return tuple(each.domain for each in self.kept.routed if each.uid == uid) if self.kept else ()


def leads(domains: Iterable[str], wildcard: str) -> bool:
    """Whether names below a wildcard (`*.love.cat`) are asked of the gateway, when those below these domains are."""
    below = wildcard.removeprefix("*.")
    return any(below == domain or below.endswith(f".{domain}") for domain in domains)


def look_at_route(file: Path = FILE) -> NameRoute:
    """Return how it is on this machine."""
    try:
        text = read_or_none(file)
    except OSError:
        text = b""  # there, and not to be read: nothing that devtls wrote
    if text is None and not file.is_symlink():
        return NameRoute()
    kept = None if text is None or file.is_symlink() else parse_file(text.decode("utf-8", "replace"))
    return NameRoute(kept, is_changed=kept is None)


def parse_file(text: str) -> Kept | None:
    """Return what the file says; None when it is not, to the byte, as devtls wrote it."""
    routed = tuple(Routed(domain, int(uid)) for domain, uid in ROUTED.findall(text))
    kept = Kept(routed, FOLDER_MARK in text)
    return kept if routed and render_file(kept) == text else None


def render_file(kept: Kept) -> str:
    """Return the file as root writes it."""
    lines = sorted({f"{each.domain} {each.uid}" for each in kept.routed})
    pairs = [line.split(" ") for line in lines]
    users = "".join(f"# devtls: {domain} for user {uid}\n" for domain, uid in pairs)
    domains = " ".join(f"~{domain}" for domain in dict.fromkeys(domain for domain, _uid in pairs))
    folder = FOLDER_MARK if kept.made_folder else ""
    return f"{MARK}{folder}{users}[Resolve]\nDNS=127.0.0.1:{PORT}\nDomains={domains}\n"


def is_resolved_asked() -> bool:
    """Whether systemd-resolved runs here, and programs ask it for names."""
    return asks_resolved(_read(RESOLV), _read(NSSWITCH)) and is_listening(RUNNING)


def asks_resolved(resolv: str, nsswitch: str) -> bool:
    """Whether programs ask systemd-resolved, as far as these texts tell; pure."""
    return bool(STUB.search(resolv) or ASKED_BY_PROGRAMS.search(nsswitch))


def is_listening(path: Path) -> bool:
    """Whether somebody listens on a Unix socket: the file alone may be left from before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
