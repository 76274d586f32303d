"""Ask root until it is settled: what is asked is worked out again when the hosts file changed meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, assert_never

from devtls.system import root
from devtls.system.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devtls.system.root import Operation, RootCall, RootDone, RootFailed, RootRefused
    from devtls.system.run import Runner

MOST_CALLS = 3  # one, and again when the hosts file changed between our look and root's


def ask_root(
    operations: Callable[[], Sequence[Operation]],
    *,
    is_interactive: bool,
    asking: Callable[[RootCall], None],
    run: Runner = run,
    uid: int | None = None,
) -> RootDone | RootRefused | RootFailed:
    """Have root do what `operations` returns now; nothing is run when there is nothing to do.

    Args:
        operations: looks at the machine as it is and says what root has to do.
        is_interactive: a person is at the terminal, whom sudo may ask for a password.
        asking: is told each call before it runs.
        run: how programs are run.
        uid: who asks; None looks.
    """
    uid, sudo = os.geteuid() if uid is None else uid, root.find_sudo()
    for _ in range(MOST_CALLS):
        wanted = list(operations())
        if not wanted:
            return root.RootDone((), (), "")
        call = root.render_call(wanted, uid=uid, gid=os.getegid())
        asking(call)
        result = root.call_root(call, interactive=is_interactive, run=run, uid=uid, sudo=sudo)
        if not isinstance(result, root.HostsChanged):
            return result
    return root.RootFailed((), "/etc/hosts is being changed all the time by somebody else", ("Try again later.",), "")


def done_line(operation: Operation) -> str:
    """What root says once an operation is done; it ends by becoming the binder, so of that it says nothing."""
    match operation:
        case root.InstallRoot(name=name) | root.RemoveRoot(name=name):
            return f"{root.VERBS[type(operation)]} {name}"
        case root.EditHosts() | root.LowerPorts() | root.RestorePorts() | root.RouteNames() | root.Bind():
            return root.VERBS[type(operation)]
        case _:
            assert_never(operation)
