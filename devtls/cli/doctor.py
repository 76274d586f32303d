"""devtls doctor."""

from __future__ import annotations

import os
import sys

import click

from devtls.cli.output import say, say_json, style_of
from devtls.model import Verdict


@click.command()
@click.argument("names", nargs=-1, metavar="[DOMAIN]...")
@click.option("--quick", is_flag=True, help="Start no browser and no Java.")
@click.option("--json", "as_json", is_flag=True, help="Say it as one JSON document.")
def doctor(names: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Tell which stores and programs of this machine trust your authorities; each program is asked by a real handshake.

    Also what leads your names elsewhere: a resolver, a proxy, a PAC file.

    Changes nothing. Ends with 0 when nothing is broken, else with 1.
    """
    from devtls.doctor import examine
    from devtls.model import parse_domain
    from devtls.report import check_facts, render_diagnosis
    from devtls.system.paths import find_paths

    checks = examine([parse_domain(name) for name in names], find_paths(os.environ), os.environ, is_quick=quick)
    is_broken = any(check.verdict is Verdict.FAILED for check in checks)
    if as_json:
        say_json({"schema": "devtls.doctor/1", "broken": is_broken, "checks": [check_facts(check) for check in checks]})
    else:
        say(render_diagnosis(checks, style_of(sys.stdout)))
    sys.exit(1 if is_broken else 0)
