"""Take everything back that devtls did to this machine: the hosts file, the trusted roots, the keys, the state."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct, field

from devtls import hosts
from devtls.ca.store import describe_owner
from devtls.system import root
from devtls.system.files import read_or_none
from devtls.system.run import run
from devtls.trust import find_stores, receipts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from devtls.system.paths import Paths

MOST_CALLS = 3  # of root: the hosts file may change between our look and root's


class Cleaned(Struct):
    """What was taken back, and what was not, each with its cure.

    Attributes:
        done: (subject, fact) pairs.
        left: (fact, cure lines) pairs; while a root is trusted somewhere, nothing that helps to find it is deleted.
    """

    done: list[tuple[str, str]] = field(default_factory=list)
    left: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


def clean(
    paths: Paths, environment: Mapping[str, str], *, is_interactive: bool, asking: Callable[[root.RootCall], None]
) -> Cleaned:
    """Do it; running it twice changes nothing. No project may be up."""
    cleaned = Cleaned()
    stores = find_stores(paths.home, environment, run).found
    change = receipts.untrust_all(stores, paths, describe_owner(), run)
    cleaned.left += [(f"{trouble.store}: {trouble.fact}", trouble.cure) for trouble in change.troubles]
    _clean_as_root(change.operations, cleaned, is_interactive=is_interactive, asking=asking)
    open_receipts = receipts.confirm_gone(stores, paths)
    for receipt in open_receipts:
        cleaned.left.append((f"{receipt.root} is still trusted by {receipt.store}", ("Run `devtls clean` again.",)))
    if not cleaned.left:
        _remove(paths.data, "authorities, keys, receipts", cleaned)
        _remove(paths.state, "logs, state", cleaned)
        with contextlib.suppress(OSError):  # it was never made, or another home of this user has sockets in it
            paths.short_sockets.rmdir()
    return cleaned


def _clean_as_root(
    removals: tuple[root.InstallRoot | root.RemoveRoot, ...],
    cleaned: Cleaned,
    *,
    is_interactive: bool,
    asking: Callable[[root.RootCall], None],
) -> None:
    for _ in range(MOST_CALLS):
        before = read_or_none(root.HOSTS) or b""
        after = hosts.remove(before)
        edits = [root.EditHosts(before, after)] if after != before else []
        if not edits and not removals:
            return
        call = root.render_call([*edits, *removals], uid=os.geteuid(), gid=os.getegid())
        asking(call)
        uid, sudo = os.geteuid(), root.find_sudo()
        match root.call_root(call, interactive=is_interactive, run=run, uid=uid, sudo=sudo):
            case root.RootDone(done, failed):
                if "hosts" in done:
                    cleaned.done.append(("/etc/hosts", ", ".join(hosts.names_in_block(before))))
                cleaned.done += [("trust", each.name) for each in removals if f"remove {each.name}" in done]
                cleaned.left += [root.why_failed(status) for _what, status in failed]
                return
            case root.HostsChanged():
                continue
            case root.RootRefused(reason, cure):
                cleaned.left.append((f"/etc/hosts and the system store are as they were: {reason}", cure))
                return
            case root.RootFailed(fact=fact, cure=cure):
                cleaned.left.append((fact, cure))
                return
            case other:
                assert_never(other)


def _remove(directory: Path, what: str, cleaned: Cleaned) -> None:
    if directory.is_dir():
        shutil.rmtree(directory)
        cleaned.done.append((str(directory), what))
