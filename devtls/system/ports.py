"""Listening sockets: bind them, hand out free ports, and find who owns a port that is taken."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shlex
import socket
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.model import Endpoint, is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable

BACKLOG = 511  # what nginx asks for on Linux: https://nginx.org/en/docs/http/ngx_http_core_module.html#listen
HIGHEST_PORT = 65535
LOOPBACKS = ("127.0.0.1", "::1")
FAMILIES = {socket.AF_INET, socket.AF_INET6}
UNIT = re.compile(r"([^/]+\.service)(?:/|$)")


class Reason(StrEnum):
    """Why an endpoint could not be bound."""

    DENIED = "denied"
    TAKEN = "taken"
    ABSENT = "absent"


class Refusal(Struct, frozen=True):
    """An endpoint that could not be bound: not allowed, taken by somebody, or not an address of this machine."""

    endpoint: Endpoint
    reason: Reason


class Binding(Struct, frozen=True):
    """What came of binding: the sockets of each port that was had as a whole, and what was refused."""

    sockets: tuple[socket.socket, ...]
    refused: tuple[Refusal, ...]

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where the sockets listen."""
        return tuple(Endpoint(*each.getsockname()[:2]) for each in self.sockets)


class Owner(Struct, frozen=True):
    """Who listens on a port.

    Attributes:
        pid: None when the kernel does not tell us, which is so for processes of other users.
        command: the program's name; "a process" when unknown.
        since: when it started, seconds since 1970.
        user: whose it is.
        unit: the systemd unit that started it: "nginx.service".
        is_users_unit: the unit belongs to the user's own systemd, not to the system's.
    """

    pid: int | None
    command: str
    since: float | None
    user: str
    unit: str = ""
    is_users_unit: bool = False

    def __str__(self) -> str:
        if self.pid is None:
            return f"{self.command} of user {self.user}"
        since = f", since {time.strftime('%H:%M', time.localtime(self.since))}" if self.since else ""
        return f"{self.command} (pid {self.pid}{since})"

    def cure(self, port: int) -> tuple[str, ...]:
        """The lines that free the port, or that tell who holds it."""
        if self.unit:
            command = "systemctl --user stop" if self.is_users_unit else "sudo systemctl stop"
            return ("Stop it:", f"  {command} {shlex.quote(self.unit.removesuffix('.service'))}")
        if self.pid is None:
            return ("See who it is:", f"  sudo ss -ltnp 'sport = :{port}'")
        return ("Stop it:", f"  {'' if self.user == _user_name(os.getuid()) else 'sudo '}kill {self.pid}")


def has_ipv6() -> bool:
    """Whether ::1 can be bound: containers often have the family and not the address."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def lan_addresses() -> tuple[str, ...]:
    """Return the addresses by which other machines reach this one; an address that needs a zone is none."""
    import psutil

    found = [each.address for card in psutil.net_if_addrs().values() for each in card if each.family in FAMILIES]
    return tuple(sorted(address for address in found if "%" not in address and not is_loopback(address)))


def bind(endpoints: Iterable[Endpoint]) -> Binding:
    """Listen on each endpoint; a port of which one address is refused is given up on the others too."""
    bound: dict[int, list[socket.socket]] = {}
    refused: list[Refusal] = []
    for endpoint in endpoints:
        if any(each.endpoint.port == endpoint.port for each in refused):
            continue
        try:
            bound.setdefault(endpoint.port, []).append(_listen(endpoint))
        except OSError as error:
            refused.append(Refusal(endpoint, _reason(error)))
            for listener in bound.pop(endpoint.port, []):
                listener.close()
    return Binding(tuple(itertools.chain(*bound.values())), tuple(refused))


def find_free_port(first: int) -> int:
    """Return the first port from `first` on that nobody listens on, on either loopback address.

    Raises:
        DevtlsError: there is none.
    """
    hosts = LOOPBACKS if has_ipv6() else LOOPBACKS[:1]
    for port in range(first, HIGHEST_PORT + 1):
        binding = bind(Endpoint(host, port) for host in hosts)
        for listener in binding.sockets:
            listener.close()
        if not binding.refused:
            return port
    raise DevtlsError(f"no port from {first} to {HIGHEST_PORT} is free", "Name another with --port.")


def find_owner(endpoint: Endpoint) -> Owner | None:
    """Return who listens on an endpoint, or on its port at every address; None when nobody does."""
    import psutil

    with contextlib.suppress(psutil.AccessDenied):  # macOS shows other users' sockets to root only
        listeners = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        found = [each for each in listeners if each.laddr and _covers(*each.laddr[:2], endpoint)]
        for each in sorted(found, key=lambda each: each.pid is None):
            return _describe(each.pid) if each.pid else Owner(None, "a process", None, _socket_user(endpoint))
    return None


def parse_unit(cgroup: str) -> str:
    """Return the innermost systemd service in a /proc/PID/cgroup, or nothing."""
    found = [unit for line in cgroup.splitlines() for unit in UNIT.findall(line.split(":", 2)[-1])]
    return found[-1] if found and not found[-1].startswith("user@") else ""


def _listen(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((endpoint.host, endpoint.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _reason(error: OSError) -> Reason:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Reason.DENIED
    return Reason.TAKEN if error.errno == errno.EADDRINUSE else Reason.ABSENT


def _covers(host: str, port: int, endpoint: Endpoint) -> bool:
    """A listener on :: takes IPv4 too, unless it said otherwise; when the port is taken, it did not."""
    everywhere = {"::"} if ":" in endpoint.host else {"0.0.0.0", "::"}  # noqa: S104 - compared, never bound
    return port == endpoint.port and (host == endpoint.host or host in everywhere)


def _describe(pid: int) -> Owner:
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            facts = process.name(), process.create_time(), process.username()
    except psutil.Error:
        return Owner(pid, "a process", None, "unknown")
    cgroup = _read_cgroup(pid)
    return Owner(pid, *facts, unit=parse_unit(cgroup), is_users_unit="/user@" in cgroup)


def _read_cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text("utf-8")
    except OSError:
        return ""


def _socket_user(endpoint: Endpoint) -> str:
    """The kernel tells everybody whose a listening socket is: proc_net_tcp, state 0A."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == endpoint.port:
                    return _user_name(int(words[7]))
    return "unknown"


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
