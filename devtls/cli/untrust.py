"""devtls untrust."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from devtls import report
from devtls.cli.output import is_interactive, say, say_json
from devtls.cli.talk import Talk
from devtls.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.model import Authority
    from devtls.system.paths import Paths


@click.command()
@click.argument("names", nargs=-1, metavar="[DOMAIN]...")
@click.option("--low-ports", is_flag=True, help="Only this: take back what `devtls trust --low-ports` did.")
@click.option("--json", "as_json", is_flag=True, help="Say what it came to as one JSON document.")
def untrust(names: tuple[str, ...], low_ports: bool, as_json: bool) -> None:
    """Have no store trust the authorities of these domains any more; without a domain, any of yours.

    Keys and certificates stay: `devtls trust` brings the trust back, `devtls clean` deletes them.
    """
    from devtls.clean import restore_ports
    from devtls.clean import untrust as take_back
    from devtls.system.paths import find_paths

    if low_ports and names:
        raise UsageError("--low-ports stands alone", "It is about every user of this machine, and about no domain.")
    talk = Talk(sys.stderr if as_json else sys.stdout)
    if low_ports:
        cleaned = restore_ports(is_interactive=is_interactive(), asking=talk.asking)
    else:
        paths = find_paths(os.environ)
        authorities = _chosen(names, paths)
        cleaned = take_back(authorities, paths, os.environ, is_interactive=is_interactive(), asking=talk.asking)
    if as_json:
        left = [{"fact": fact, "cure": list(cure)} for fact, cure in cleaned.left]
        say_json({"schema": "devtls.untrust/1", "done": [list(each) for each in cleaned.done], "left": left})
    else:
        say(report.render_done(subject, fact, talk.style, "gone") for subject, fact in cleaned.done)
        say(report.render_notices(cleaned.left, talk.style))
        if not cleaned.done and not cleaned.left:
            say(["The ports are not lowered by devtls." if low_ports else "No store trusts them."])
    sys.exit(1 if cleaned.left else 0)


def _chosen(names: Sequence[str], paths: Paths) -> tuple[Authority, ...]:
    from devtls.ca.store import load_authorities
    from devtls.model import parse_domain

    known = load_authorities(paths)
    chosen = []
    for name in names:
        able = [authority for authority in known if authority.covers(parse_domain(name))]
        if not able:
            raise UsageError(f"there is no authority for {name}", "These are there:", "  devtls doctor")
        chosen += able
    return tuple(dict.fromkeys(chosen)) if names else known
