"""What `up` does before it serves: look, plan, apply, and tell what a person has to know."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from devtls import report
from devtls.cli.output import is_interactive, say
from devtls.cli.talk import real_domain_notices
from devtls.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from devtls.apply import Applied
    from devtls.cli.talk import Talk
    from devtls.model import Authority, Notice, Project
    from devtls.plan import Found, Plan
    from devtls.session.setup import Setup
    from devtls.system.paths import Paths

PATIENCE_FOR_OTHERS = 600.0  # s; another `up` may be waiting for a person to type a password
STARTED = time.monotonic()  # this module is imported when the command begins


def prepare(  # noqa: PLR0913 - what was asked for
    project: Project,
    plan_for: Callable[[Found], Plan],
    paths: Paths,
    talk: Talk,
    *,
    as_json: bool,
    is_forced: bool,
) -> Setup:
    """Look, plan, and apply: afterwards everything is there that the project is served with."""
    from devtls.apply import Application
    from devtls.cli.trusting import trusting_services
    from devtls.look import look
    from devtls.plan import localhost_name
    from devtls.session.setup import Setup, begin_session
    from devtls.system.templates import find_templates

    session = begin_session(paths, project.directory)
    start_lock = _wait_for_lock(paths.gateway / "starting.lock", talk)
    machine, gateway = look(project, paths, os.environ, is_interactive=is_interactive(), is_forced=is_forced)
    plan = plan_for(machine.found)
    application = Application(
        machine,
        plan,
        replan=plan_for,
        paths=paths,
        told=talk,
        is_interactive=is_interactive(),
        sockets=gateway.sockets,
    )
    applied = application.run()
    if gateway.greeting:
        # Held until here: two that edit the hosts file at once would only make each other begin anew.
        os.close(start_lock)
    troubles = () if project.is_isolated else machine.stores.troubles
    trust, doubts = trusting_services(os.environ, project)
    notices = [*applied.notices, *((f"{each.store}: {each.fact}", each.cure) for each in troubles), *doubts]
    notices += real_domain_notices(plan.items)
    notices += _windows_notices(plan.hosts)
    say(report.render_notices(notices, talk.style), talk.stream)
    concrete = [domain for domain in project.domains if "*" not in domain]
    names = tuple(each if each in applied.named else localhost_name(each) for each in concrete)
    screen = talk.stream.fileno()
    return Setup(
        project=project,
        hosts=plan.hosts,
        names=names,
        leaves=applied.leaves,
        authorities=applied.authorities,
        paths=paths,
        nginx=gateway.nginx,
        templates=find_templates(os.environ),
        environment=dict(os.environ),
        sockets=applied.sockets,
        https_port=applied.https_port,
        start_lock=None if gateway.greeting else start_lock,
        session=session,
        style=talk.style,
        screen=screen,
        document=sys.stdout.fileno() if as_json else None,
        columns=os.get_terminal_size(screen).columns if os.isatty(screen) else None,
        since=STARTED,
        closing_words=_closing_words(applied, names, is_isolated=project.is_isolated),
        trust=trust,
        is_forced=is_forced,
    )


def _windows_notices(hosts: tuple[str, ...]) -> list[Notice]:
    """In WSL the browsers are those of Windows, which has a hosts file of its own."""
    from devtls.system.windows import find_windows

    windows = find_windows()
    if windows is None:
        return []
    from devtls.block import windows_hosts_notice

    notice = windows_hosts_notice(hosts, windows)
    return [notice] if notice else []


def _closing_words(applied: Applied, names: tuple[str, ...], *, is_isolated: bool) -> tuple[str, ...]:
    """What a person must know before they open the page."""
    from devtls.checks.elsewhere import remote_hints
    from devtls.trust.nss_places import find_running_browsers

    words = [] if not is_isolated else _isolated_words(applied.authorities, names, applied.https_port)
    if applied.browsers and (running := find_running_browsers(os.getuid())):
        words.append(f"Restart {' and '.join(running)}: a running one does not notice a new certificate authority.")
    roots = [authority.root for authority in applied.authorities]
    return (*words, *remote_hints(os.environ, names, roots, applied.https_port))


def _isolated_words(authorities: Sequence[Authority], names: tuple[str, ...], port: int) -> list[str]:
    """How to reach what no store of this machine trusts."""
    from devtls.ca.store import issuer_spki
    from devtls.model import authority_of

    spkis = ",".join(spki for each in authorities if (spki := issuer_spki(each)))
    url = f"https://{authority_of(names[0], port)}"
    browser = f'chromium --user-data-dir="$(mktemp -d)" --ignore-certificate-errors-spki-list={spkis} {url}'
    return [
        "No store was touched. What you start in this way trusts it, and a browser with a profile of its own:",
        f"  devtls exec -- curl {url}",
        f"  {browser}",
    ]


def _wait_for_lock(path: Path, talk: Talk) -> int:
    from devtls.system.files import try_lock

    for _ in patiently("Another `devtls up` is changing this machine, or asks to; waiting for it.", talk):
        lock = try_lock(path)
        if lock is not None:
            return lock
    raise ConflictError("another `devtls up` has been starting for ten minutes", "See what it asks for, or end it.")


def patiently(told: str, talk: Talk) -> Iterator[None]:
    """Turn after turn for ten minutes; a person is told after the first second."""
    begun = time.monotonic()
    is_told = False
    while time.monotonic() - begun < PATIENCE_FOR_OTHERS:
        yield
        if not is_told and time.monotonic() - begun > 1:
            say([told], talk.stream)
            is_told = True
        time.sleep(0.02)
