"""The door to root: a closed list of operations, rendered to one call that is shown before it runs.

No code that a user can write runs as root: sudo starts /bin/sh with the text of `root_script`, and everything it writes
comes on its standard input.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from devtls.system import low_ports, name_route
from devtls.system.root_script import DONE, FAILED, SAID, STARTED, Anchors, Status, render_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.model import Endpoint
    from devtls.system.run import Completed, Runner

HOSTS = Path("/etc/hosts")
# Absolute, so that no program of the user's PATH asks for the password; the last is NixOS.
SUDO_PLACES = ("/usr/bin/sudo", "/bin/sudo", "/usr/local/bin/sudo", "/run/wrappers/bin/sudo")
LOWER_BY_HAND = f"  sudo sysctl -w net.ipv4.ip_unprivileged_port_start={low_ports.LOW}"
SHOWN = 8  # lines of what a failed tool said
PATIENCE = 600.0  # seconds; a person looks for a password, sudo gives up after five minutes itself


class EditHosts(Struct, frozen=True):
    """Replace the hosts file, if it still is what we read; only lines marked as ours may differ."""

    old: bytes
    new: bytes
    path: Path = HOSTS


class InstallRoot(Struct, frozen=True):
    """Add a name-constrained root (PEM) to the system's store."""

    name: str
    pem: bytes
    anchors: Anchors


class RemoveRoot(Struct, frozen=True):
    """Take a root of ours out of that store, and out of Java's copy of it."""

    name: str
    anchors: Anchors


class LowerPorts(Struct, frozen=True):
    """Let every user listen on the ports from 80 up, now and after each start; `low_ports` has the file's form."""


class RestorePorts(Struct, frozen=True):
    """Remove the file of `LowerPorts`, and set what it says that there was before: this."""

    before: int


class RouteNames(Struct, frozen=True):
    """Have systemd-resolved ask the gateway for names below these domains of this user; of another's nothing changes.

    Without a domain, the user's are taken out; `name_route` has the file's form.
    """

    domains: tuple[str, ...]


class Bind(Struct, frozen=True):
    """Bind endpoints as the user and pass the sockets to who listens on this Unix socket; at most one in a call."""

    endpoints: tuple[Endpoint, ...]
    socket: Path


Operation = EditHosts | InstallRoot | RemoveRoot | LowerPorts | RestorePorts | RouteNames | Bind


class RootCall(Struct, frozen=True):
    """What root is asked to run.

    Attributes:
        argv: without sudo.
        stdin: everything that will be written.
        text: what is printed to the user before: each change, then the whole command.
        who: runs it.
    """

    argv: tuple[str, ...]
    stdin: bytes
    text: str
    who: str = "root"


class RootDone(Struct, frozen=True):
    """It ran to its end.

    Attributes:
        done: a line for each change, such as "hosts" or "install devtls-1a2b3c4d".
        failed: (line, status) of those that were not possible; everything else was done all the same.
        said: all it said.
    """

    done: tuple[str, ...]
    failed: tuple[tuple[str, int], ...]
    said: str


class RootRefused(Struct, frozen=True):
    """Nothing was run as root, and why."""

    reason: str
    cure: tuple[str, ...]


class HostsChanged(Struct, frozen=True):
    """Nothing was done: the hosts file is not what we read. Read it again, and ask once more."""


class RootFailed(Struct, frozen=True):
    """It stopped, mostly before anything was changed: why, what to do, and what it said."""

    done: tuple[str, ...]
    fact: str
    cure: tuple[str, ...]
    said: str


VERBS: dict[type[Operation], str] = {
    EditHosts: "hosts",
    InstallRoot: "install",
    RemoveRoot: "remove",
    LowerPorts: "lower-ports",
    RestorePorts: "restore-ports",
    RouteNames: "route",
    Bind: "bind",
}
RootResult = RootDone | RootRefused | HostsChanged | RootFailed

