"""devtls hosts."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from devtls import report
from devtls.cli.output import is_interactive, say, say_json, style_of
from devtls.cli.talk import Talk
from devtls.errors import DevtlsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.block import Change, Edit, Entry
    from devtls.model import Notice
    from devtls.report import Style

SCHEMA = "devtls.hosts/1"


@click.group()
def hosts() -> None:
    """Show and edit the lines of devtls in the hosts file; no other line is ever touched.

    In WSL the hosts file of Windows, too.
    """


@hosts.command("list")
@click.option("--json", "as_json", is_flag=True, help="Say it as one JSON document.")
def list_names(as_json: bool) -> None:
    """Show each name and each route: which project serves it, and where it leads on this machine.

    Changes nothing. Ends with 0, or with 1 when a name does not lead here though its line, or a route, is there.
    """
    from devtls import block
    from devtls import route as routing
    from devtls.checks.names import look_up
    from devtls.checks.resolution import read_resolver
    from devtls.checks.wildcards import ask_about
    from devtls.model import Verdict
    from devtls.system.name_route import look_at_route
    from devtls.system.paths import find_paths
    from devtls.system.root import FACTS
    from devtls.system.root_script import Status
    from devtls.system.windows import find_windows

    served = block.served_names(find_paths(os.environ))
    entries = block.find_entries(block.read_here(), served, look_up)
    resolver = read_resolver()
    checks = [block.judge(entry, resolver) for entry in entries]
    found = look_at_route()
    routed = found.domains
    checks += [routing.judge_route(domain, served, ask_about) for domain in routed]
    told = (block.unserved_notice(entries), block.windows_hosts_notice(served, find_windows()))
    notices = [notice for notice in told if notice]
    notices += [FACTS[Status.ROUTE_NOT_OURS]] if found.is_changed else []
    if as_json:
        say_json(list_facts(entries, routed, notices))
    else:
        style = style_of(sys.stdout)
        say(report.render_checks(checks, style) or ["/etc/hosts has no name of devtls."])
        say(report.render_notices(notices, style))
    sys.exit(1 if any(check.verdict is Verdict.FAILED for check in checks) else 0)


@hosts.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Say what it came to as one JSON document.")
def sync(dry_run: bool, as_json: bool) -> None:
    """Have the hosts file lead here the names that your running projects need, and no other.

    Ends with 0 when it does, 1 when it could not be changed.
    """
    from devtls import block
    from devtls.cli.clean import refuse_starting
    from devtls.system.paths import find_paths
    from devtls.system.ports import has_ipv6
    from devtls.system.processes import is_run_by_others

    paths = find_paths(os.environ)
    served = block.served_names(paths)
    running = {paths.project(Path(directory)) / "lock" for directory in served.values()}
    refuse_starting(paths, "devtls hosts sync", spared=running)
    change = partial(block.synced, served=served, keeps_unserved=is_run_by_others(block.KEEPER))
    edits = _edit(partial(change, ipv6=has_ipv6()), partial(change, ipv6=False), dry_run=dry_run, as_json=as_json)
    stay = [name for name in edits[0].names if not block.folder_of(name, served)]
    fact = f"another user runs devtls, too; in case these names are theirs, they stay: {', '.join(stay)}"
    notices = [(fact, block.clean_cure(stay))] if stay else []
    already = ", ".join(edits[0].names) or "no project needs a name"
    _tell(edits, notices, already=already, dry_run=dry_run, as_json=as_json)


@hosts.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Say what it came to as one JSON document.")
def clean(names: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Take the lines of devtls for these names out of the hosts file; without a name, all of them.

    A domain takes its .localhost name with it. Certificates, keys and trust stay; `devtls clean` is for all of it. Ends
    with 0 when they are out, 1 when they could not be taken out.
    """
    from devtls import block
    from devtls.system.paths import find_paths

    served: dict[str, str] = {}
    with contextlib.suppress(DevtlsError):  # a gateway of another version serves what it serves
        served = block.served_names(find_paths(os.environ))
    change = partial(block.cleaned, names=_meant(names))
    edits = _edit(change, change, dry_run=dry_run, as_json=as_json)
    cut_off = {name: folder for name in edits[0].removed if (folder := block.folder_of(name, served))}
    fact = f"{', '.join(dict.fromkeys(cut_off.values()))} goes on serving {', '.join(cut_off)}"
    notices: list[Notice] = [(fact, ("Have it lead here again:", "  devtls hosts sync"))] if cut_off else []
    already = f"without {', '.join(names) or 'a name of devtls'}"
    _tell(edits, notices, already=already, dry_run=dry_run, as_json=as_json)


