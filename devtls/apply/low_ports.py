"""Have every user of this machine listen on the ports from 80 up, as its administrator wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from devtls.system import root
from devtls.system.door import ask_root
from devtls.system.low_ports import look_at_low_ports
from devtls.system.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devtls.model import Notice
    from devtls.system.low_ports import LowPorts
    from devtls.system.run import Runner


def lower_ports(
    *,
    is_interactive: bool,
    asking: Callable[[root.RootCall], None],
    look: Callable[[], LowPorts] = look_at_low_ports,
    run: Runner = run,
    uid: int | None = None,
) -> tuple[Notice, ...]:
    """Do it, and read it back; return why it could not be done, or nothing."""

    def operations() -> Sequence[root.Operation]:
        return [] if look().is_low else [root.LowerPorts()]

    match ask_root(operations, is_interactive=is_interactive, asking=asking, run=run, uid=uid):
        case root.RootDone(failed=failed, said=said) if failed:
            return tuple(root.why_failed(status, said) for _what, status in failed)
        case root.RootDone():
            now = look()
            again = ("Somebody else may be setting it; try again:", "  devtls trust --low-ports")
            return () if now.is_low else ((f"root set it, and every user may listen from {now.start} up only", again),)
        case root.RootRefused(reason, cure):
            return ((f"the first port for every user is as it was: {reason}", cure),)
        case root.RootFailed(fact=fact, cure=cure):
            return ((fact, cure),)
        case other:
            assert_never(other)
