"""Tell what happens to the machine while it happens, and what is about to happen as root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from devtls import report
from devtls.cli.output import say, style_of
from devtls.plan import CreateAuthority

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from devtls.model import Notice
    from devtls.plan import Item
    from devtls.system.root import RootCall
    from devtls.system.windows import WindowsCall


def real_domain_notices(items: Iterable[Item]) -> list[Notice]:
    """What it means to serve a name that may be a real one, told when its authority is made."""
    from devtls.config.domains import real_domain_notice

    created = (name for item in items if isinstance(item, CreateAuthority) for name in item.subtrees)
    return [notice for name in created if (notice := real_domain_notice(name))]


class Talk:
    """Tells what happens, line by line (apply.Told)."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.style = style_of(stream)

    def done(self, item: Item, fact: str = "") -> None:
        """A step was done just now, or was so already."""
        say([report.render_item(item, "now", self.style, fact)], self.stream)

    def asking(self, call: RootCall | WindowsCall) -> None:
        """Print the whole of what sudo is about to run; as root there is no door to go through, only a list.

        An administrator of Windows is a door for everybody.
        """
        changes, script = call.text.split("\nwhere SCRIPT is:\n", 1)
        changes, _newline, command = changes.rpartition("\n")
        if os.geteuid() != 0 or call.who != "root":
            say([f"To be run as {call.who}, and nothing else:", f"  {command}", "where SCRIPT is:"], self.stream)
            say([self.style.quiet(line) for line in script.splitlines()], self.stream)
        say([f"As {call.who}:", *(f"  {line}" for line in changes.splitlines())], self.stream)
