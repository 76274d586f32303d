"""Whether a port is open, whose it is, and where else a service listens."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from devtls.model import Endpoint
from devtls.system.processes import describe, holders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from devtls.system.processes import Holder

# An app on ::1 only refuses 127.0.0.1, and bind(127.0.0.1) would call its port free: both families are asked.
LOOPBACKS = ("127.0.0.1", "::1")
PATIENCE = 5  # ms; loopback answers within the call unless the accept queue is full
DEBUGGERS = frozenset({
    9229, 9230, 9231,  # node --inspect, its workers: https://nodejs.org/en/learn/getting-started/debugging
    9222,  # Chrome DevTools protocol
    5678,  # debugpy
    5005, 8787,  # JDWP: Gradle and Spring, JBoss
    2345, 38697,  # delve
    1234, 12345,  # rdbg, byebug
    4444,  # remote-pdb
})  # fmt: skip


def accepts(endpoint: Endpoint) -> bool:
    """Whether somebody accepts connections there; an answer within milliseconds."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        connection = socket.socket(family, socket.SOCK_STREAM)
    except OSError:  # a machine without IPv6
        return False
    with connection:
        connection.setblocking(False)
        status = connection.connect_ex((endpoint.host, endpoint.port))
        if status and not _is_connected_soon(connection):
            return False
        with contextlib.suppress(OSError):
            # A connect to an unused ephemeral port may by chance get that port as its own and meet itself.
            return bool(connection.getsockname()[:2] != connection.getpeername()[:2])
        return False


def _is_connected_soon(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return bool(poll.poll(PATIENCE)) and connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def find_open(port: int) -> Endpoint | None:
    """Return the loopback endpoint that accepts connections at this port, IPv4 first."""
    endpoints = (Endpoint(host, port) for host in LOOPBACKS)
    return next((endpoint for endpoint in endpoints if accepts(endpoint)), None)


def find_owner(port: int) -> str | None:
    """Return in words who listens on this port, or None when nobody does."""
    if find_open(port) is None:
        return None
    found = holders(port)
    return describe_holder(found[0]) if found else "a process that cannot be seen (a container?)"


def find_stranger(port: int, is_ours: Callable[[int], bool]) -> str | None:
    """Return in words who listens there when it is provably not us.

    What another user holds cannot be looked into, and may well be ours: `sudo` and Docker hold ports for their callers.
    """
    for holder in holders(port):
        if holder.process is None:
            if holder.uid == os.geteuid():
                return describe_holder(holder)
        elif not is_ours(holder.process.pid):
            return describe_holder(holder)
    return None


def describe_holder(holder: Holder) -> str:
    """Return a port's holder in words: its command line, pid and age, or its user."""
    if holder.process:
        return f"{describe(holder.process.pid)} (pid {holder.process.pid}{_since(holder.process.pid)})"
    import pwd

    try:
        return f"a process of user {pwd.getpwuid(holder.uid).pw_name}"
    except (KeyError, ValueError, OverflowError):
        return f"a process of user id {holder.uid}"


def _since(pid: int) -> str:
    import psutil  # to word a conflict: the import is not on the way of one that goes well

    try:
        return time.strftime(", since %H:%M", time.localtime(psutil.Process(pid).create_time()))
    except psutil.Error:  # gone meanwhile, or not ours to look at
        return ""


def choose_candidates(endpoints: Iterable[Endpoint], port: int) -> tuple[Endpoint, ...]:
    """Return where a service that ignored its port may be serving instead; debuggers never."""
    assigned = {Endpoint(host, port) for host in LOOPBACKS}
    found = {endpoint for endpoint in endpoints if endpoint not in assigned and endpoint.port not in DEBUGGERS}
    return tuple(sorted(found, key=lambda endpoint: (endpoint.port, endpoint.host != "127.0.0.1", endpoint.host)))