FACTS: dict[int, tuple[str, tuple[str, ...]]] = {
    Status.REFUSED: (
        "root refused an edit that is not devtls' to make",
        ("This is a bug in devtls: please report it.",),
    ),
    Status.IMMUTABLE: (
        "/etc/hosts is immutable (chattr +i or +a)",
        ("Somebody locked it on purpose. To allow edits:", "  sudo chattr -i -a /etc/hosts"),
    ),
    Status.READ_ONLY: (
        "/etc/hosts is on a read-only file system",
        ("Add the name where this system's configuration is made, or use the .localhost address.",),
    ),
    Status.NOT_WRITTEN: (
        "/etc/hosts could not be written; it is as it was",
        ("Make room on its disk or set its permissions, then run the same command again.",),
    ),
    Status.LINK: (
        "/etc/hosts is a link to a file that others than root can change, so root will not write it",
        ("Add the lines to that file yourself.",),
    ),
    Status.NO_STORE: (
        "the tool that changes the system store is gone",
        ("Install ca-certificates with this system's package manager, then run the same command again.",),
    ),
    Status.NO_OPENSSL: (
        "there is no openssl, with which root looks at a certificate before it is trusted",
        ("Install openssl with this system's package manager, then run the same command again.",),
    ),
    Status.STORE_FAILED: (
        "the system store could not be changed; it is as it was",
        ("Set right what its tool complains about, then run the same command again.",),
    ),
    Status.NO_ROOM: (
        "there is no room left on the disk of the system store; it is as it was",
        ("Make room there, then run the same command again:", "  df -h /etc /var"),
    ),
    Status.BUSY: (
        "another edit by devtls does not end; nothing was changed",
        ("End it, then run the same command again; who it is:", "  sudo lslocks --output COMMAND,PID,PATH"),
    ),
    Status.NO_PORT_SETTING: (
        f"this system has no net.ipv4.ip_unprivileged_port_start, or no {low_ports.FILE.parent} to keep it in",
        ("Go without: `devtls up` binds the ports through sudo, or serves on 8443.",),
    ),
    Status.PORTS_NOT_OURS: (
        f"{low_ports.FILE} is not as devtls wrote it; file and value are as they were",
        ("Look at it, and remove it if nobody needs it:", f"  cat {low_ports.FILE}", f"  sudo rm {low_ports.FILE}"),
    ),
    Status.PORTS_NOT_SET: (
        "root may not set net.ipv4.ip_unprivileged_port_start here, as in most containers; it is as it was",
        ("Set it where the container is started:", "  docker run --sysctl net.ipv4.ip_unprivileged_port_start=80 …"),
    ),
    Status.PORTS_NOT_KEPT: (
        f"{low_ports.FILE.parent} could not be written; the first port for every user is what it was",
        (
            "Make room or set its permissions, or set it where this system's configuration is made; until it restarts:",
            LOWER_BY_HAND,
        ),
    ),
    Status.NO_RESOLVED: (
        "systemd-resolved does not run here, so nobody can be told to ask the gateway for names",
        ("Name those that have to resolve beside the wildcard:", "  devtls up … shop.love.cat"),
    ),
    Status.ROUTE_NOT_OURS: (
        f"{name_route.FILE} is not as devtls wrote it, and is left as it is",
        (
            "Look at it, and remove it if nobody needs it:",
            f"  cat {name_route.FILE}",
            f"  sudo rm {name_route.FILE}",
        ),
    ),
    Status.ROUTE_NOT_KEPT: (
        f"{name_route.FILE} could not be written; names lead where they led",
        ("Make room or set its permissions, or set it where this system's configuration is made.",),
    ),
    Status.RESOLVED_FAILED: (
        "systemd-resolved did not take the settings in; they are as they were",
        ("What it says about that:", "  journalctl -u systemd-resolved -n 20"),
    ),
    Status.NO_SETPRIV: ("there is no /usr/bin/setpriv", ("Install it:", "  sudo apt install util-linux")),
}


