"""Take everything back that devtls did to this machine: the hosts file, the trusted roots, the keys, the state."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct, field

from devtls import hosts
from devtls.block import edit_windows
from devtls.ca.store import describe_owner, load_authorities
from devtls.system import root
from devtls.system.door import ask_root, done_line
from devtls.system.files import read_or_none
from devtls.system.low_ports import FILE, LOW, look_at_low_ports
from devtls.system.name_route import FILE as ROUTE_FILE
from devtls.system.name_route import look_at_route
from devtls.system.root_script import Status
from devtls.system.run import run
from devtls.system.windows import find_windows
from devtls.trust import Change, Held, find_stores, receipts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from devtls.model import Authority
    from devtls.system.low_ports import LowPorts
    from devtls.system.name_route import NameRoute
    from devtls.system.paths import Paths
    from devtls.system.windows import WindowsCall
    from devtls.trust.clients import Trusting


class Cleaned(Struct):
    """What was taken back, and what was not, each with its cure.

    Attributes:
        done: (subject, fact) pairs.
        left: (fact, cure lines) pairs; while a root is trusted somewhere, nothing that helps to find it is deleted.
    """

    done: list[tuple[str, str]] = field(default_factory=list)
    left: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


def clean(
    paths: Paths,
    environment: Mapping[str, str],
    *,
    is_interactive: bool,
    asking: Callable[[root.RootCall | WindowsCall], None],
    who_trusts: Callable[[Sequence[Authority]], Trusting],
) -> Cleaned:
    """Do it; running it twice changes nothing. No project may be up.

    Once the roots are gone and the keys are not yet, `who_trusts` asks programs of this machine by a handshake.
    """
    cleaned = Cleaned()
    was_trusted = bool(receipts.load_receipts(paths))
    stores = find_stores(paths.home, environment, run, paths).everything
    change = receipts.untrust_all(stores, paths, describe_owner(), run)
    ports = look_at_low_ports()
    is_mine = ports.kept is not None and ports.kept.uid == os.getuid()
    route = look_at_route()
    unrouting = (root.RouteNames(()),) if route.domains_of(os.getuid()) else ()
    settings = (*(_restoring(ports) if is_mine else ()), *unrouting)
    _as_root(change, cleaned, settings, edits_hosts=True, is_interactive=is_interactive, asking=asking)
    _prove_ports(ports, cleaned)
    _prove_route(route, cleaned)
    if around_us := find_windows():
        edit = edit_windows(hosts.remove, around_us, is_interactive=is_interactive, asking=asking)
        cleaned.done += [(edit.file, ", ".join(edit.removed))] if edit.removed else []
        cleaned.left += [edit.left] if edit.left else []
    for receipt in receipts.confirm_gone(stores, paths):
        cleaned.left.append((f"{receipt.root} is still trusted by {receipt.store}", ("Run `devtls clean` again.",)))
    if not cleaned.left:
        if was_trusted:
            _prove(who_trusts(load_authorities(paths)), cleaned)
        _remove(paths.data, "authorities, keys, receipts", cleaned)
        _remove(paths.state, "logs, state", cleaned)
        with contextlib.suppress(OSError):  # it was never made, or another home of this user has sockets in it
            paths.short_sockets.rmdir()
    _tell_changed(ports, cleaned)
    if route.is_changed:
        cleaned.left.append(root.FACTS[Status.ROUTE_NOT_OURS])
    return cleaned


def restore_ports(*, is_interactive: bool, asking: Callable[[root.RootCall], None]) -> Cleaned:
    """Give the ports from 80 up to root alone again, whoever asked for them."""
    cleaned, ports = Cleaned(), look_at_low_ports()
    _as_root(Change(), cleaned, _restoring(ports), edits_hosts=False, is_interactive=is_interactive, asking=asking)
    _prove_ports(ports, cleaned)
    _tell_changed(ports, cleaned)
    return cleaned


def _restoring(ports: LowPorts) -> tuple[root.RestorePorts, ...]:
    return (root.RestorePorts(ports.kept.before),) if ports.kept else ()


def _prove_ports(before: LowPorts, cleaned: Cleaned) -> None:
    """Tell what is read back of the first port that every user may listen on, when devtls had lowered it."""
    now = look_at_low_ports()
    if before.kept and not now.kept:
        since = "as before" if now.start == before.kept.before else "as somebody set it since"
        cleaned.done.append((f"ports from {LOW} up", f"every user may listen from {now.start} up, {since}"))


def _prove_route(before: NameRoute, cleaned: Cleaned) -> None:
    """Tell what is read back of the domains of this user that systemd-resolved asked the gateway for."""
    mine = before.domains_of(os.getuid())
    if mine and not look_at_route().domains_of(os.getuid()):
        cleaned.done.append(
            (str(ROUTE_FILE), f"systemd-resolved does not ask the gateway for {', '.join(mine)} any more")
        )


def _tell_changed(ports: LowPorts, cleaned: Cleaned) -> None:
    if ports.is_changed:
        cure = ("Look at it, and remove it if nobody needs it:", f"  cat {FILE}", f"  sudo rm {FILE}")
        cleaned.left.append((f"{FILE} is not as devtls wrote it, and is left as it is", cure))


def _prove(trusting: Trusting, cleaned: Cleaned) -> None:
    for client in trusting.still:
        cure = (
            "Its verification is switched off, or a root is where devtls did not put it; the key is gone in any case.",
        )
        cleaned.left.append((f"{client} still accepts a certificate of devtls", cure))
    if trusting.asked and not trusting.still:
        cleaned.done.append((f"trust of {', '.join(trusting.asked)}", "proved: each refuses a handshake"))


def untrust(
    authorities: Sequence[Authority],
    paths: Paths,
    environment: Mapping[str, str],
    *,
    is_interactive: bool,
    asking: Callable[[root.RootCall], None],
) -> Cleaned:
    """Have no store trust these authorities any more; their keys and certificates stay."""
    cleaned = Cleaned()
    stores = find_stores(paths.home, environment, run, paths).everything
    roots = [Held(authority.name, authority.fingerprint) for authority in authorities]
    held = [(store, each) for store in stores for each in roots if store.holds(each)]
    change = receipts.untrust_some(stores, paths, roots, run)
    _as_root(change, cleaned, edits_hosts=False, is_interactive=is_interactive, asking=asking)
    receipts.confirm_gone(stores, paths)
    for store, each in held:
        if not store.holds(each):
            cleaned.done.append((f"trust: {store.name}", each.name))
        elif not cleaned.left:
            cleaned.left.append((f"{each.name} is still trusted by {store.name}", ("Run it again.",)))
    return cleaned


def _as_root(  # noqa: PLR0913 - what root is to change, and who is asked
    change: Change,
    cleaned: Cleaned,
    settings: Sequence[root.RestorePorts | root.RouteNames] = (),
    *,
    edits_hosts: bool,
    is_interactive: bool,
    asking: Callable[[root.RootCall], None],
) -> None:
    """Have root do what only root can, and note what came of that and of what the user could do alone."""
    cleaned.left += [(f"{trouble.store}: {trouble.fact}", trouble.cure) for trouble in change.troubles]
    taken: tuple[str, ...] = ()

    def operations() -> Sequence[root.Operation]:
        nonlocal taken
        before = read_or_none(root.HOSTS) or b""
        after = hosts.remove(before) if edits_hosts else before
        taken = hosts.names_in_block(before)
        return [*([root.EditHosts(before, after)] if after != before else []), *change.operations, *settings]

    match ask_root(operations, is_interactive=is_interactive, asking=asking):
        case root.RootDone(done, failed, said):
            if "hosts" in done:
                cleaned.done.append(("/etc/hosts", ", ".join(taken)))
            cleaned.done += [
                ("trust", each.name) for each in change.operations if edits_hosts and done_line(each) in done
            ]
            cleaned.left += [root.why_failed(status, said) for _what, status in failed]
        case root.RootRefused(reason, cure):
            cleaned.left.append((f"{_subjects(operations())}: {reason}", cure))
        case root.RootFailed(fact=fact, cure=cure):
            cleaned.left.append((fact, cure))
        case other:
            assert_never(other)


def _subjects(operations: Sequence[root.Operation]) -> str:
    """What root was to change, and did not: "/etc/hosts and the system store are as they were"."""
    parts = {
        "/etc/hosts": root.EditHosts,
        "the system store": root.RemoveRoot,
        "the first port for every user": root.RestorePorts,
        "the route of systemd-resolved": root.RouteNames,
    }
    named = [part for part, kind in parts.items() if any(isinstance(each, kind) for each in operations)]
    return f"{' and '.join(named)} {'is as it was' if len(named) == 1 else 'are as they were'}"


def _remove(directory: Path, what: str, cleaned: Cleaned) -> None:
    if directory.is_dir():
        shutil.rmtree(directory)
        cleaned.done.append((str(directory), what))
