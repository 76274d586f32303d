"""devtls trust."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from devtls import report
from devtls.cli.output import is_interactive, say, say_json
from devtls.cli.talk import Talk, real_domain_notices
from devtls.errors import DevtlsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.apply import Applied
    from devtls.look import Machine
    from devtls.system.paths import Paths


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--export", "folder", type=click.Path(path_type=Path), help="Write the roots for containers and phones.")
@click.option("--low-ports", is_flag=True, help="Only this: let every user of this machine listen on 80 and up.")
@click.option("--no-new-ca", is_flag=True, help="Fail rather than make a new certificate authority.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Say what it came to as one JSON document.")
def trust(  # noqa: PLR0913, PLR0917 - one parameter an option
    names: tuple[str, ...], folder: Path | None, low_ports: bool, no_new_ca: bool, dry_run: bool, as_json: bool
) -> None:
    """Have the system and the browsers trust the authorities of these names, and of all that you have.

    Each domain, or address of your network, gets an authority of its own, which can sign it and what is below it, and
    nothing else. One for localhost and test is always there. An authority that ends soon gets a successor; one that
    ended is taken out.

    With --low-ports no store is touched: afterwards `up` binds 443 without sudo, and so may every user of this machine.

    Ends with 0 when every store trusts them, 1 when one does not.
    """
    from devtls.apply import Application
    from devtls.look import look_at_trust
    from devtls.plan import make_trust_plan
    from devtls.system.paths import find_paths

    if low_ports:
        _refuse_beside_low_ports(names, folder, no_new_ca=no_new_ca)
        _lower_ports(dry_run=dry_run, as_json=as_json)
        return
    paths = find_paths(os.environ)
    if folder:
        _export(folder, paths, as_json=as_json)
        return
    wanted = _wanted(names, paths)
    talk = Talk(sys.stderr if as_json else sys.stdout)
    machine = look_at_trust(wanted, paths, os.environ, is_interactive=is_interactive())
    plan_for = partial(make_trust_plan, wanted, may_create=not no_new_ca)
    plan = plan_for(machine.found)
    if dry_run:
        say_json(report.plan_facts(plan)) if as_json else say(report.render_plan(plan, talk.style))
        return
    application = Application(machine, plan, replan=plan_for, paths=paths, told=talk, is_interactive=is_interactive())
    applied = application.run()
    notices = [*applied.notices, *((f"{each.store}: {each.fact}", each.cure) for each in machine.stores.troubles)]
    notices += real_domain_notices(plan.items)
    say(report.render_notices(notices, talk.style), talk.stream)
    say(_closing_words(applied), talk.stream)
    refused = _untrusting(machine, applied)
    if as_json:
        say_json(_facts(machine, applied, notices))
    sys.exit(1 if refused or machine.stores.troubles else 0)


def _refuse_beside_low_ports(names: Sequence[str], folder: Path | None, *, no_new_ca: bool) -> None:
    """What is about this machine's ports is not about a name's trust.

    Raises:
        UsageError: both were asked for.
    """
    if names or folder or no_new_ca:
        raise UsageError("--low-ports stands alone", "Run them one after the other:", "  devtls trust --low-ports")


def _lower_ports(*, dry_run: bool, as_json: bool) -> None:
    from devtls.apply.low_ports import lower_ports
    from devtls.plan import make_ports_plan
    from devtls.system.low_ports import FILE, VALUE, look_at_low_ports

    found = look_at_low_ports()
    if found.start is None:
        raise DevtlsError(f"this system has no {VALUE}", "Go without: `devtls up` binds the ports through sudo.")
    plan = make_ports_plan(is_low=found.is_low, is_kept=found.kept is not None)
    talk = Talk(sys.stderr if as_json else sys.stdout)
    if dry_run:
        say_json(report.plan_facts(plan)) if as_json else say(report.render_plan(plan, talk.style))
        return
    notices = lower_ports(is_interactive=is_interactive(), asking=talk.asking)
    if not notices:
        talk.done(plan.items[0])
        if not found.is_low:
            say(["`devtls clean` and `devtls untrust --low-ports` take that back."], talk.stream)
    say(report.render_notices(notices, talk.style), talk.stream)
    if as_json:
        now = look_at_low_ports()
        facts = {"first_port": now.start, "file": str(FILE) if now.kept else None}
        told = [{"fact": fact, "cure": list(cure)} for fact, cure in notices]
        say_json({"schema": "devtls.low-ports/1", **facts, "notices": told})
    sys.exit(1 if notices else 0)


def _export(folder: Path, paths: Paths, *, as_json: bool) -> None:
    """Write the roots of all authorities that are valid today; no store is touched."""
    from devtls.ca.store import load_authorities
    from devtls.system.templates import find_templates
    from devtls.trust.export import export

    now = datetime.now(UTC)
    authorities = [each for each in load_authorities(paths) if each.not_before <= now < each.not_after]
    if not authorities:
        raise DevtlsError("there is no certificate authority to export yet", "Make one:", "  devtls trust DOMAIN")
    exported = export(authorities, folder, find_templates(os.environ))
    if as_json:
        files = [str(path.absolute()) for path in exported.files]
        say_json({"schema": "devtls.export/1", "files": files, "skipped": exported.skipped})
        return
    say(str(path) for path in exported.files)
    say([f"How to use them in containers and on phones: {exported.files[-1]}"])


def _wanted(names: Sequence[str], paths: Paths) -> tuple[tuple[str, ...], ...]:
    """The subtrees of each authority that is to be trusted: the local one, what there is, and what is named."""
    from devtls.ca.store import load_authorities
    from devtls.config.domains import authority_names, parse_certificate_names
    from devtls.model import LOCAL_NAMES

    known = load_authorities(paths)
    wanted = [LOCAL_NAMES, *(authority.names for authority in known)]
    named = parse_certificate_names(names, lambda domain: any(ca.covers(domain) for ca in known))
    wanted += [authority_names([name]) for name in named if not any(ca.covers(name) for ca in known)]
    return tuple(dict.fromkeys(wanted))


def _closing_words(applied: Applied) -> list[str]:
    from devtls.trust.nss_places import find_running_browsers

    if applied.browsers and (running := find_running_browsers(os.getuid())):
        return [f"Restart {' and '.join(running)}: a running one does not notice a new certificate authority."]
    return []


def _untrusting(machine: Machine, applied: Applied) -> list[str]:
    """The stores that do not trust all of it."""
    stores = machine.stores.found
    return [store.name for store in stores if not all(store.is_trusted(ca) for ca in applied.authorities)]


def _facts(machine: Machine, applied: Applied, notices: Sequence[tuple[str, tuple[str, ...]]]) -> dict[str, Any]:
    untrusting = _untrusting(machine, applied)
    return {
        "schema": "devtls.trust/1",
        "authorities": [
            {
                "id": ca.id,
                "names": list(ca.names),
                "root": str(ca.root),
                "sha256": ca.fingerprint,
                "not_after": ca.not_after.isoformat(),
            }
            for ca in applied.authorities
        ],
        "stores": [
            {"name": store.name, "place": str(store.place), "trusts": store.name not in untrusting}
            for store in machine.stores.found
        ],
        "notices": [{"fact": fact, "cure": list(cure)} for fact, cure in notices],
    }
