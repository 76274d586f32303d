"""Our block in the hosts file: who serves each of its names, what it should hold, and the edits that make it so.

In WSL there is a second file, that of Windows, whose block is for the browsers there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from devtls import hosts
from devtls.checks.names import is_loopback, judge_name
from devtls.checks.resolution import explain
from devtls.errors import DevtlsError
from devtls.model import Check, Verdict, is_local
from devtls.nginx.gateway import greet
from devtls.plan import localhost_name
from devtls.system import root, windows
from devtls.system.door import ask_root
from devtls.system.files import read_or_none
from devtls.system.run import run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from devtls.checks.resolution import Resolver
    from devtls.model import Notice
    from devtls.system.paths import Paths
    from devtls.system.root import RootCall
    from devtls.system.run import Runner
    from devtls.system.windows import Windows, WindowsCall

KEEPER = "devtls.nginx.keeper"  # the module that runs for as long as a user has a project up


Change = Callable[[bytes], bytes]  # a hosts file as it is -> as it should be


class Entry(Struct, frozen=True):
    """A name that our block has, or that a running project needs.

    Attributes:
        name: as browsers ask for it.
        is_ours: whether our block has it.
        directory: of this user's project that serves it; empty when none does.
        addresses: where it leads, as programs of this machine see it.
    """

    name: str
    is_ours: bool
    directory: str
    addresses: tuple[str, ...]

    @property
    def leads_here(self) -> bool:
        """Whether programs come to this machine by it, and nowhere else."""
        return bool(self.addresses) and all(map(is_loopback, self.addresses))


class Edit(Struct, frozen=True):
    """What became of a hosts file, or what would.

    Attributes:
        file: as people call it.
        added: the names that came into our block.
        removed: the names that went.
        names: those that are in it now.
        is_changed: whether it is another file now; also without a name that came or went, when a block was damaged.
        left: why it is as it was, and the cure; None when nothing is left to do.
    """

    file: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    is_changed: bool = False
    left: Notice | None = None


def served_names(paths: Paths) -> dict[str, str]:
    """Return each name or wildcard that a running project of this user serves, and the folder of that project.

    Raises:
        DevtlsError: the gateway that runs is of another version of devtls.
    """
    met = greet(paths)
    if met is None:
        return {}
    greeting, sockets, client = met
    client.close()
    for each in sockets:
        each.close()
    return {name: neighbour.directory for neighbour in greeting.neighbours for name in neighbour.domains}


def read_here() -> bytes:
    """Return the hosts file of this machine; nothing when there is none.

    Raises:
        DevtlsError: it cannot be read.
    """
    try:
        return read_or_none(root.HOSTS) or b""
    except OSError as error:
        raise DevtlsError(
            f"{root.HOSTS} cannot be read: {error.strerror}", "Look at it:", "  ls -l /etc/hosts"
        ) from error


def folder_of(name: str, served: Mapping[str, str]) -> str:
    """The folder of the project that serves a name, by itself or by a wildcard above it; nothing when none does."""
    labels = name.split(".")
    above = (f"*.{'.'.join(labels[place:])}" for place in range(1, len(labels)))
    return next((served[each] for each in (name, *above) if each in served), "")


def _needed(served: Mapping[str, str]) -> list[str]:
    """The names that a hosts file can lead here; it has no wildcards."""
    return [name for name in served if "*" not in name]


def find_entries(
    data: bytes, served: Mapping[str, str], look_up: Callable[[str], tuple[str, ...]]
) -> tuple[Entry, ...]:
    """Return the names of our block, and those that running projects serve without it."""
    ours = hosts.names_in_block(data)
    return tuple(
        Entry(name, name in ours, folder_of(name, served), look_up(name))
        for name in dict.fromkeys((*ours, *_needed(served)))
    )


def judge(entry: Entry, resolver: Resolver) -> Check:
    """Say whose a name is, and where it leads; and why, when that is not here."""
    told = judge_name(entry.name, entry.addresses)
    whose = f"served by {entry.directory}" if entry.directory else "no project of yours serves it"
    fact = f"{whose} · {told.fact}"
    if entry.is_ours and told.verdict is Verdict.FAILED:
        told = explain(told, entry.addresses, resolver)
        return replace(told, fact=f"{whose} · {told.fact}")
    if not entry.directory:
        return Check(entry.name, Verdict.NOTED, fact, "hosts", "name-unserved")
    if not entry.is_ours and not entry.leads_here:
        cure = ("Have it put there:", "  devtls hosts sync")
        return Check(entry.name, Verdict.NOTED, f"{whose} · not in {root.HOSTS}", "hosts", "name-missing", cure)
    return Check(entry.name, Verdict.PASSED, fact)


def unserved_notice(entries: Iterable[Entry]) -> Notice | None:
    """Return which names may be real sites that nobody reaches from here, though no project stands in for them."""
    unserved = [entry.name for entry in entries if not entry.directory]
    real = [name for name in unserved if not is_local(name)]
    if not real:
        return None
    return f"a real site of this name cannot be reached from here: {', '.join(real)}", clean_cure(unserved)


def judge_block(names: Sequence[str], served: Mapping[str, str]) -> Check:
    """Say in one line where our block leads; what may be a real site elsewhere, and is not served, is worth knowing."""
    unserved = [name for name in names if not folder_of(name, served)]
    fact = f"leads {', '.join(names)} to this machine"
    if unserved:
        fact = f"{fact}; no project of yours serves {', '.join(unserved)}"
    real = [name for name in unserved if not is_local(name)]
    if not real:
        return Check(str(root.HOSTS), Verdict.PASSED, fact)
    return Check(str(root.HOSTS), Verdict.NOTED, fact, "hosts", "name-unserved", clean_cure(real))


def clean_cure(names: Sequence[str]) -> tuple[str, ...]:
    """How to take names out; a domain takes its .localhost name with it."""
    together = {localhost_name(name) for name in names if localhost_name(name) != name}
    return ("Take out what you do not need:", f"  devtls hosts clean {' '.join(n for n in names if n not in together)}")


def with_localhost(names: Iterable[str]) -> tuple[str, ...]:
    """Names, and the .localhost name that was put in beside each."""
    return tuple(dict.fromkeys(each for name in names for each in (name, localhost_name(name))))


def synced(data: bytes, served: Mapping[str, str], *, ipv6: bool, keeps_unserved: bool = False) -> bytes:
    """Return the file with the names in our block that running projects need, and no other.

    A name that a line of the user's own leads here already needs none of ours.

    Args:
        data: the whole file.
        served: names and wildcards of running projects.
        ipv6: also say ::1.
        keeps_unserved: other names stay, too: they may be those of another user's projects, which nobody can see.
    """
    stay = [name for name in hosts.names_in_block(data) if keeps_unserved or folder_of(name, served)]
    here = hosts.names_led_here(data)
    return hosts.render(data, [*stay, *(name for name in _needed(served) if name not in here)], ipv6=ipv6)


def cleaned(data: bytes, names: Collection[str]) -> bytes:
    """Return the file without our lines for these names; without a name, without our block."""
    return hosts.without(data, names) if names else hosts.remove(data)


def describe(file: str, before: bytes, after: bytes, left: Notice | None = None) -> Edit:
    """Return what an edit comes to."""
    old, new = hosts.names_in_block(before), hosts.names_in_block(after)
    added, removed = (tuple(name for name in one if name not in other) for one, other in ((new, old), (old, new)))
    return Edit(file, added, removed, new, before != after, left)


def preview(change: Change, change_windows: Change, around_us: Windows | None) -> list[Edit]:
    """Return what these changes would come to."""
    before = read_here()
    edits = [describe(str(root.HOSTS), before, change(before))]
    if around_us:
        try:
            there = windows.read_hosts(around_us)
        except OSError as error:
            edits.append(_unreadable(error))
        else:
            edits.append(describe(windows.HOSTS, there, change_windows(there)))
    return edits


def edit_here(  # noqa: PLR0913 - the world comes in as arguments
    change: Change,
    *,
    is_interactive: bool,
    asking: Callable[[RootCall], None],
    read: Callable[[], bytes] = read_here,
    run: Runner = run,
    uid: int | None = None,
) -> Edit:
    """Have root make a change to the hosts file of this machine; it is worked out again when that changes meanwhile."""
    before = after = read()

    def operations() -> list[root.Operation]:
        nonlocal before, after
        before = read()
        after = change(before)
        return [root.EditHosts(before, after)] if after != before else []

    left: Notice | None = None
    match ask_root(operations, is_interactive=is_interactive, asking=asking, run=run, uid=uid):
        case root.RootDone(_done, failed, said):
            left = root.why_failed(failed[0][1], said) if failed else None
        case root.RootRefused(reason, cure):
            by_hand = ("Or have somebody who is root make this edit:", *root.describe_edit(before, after))
            left = (f"{root.HOSTS} is as it was: {reason}", (*cure, *by_hand))
        case root.RootFailed(fact=fact, cure=cure):
            left = (fact, cure)
        case other:
            assert_never(other)
    return describe(str(root.HOSTS), before, before if left else after, left)


def edit_windows(
    change: Change,
    around_us: Windows,
    *,
    is_interactive: bool,
    asking: Callable[[WindowsCall], None],
    run: Runner = run,
) -> Edit:
    """Have an administrator of the Windows around us make a change to its hosts file."""
    try:
        before = windows.read_hosts(around_us)
        left = windows.edit_hosts(around_us, change, is_interactive=is_interactive, asking=asking, run=run)
        after = windows.read_hosts(around_us)
    except OSError as error:
        return _unreadable(error)
    return describe(windows.HOSTS, before, after, left)


def _unreadable(error: OSError) -> Edit:
    return Edit(windows.HOSTS, left=(f"{windows.HOSTS} cannot be read: {error.strerror}", ()))


def windows_hosts_notice(names: Iterable[str], around_us: Windows | None) -> Notice | None:
    """Return which of these names the browsers of the Windows around us do not find, and how they come to.

    None where there is no Windows, where its hosts file has them all, and where it cannot be read. Names below
    .localhost are known to browsers.
    """
    try:
        data = windows.read_hosts(around_us) if around_us else b""
    except OSError:
        return None
    here = hosts.names_led_here(data)
    missing = [name for name in names if localhost_name(name) != name and "*" not in name and name not in here]
    if not around_us or not missing:
        return None
    cure = (
        "Have an administrator put it into the hosts file of Windows, which asks in a window:",
        "  devtls hosts sync",
    )
    return f"browsers of Windows do not find {', '.join(missing)}", cure
