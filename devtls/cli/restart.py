"""devtls restart."""

from __future__ import annotations

import sys

import click

from devtls.cli.output import say
from devtls.errors import NotRunningError, UsageError
from devtls.report import parse_check, render_checks


@click.command()
@click.argument("service", required=False, default="")
def restart(service: str) -> None:
    """Restart SERVICE, or all services, and wait until the checks are in."""
    from devtls.cli.ask import ask, connect
    from devtls.cli.output import style_of

    with connect(timeout=None) as client:
        answer = ask(client, {"do": "restart", "service": service})
        if answer["is"] == "refused":
            raise UsageError(answer["message"], "See what runs:", "  devtls ps")
        status = ask(client, {"do": "wait"})
    if "checks" not in status:
        raise NotRunningError("it was stopped meanwhile")
    say(render_checks([parse_check(facts) for facts in status["checks"]], style_of(sys.stdout)))
    sys.exit(int(status["exit_code"]))