def render_call(  # noqa: C901 - one case for each operation
    operations: Sequence[Operation], *, uid: int, gid: int, python: str = sys.executable, has_groups: bool | None = None
) -> RootCall:
    """Return the one call that does all of them, in the order: hosts, store, who may bind, ports.

    Args:
        operations: what to do; a call without any is a bug.
        uid: who the ports are bound as.
        gid: the same user's group.
        python: an interpreter that this user can run; it is never run as root.
        has_groups: whether the user is in the user database; None looks.
    """
    words: list[str] = []
    stdin: list[bytes] = []
    for operation in sorted(operations, key=_turn):
        match operation:
            case EditHosts(old, new, path):
                if path != HOSTS:
                    raise ValueError(f"root edits {HOSTS} only, not {path}")
                words += ["hosts", hashlib.sha256(old).hexdigest(), str(len(new))]
                stdin.append(new)
            case InstallRoot(name, pem, _):
                words += ["install", name, str(len(pem))]
                stdin.append(pem)
            case RemoveRoot(name, _):
                words += ["remove", name]
            case LowerPorts():
                words += ["lower-ports", str(uid)]
            case RestorePorts():
                words += ["restore-ports"]
            case RouteNames(domains):
                words += ["route", str(uid), str(len(domains)), *domains]
            case Bind(endpoints, socket):
                groups = "--init-groups" if (_is_known(uid) if has_groups is None else has_groups) else "--clear-groups"
                binder = [python, "-I", os.fspath(Path(__file__).with_name("binder.py")), os.fspath(socket)]
                words += ["bind", str(uid), str(gid), groups, *binder, *map(str, endpoints)]
            case _:
                assert_never(operation)
    anchors = {each.anchors for each in operations if isinstance(each, InstallRoot | RemoveRoot)}
    if len(anchors) > 1:
        raise ValueError("a system has one store")
    script = render_script({VERBS[type(operation)] for operation in operations}, next(iter(anchors), None))
    argv = ("/bin/sh", "-c", script, "devtls", *words)
    return RootCall(argv, b"".join(stdin), _render_text(operations, argv, as_root=uid == 0))


def call_root(call: RootCall, *, interactive: bool, run: Runner, uid: int, sudo: str | None) -> RootResult:
    """Run a call as root: directly, by `sudo -n`, or by a sudo that asks for the password on the terminal.

    Args:
        call: what `render_call` made, already shown to the user.
        interactive: a person is at the terminal; sudo asks there, since standard input is the call's.
        run: how programs are run.
        uid: who we are; 0 needs no sudo.
        sudo: where it is (`find_sudo`), or None.
    """
    if uid == 0:
        return _parse_result(run(call.argv, stdin=call.stdin, check=False, timeout=PATIENCE))
    if not sudo:
        return RootRefused("there is no sudo on this machine", ("Install sudo, or go without.",))
    ended = run([sudo, "-n", "--", *call.argv], stdin=call.stdin, check=False, timeout=PATIENCE)
    if _has_started(ended):
        return _parse_result(ended)
    if not interactive:
        cure = ("Run this in a terminal, or have sudo know you before:", "  sudo -v")
        return RootRefused("sudo needs a password, and there is no terminal to ask on", cure)
    ended = run([sudo, "--", *call.argv], stdin=call.stdin, check=False, timeout=PATIENCE)
    if _has_started(ended):
        return _parse_result(ended)
    cure = ("Ask who administers this machine, or go without. What you may do as root, sudo tells:", "  sudo -l")
    return RootRefused(f"sudo refused: {_last_line(ended.said)}", cure)


def find_sudo() -> str | None:
    """Return sudo's path, or None; never from PATH, which a user's program may have prepared."""
    return next((each for each in SUDO_PLACES if os.access(each, os.X_OK)), None)


def _parse_result(ended: Completed) -> RootResult:
    lines = ended.stdout.decode("utf-8", "replace").splitlines()
    done = tuple(line.removeprefix(DONE) for line in lines if line.startswith(DONE))
    failed = tuple(_parse_failed(line.removeprefix(FAILED)) for line in lines if line.startswith(FAILED))
    if ended.status == 0:
        return RootDone(done, failed, ended.said)
    if ended.status == Status.CHANGED_MEANWHILE:
        return HostsChanged()
    fact, cure = why_failed(ended.status, ended.said)
    said = "\n".join(line for line in ended.said.splitlines() if not line.startswith((STARTED, DONE, FAILED)))
    return RootFailed(done, fact, cure, said)