@hosts.command()
@click.argument("domains", nargs=-1, metavar="[DOMAIN]...")
@click.option("--remove", "is_removal", is_flag=True, help="Have it ask as before.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Say what it came to as one JSON document.")
def route(domains: tuple[str, ...], is_removal: bool, dry_run: bool, as_json: bool) -> None:
    """Have systemd-resolved ask the gateway for each name below DOMAIN, for a wildcard fits in no hosts file.

    Without a domain: below all those that your running projects serve by a wildcard; with --remove all that you have
    put in. It stays until you take it back, here or by `devtls clean`. Ends with 0 when it is so, 1 when it could not
    be changed.
    """
    from devtls import block
    from devtls import route as routing
    from devtls.ca.store import load_authorities
    from devtls.model import parse_domain
    from devtls.system.paths import find_paths

    paths = find_paths(os.environ)
    served = {} if is_removal else block.served_names(paths)
    named = tuple(parse_domain(domain.removeprefix("*.")) for domain in domains)
    if is_removal:
        change = partial(routing.without, domains=named)
    else:
        wanted = routing.wanted(named, served)
        routing.refuse_strangers(wanted, load_authorities(paths))
        change = partial(routing.with_more, domains=wanted)
    if dry_run:
        edit = routing.preview(change)
    else:
        asking = Talk(sys.stderr if as_json else sys.stdout).asking
        edit = routing.edit_route(change, is_interactive=is_interactive(), asking=asking)
        if edit.is_changed:
            routing.tell_gateway(paths)
    unserved = [] if is_removal else [name for name in edit.names if not block.folder_of(f"*.{name}", served)]
    notices = [routing.unserved_notice(unserved)] if unserved else []
    notices += [routing.open_port_notice()] if edit.added else []
    already = ", ".join(edit.names) or "asks for no name of yours"
    _tell([edit], notices, already=already, dry_run=dry_run, as_json=as_json)


def _meant(names: Sequence[str]) -> tuple[str, ...]:
    """The names as the file has them."""
    from devtls import block
    from devtls.hosts import names_in_block
    from devtls.model import parse_domain

    ours = names_in_block(block.read_here())
    return block.with_localhost(name if name in ours else parse_domain(name) for name in names)


def _edit(change: Change, change_windows: Change, *, dry_run: bool, as_json: bool) -> list[Edit]:
    """Change the hosts file, and that of the Windows around us, if there is one."""
    from devtls import block
    from devtls.system.windows import find_windows

    around_us = find_windows()
    if dry_run:
        return block.preview(change, change_windows, around_us)
    asking, is_there = Talk(sys.stderr if as_json else sys.stdout).asking, is_interactive()
    edits = [block.edit_here(change, is_interactive=is_there, asking=asking)]
    if around_us:
        edits.append(block.edit_windows(change_windows, around_us, is_interactive=is_there, asking=asking))
    return edits


def _tell(edits: Sequence[Edit], notices: Sequence[Notice], *, already: str, dry_run: bool, as_json: bool) -> None:
    """Say what it came to, and end."""
    left = [edit.left for edit in edits if edit.left]
    if as_json:
        files = [edit_facts(edit) for edit in edits]
        say_json({"schema": SCHEMA, "dry_run": dry_run, "files": files, "notices": _notice_facts(notices)})
    else:
        style = style_of(sys.stdout)
        say(line for edit in edits for line in render_edit(edit, already, style, dry_run=dry_run))
        say(report.render_notices([*left, *notices], style))
    sys.exit(1 if left else 0)


def render_edit(edit: Edit, already: str, style: Style, *, dry_run: bool) -> list[str]:
    """What became of a file, or would, or what it was already; pure. Why it could not be changed is a notice."""
    if edit.left:
        return []
    if not edit.is_changed:
        return [report.render_done(edit.file, already, style, "already")]
    lines = []
    if edit.added:
        lines.append(report.render_done(edit.file, ", ".join(edit.added), style, "would" if dry_run else "now"))
    if edit.removed:
        gone = ", ".join(edit.removed)
        word, fact = ("would", f"without {gone}") if dry_run else ("gone", gone)
        lines.append(report.render_done(edit.file, fact, style, word))
    return lines or [report.render_done(edit.file, "the block in order", style, "would" if dry_run else "now")]


def edit_facts(edit: Edit) -> dict[str, Any]:
    """The same for JSON; pure."""
    return {
        "file": edit.file,
        "already": not edit.is_changed and not edit.left,
        "added": list(edit.added),
        "removed": list(edit.removed),
        "names": list(edit.names),
        "left": _notice_facts([edit.left] if edit.left else []),
    }


def _notice_facts(notices: Sequence[Notice]) -> list[dict[str, Any]]:
    return [{"fact": fact, "cure": list(cure)} for fact, cure in notices]


def list_facts(entries: Sequence[Entry], routed: Sequence[str], notices: Sequence[Notice]) -> dict[str, Any]:
    """The names for JSON; pure."""
    names = [
        {
            "name": entry.name,
            "in_hosts_file": entry.is_ours,
            "directory": entry.directory or None,
            "addresses": list(entry.addresses),
            "leads_here": entry.leads_here,
        }
        for entry in entries
    ]
    return {"schema": SCHEMA, "names": names, "routed": list(routed), "notices": _notice_facts(notices)}