def _parse_failed(line: str) -> tuple[str, int]:
    """Parse "42 hosts"."""
    status, _space, what = line.partition(" ")
    return what, int(status)


def why_failed(status: int, said: str = "") -> tuple[str, tuple[str, ...]]:
    """The fact and the cure for a status of the script; with what a store's tool said, where that is why."""
    fact, cure = FACTS.get(status, (f"what root ran ended with exit status {status}", ()))
    lines = [line.removeprefix(SAID) for line in said.splitlines() if line.startswith(SAID)]
    if status != Status.STORE_FAILED or not lines:
        return fact, cure
    return fact, ("As root was run, and it said:", *(f"| {line}" for line in _shorten(lines)), *cure)


def _shorten(lines: list[str]) -> list[str]:
    """The command, and the end of what it said: there it says why."""
    return lines if len(lines) <= SHOWN else [lines[0], "…", *lines[-SHOWN:]]


def _has_started(ended: Completed) -> bool:
    """Whether the script ran at all: sudo's own refusals have the exit status 1, as many things do."""
    return STARTED.encode() in ended.stdout.splitlines()


def _turn(operation: Operation) -> int:
    return list(VERBS).index(type(operation))


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _render_text(operations: Sequence[Operation], argv: Sequence[str], *, as_root: bool) -> str:
    changes = [line for operation in sorted(operations, key=_turn) for line in _render_change(operation)]
    words = shlex.join(argv[3:])
    command = f"{'' if as_root else 'sudo '}/bin/sh -c SCRIPT {words}"
    script = [f"  {line}".rstrip() for line in argv[2].strip().splitlines()]
    return "\n".join([*changes, command, "where SCRIPT is:", *script])


def _render_change(operation: Operation) -> list[str]:  # noqa: PLR0911 - one case for each operation
    match operation:
        case EditHosts(old, new, path):
            return [f"edit {path}:", *describe_edit(old, new)]
        case InstallRoot(name, _, anchors):
            return [f"trust {name}: {anchors.file(name)}, {anchors.after_adding}"]
        case RemoveRoot(name, anchors):
            return [f"stop trusting {name}: {anchors.file(name)}, {anchors.after_removing}"]
        case LowerPorts():
            setting = f"net.ipv4.ip_unprivileged_port_start={low_ports.LOW}"
            return [
                f"let every user of this machine listen on the ports from {low_ports.LOW} up:",
                f"  set {setting} now, and at each start by {low_ports.FILE}",
            ]
        case RestorePorts(before):
            return [f"set net.ipv4.ip_unprivileged_port_start={before} again, and remove {low_ports.FILE}"]
        case RouteNames(domains):
            return _describe_route(domains)
        case Bind(endpoints):
            return [f"bind {', '.join(map(str, endpoints))}, as you"]
        case _:
            assert_never(operation)


def _describe_route(domains: Sequence[str]) -> list[str]:
    if not domains:
        return [f"have systemd-resolved ask as before: without your domains in {name_route.FILE}"]
    return [
        f"have systemd-resolved ask 127.0.0.1:{name_route.PORT} for names below {', '.join(domains)}:",
        f"  write {name_route.FILE}, and have systemd-resolved read it",
        "  it asks there for every other name, too, beside the servers of the network: the gateway refuses those, and",
        "  while none runs, any program of this machine may listen there and say where names lead",
    ]


def describe_edit(old: bytes, new: bytes) -> list[str]:
    """The lines that go and come, as people read them."""
    before, after = (Counter(data.decode("utf-8", "replace").splitlines()) for data in (old, new))
    gone, come = (before - after).elements(), (after - before).elements()
    return [*(f"  - {line}" for line in gone), *(f"  + {line}" for line in come)]


def _last_line(said: str) -> str:
    return said.strip().rpartition("\n")[2] or "it said nothing"
