"""devtls up."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from devtls import report
from devtls.cli.output import is_interactive, say, say_json
from devtls.cli.talk import Talk, real_domain_notices
from devtls.errors import ConflictError, DevtlsError, NotRunningError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from devtls.apply import Applied
    from devtls.model import Authority, Notice, Project
    from devtls.plan import Found, Plan
    from devtls.session.setup import Setup
    from devtls.system.channel import Client, Message
    from devtls.system.paths import Paths

STILL_STARTING = 124  # as timeout(1) says it
PATIENCE_FOR_OTHERS = 600.0  # s; another `up` may be waiting for a person to type a password
SETTLING = 30.0  # s beyond the app's own time to listen that a background start is waited for
STARTED = time.monotonic()  # this module is imported when the command begins


@click.command()
@click.argument("domains", nargs=-1, metavar="[DOMAIN]...")
@click.option("--app", metavar="CMD", help='The command that starts the app: --app "node app.js". No shell is used.')
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The port the app is told (PORT). [default: 3000, else free]"
)
@click.option("--scheme", type=click.Choice(["http", "https", "grpc", "grpcs"]), default="http", help="What it speaks.")
@click.option("--replicas", type=click.IntRange(1, 16), default=1, metavar="N", help="Start the app N times.")
@click.option("--sticky", "is_sticky", is_flag=True, help="Keep a browser on its replica, by a cookie.")
@click.option("--root", metavar="DIR", help="Serve the files of a folder, instead of an app.")
@click.option("--spa", "is_spa", is_flag=True, help="Answer /index.html where the folder has no file.")
@click.option(
    "--route",
    "routes",
    multiple=True,
    metavar="[HOST][/PATH]=TARGET",
    help="Send a path or host to a port, a URL, unix:/socket, a folder or a command; with / at its end: without PATH.",
)
@click.option(
    "--redirect", "redirects", multiple=True, metavar="[HOST][/PATH]=TO", help="Send a browser elsewhere (307)."
)
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Have each answer carry it.")
@click.option(
    "--prod-like", "is_prod_like", is_flag=True, help="Keep nginx' own limits: 60 s of silence, 1 MB, buffering."
)
@click.option("--lan", "is_on_lan", is_flag=True, help="Serve on the addresses of your networks, too.")
@click.option("--force", "is_forced", is_flag=True, help="Take the domains from the project that serves them.")
@click.option("--exact", "is_exact", is_flag=True, help="In a linked git worktree: DOMAIN itself, not BRANCH.DOMAIN.")
@click.option("--ws", "websocket_path", metavar="/PATH", help="Where the WebSocket is, when it is not found.")
@click.option("--https-port", type=click.IntRange(1, 65535), help="Serve on another port than 443.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds to listen.")
@click.option("--isolated", "is_isolated", is_flag=True, help="Touch no trust store; `devtls exec` trusts it.")
@click.option("--trust-project", "is_trusted", is_flag=True, help="Trust this devtls.toml as it is now, unasked.")
@click.option("--allow-domain", "allowed", multiple=True, metavar="NAME", help="Let devtls.toml serve a real domain.")
@click.option("--no-new-ca", is_flag=True, help="Fail rather than make a new certificate authority.")
@click.option("-d", "--detach", is_flag=True, help="Go on in the background, once it is ready.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Say what it came to as one JSON document.")
def up(  # noqa: PLR0913, PLR0917 - one parameter an option
    domains: tuple[str, ...],
    app: str | None,
    port: int | None,
    scheme: str,
    replicas: int,
    is_sticky: bool,
    root: str | None,
    is_spa: bool,
    routes: tuple[str, ...],
    redirects: tuple[str, ...],
    headers: tuple[str, ...],
    is_prod_like: bool,
    is_on_lan: bool,
    is_forced: bool,
    is_exact: bool,
    websocket_path: str | None,
    https_port: int | None,
    timeout: float,
    is_isolated: bool,
    is_trusted: bool,
    allowed: tuple[str, ...],
    no_new_ca: bool,
    detach: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Serve DOMAIN over trusted HTTPS, through nginx, from the app that CMD starts; or what devtls.toml says.

    The first run makes a certificate authority for this domain alone, has the browsers trust it and points the name at
    this machine; the next ones find that done. Ctrl+C ends the app, and nginx with the last project.
    """
    from devtls.cli.ask import project_directory
    from devtls.config import App, check_run
    from devtls.config.finding import NAME
    from devtls.config.worktree import find_branch, serve_branch
    from devtls.look import look
    from devtls.model import Scheme
    from devtls.plan import make_plan
    from devtls.system.paths import find_paths
    from devtls.system.ports import find_free_port

    paths = find_paths(os.environ)
    directory = project_directory()
    find_port = find_free_port if dry_run else partial(_claim_port, paths)
    branch = None if is_exact else find_branch(directory)
    run: dict[str, Any] = {"websocket_path": websocket_path, "https_port": https_port}
    run |= {"is_isolated": is_isolated, "is_on_lan": is_on_lan}
    if (directory / NAME).is_file():
        check_run(timeout, websocket_path)
        is_given = None if dry_run else is_trusted
        project = _declared(directory, paths, find_port, allowed, is_given=is_given, is_branch=branch is not None)
        is_prod_like = is_prod_like or project.is_prod_like
        project = replace(project, start_timeout=timeout, is_prod_like=is_prod_like, **run)
    elif is_trusted or allowed:
        word = "--trust-project" if is_trusted else "--allow-domain"
        raise UsageError(f"{word} is about a devtls.toml, and there is none here or above", "Leave it out.")
    else:
        project = _make_project(
            domains,
            paths,
            app=App(app, port, Scheme(scheme), replicas, is_sticky, root, is_spa),
            routes=routes,
            redirects=redirects,
            headers=headers,
            is_prod_like=is_prod_like,
            timeout=timeout,
            directory=directory,
            find_port=find_port,
            **run,
        )
    talk = Talk(sys.stderr if as_json else sys.stdout)
    if branch:
        project = serve_branch(project, branch)
        say([f"This is the worktree of {branch}: {project.domains[0]}. As in the main checkout: --exact"], talk.stream)
    plan_for = partial(make_plan, project, may_create=not no_new_ca)
    if dry_run:
        machine, _gateway = look(project, paths, os.environ, is_interactive=is_interactive(), is_forced=is_forced)
        plan = plan_for(machine.found)
        if as_json:
            say_json(report.plan_facts(plan))
        else:
            say(report.render_plan(plan, talk.style))
        return
    while (first := _become_first_or_connect(paths, directory, talk)) is not None:
        code = _attach(first, project, talk, as_json=as_json)
        if code is not None:
            sys.exit(code)
    setup = _prepare(project, plan_for, paths, talk, as_json=as_json, is_forced=is_forced)
    sys.exit(_run_detached(setup, talk, as_json=as_json) if detach else _run(setup))


def _declared(  # noqa: PLR0913 - what only a devtls.toml asks for
    directory: Path,
    paths: Paths,
    find_port: Callable[[int], int],
    allowed: tuple[str, ...],
    *,
    is_given: bool | None,
    is_branch: bool,
) -> Project:
    """The project of a devtls.toml, once somebody agreed to it; `is_given`: they said so; None: they need not."""
    from devtls.cli.consent import Consent
    from devtls.cli.declared import read_declared, refuse_other_words
    from devtls.config.services import assign_ports

    refuse_other_words(click.get_current_context(), directory)
    file, project = read_declared(directory, paths, os.environ, is_branch=is_branch)
    if is_given is not None:
        Consent(file, project, paths, allowed).require(is_given=is_given)
    services = assign_ports(project.services, find_port)  # last, when nothing can be wrong any more
    return replace(project, services=services)


def _make_project(domains: tuple[str, ...], paths: Paths, **words: Any) -> Project:  # noqa: ANN401 - config.make_project checks them
    from devtls.ca.store import find_authority, load_authorities
    from devtls.config import make_project

    authorities = load_authorities(paths)
    return make_project(
        domains,
        environment=os.environ,
        is_vetted=lambda domain: find_authority(authorities, domain) is not None,
        **words,
    )


def _claim_port(paths: Paths, first: int) -> int:
    """The first port that is free, and that no other `up` has just chosen: the lock is held as long as we serve."""
    from devtls.system.files import try_lock
    from devtls.system.ports import find_free_port

    port = find_free_port(first)
    while try_lock(paths.state / "ports" / str(port)) is None:
        port = find_free_port(port + 1)
    return port


def _become_first_or_connect(paths: Paths, directory: Path, talk: Talk) -> Client | None:
    """Take the project's lock, or connect to who has it; None means that we are the first.

    Guardian and supervisor share the lock, so it is free when both are gone. Until one or the other is possible,
    another `up` is on its way, perhaps waiting for a person to type a password, or ending.
    """
    from devtls.cli.ask import connect
    from devtls.system.files import try_lock

    for _ in _patiently("Another `devtls up` is starting or ending here; waiting for it.", talk):
        if try_lock(paths.project(directory) / "lock") is not None:
            return None
        with contextlib.suppress(NotRunningError):
            return connect(paths, timeout=PATIENCE_FOR_OTHERS)
    raise ConflictError(
        "another `devtls up` has been starting here for ten minutes", "See what it asks for, or end it."
    )


def _patiently(told: str, talk: Talk) -> Iterator[None]:
    """Turn after turn for ten minutes; a person is told after the first second."""
    begun = time.monotonic()
    is_told = False
    while time.monotonic() - begun < PATIENCE_FOR_OTHERS:
        yield
        if not is_told and time.monotonic() - begun > 1:
            say([told], talk.stream)
            is_told = True
        time.sleep(0.02)


def _prepare(  # noqa: PLR0913 - what was asked for
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
        os.close(
            start_lock
        )  # held until here: two that edit the hosts file at once would only make each other begin anew
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

    for _ in _patiently("Another `devtls up` is changing this machine, or asks to; waiting for it.", talk):
        lock = try_lock(path)
        if lock is not None:
            return lock
    raise ConflictError("another `devtls up` has been starting for ten minutes", "See what it asks for, or end it.")


def _run(setup: Setup) -> int:
    """Serve in the foreground, below a guardian; return the exit code."""
    from devtls.nginx.gateway import gateway_pids
    from devtls.session import Session
    from devtls.supervise.guardian import guard
    from devtls.system.processes import SESSION_MARKER

    status = guard(
        lambda: Session(setup).run(),
        marker=(SESSION_MARKER, setup.session),
        excluding=lambda: gateway_pids(setup.paths),
        close=_not_the_guardians(setup),
    )
    if status >= 0:
        return status
    say([f"devtls: the supervisor was killed (signal {-status}); what it ran has been ended"], sys.stderr)
    return 128 - status


def _not_the_guardians(setup: Setup) -> list[int]:
    """What the supervisor alone must hold: a port that the guardian held would be taken while it cleans up."""
    others = (setup.start_lock, setup.document)
    return [*(sock.fileno() for sock in setup.sockets), *(each for each in others if each is not None and each > 2)]  # noqa: PLR2004 - standard error


def _run_detached(setup: Setup, talk: Talk, *, as_json: bool) -> int:
    """Serve in the background, and wait for what it comes to."""
    from devtls.supervise.guardian import detach

    log = setup.folder / "up.log"
    log.unlink(missing_ok=True)

    def run(document: int) -> int:
        style = report.Style()
        return _run(replace(setup, document=document, screen=1, style=style, columns=None))

    _pid, reader = detach(log, run)
    if setup.start_lock is not None:
        os.close(setup.start_lock)
    status = _await_document(reader, setup.project.start_timeout + SETTLING)
    if status is None:
        say(["devtls: it is still starting; this shows how far it is:", "  devtls ps"], sys.stderr)
        return STILL_STARTING
    return _tell_status(status, talk, as_json=as_json)


def _await_document(reader: int, patience: float) -> Message | None:
    """Read one JSON line; None when it does not come in time.

    Raises:
        DevtlsError: everybody who could write it is gone.
    """
    deadline = time.monotonic() + patience
    data = b""
    while b"\n" not in data:
        if not select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        chunk = os.read(reader, 65536)
        if not chunk:
            raise DevtlsError("it ended before it was ready", "See its output:", "  devtls logs")
        data += chunk
    status: Message = json.loads(data)
    return status


def _attach(first: Client, project: Project, talk: Talk, *, as_json: bool) -> int | None:
    """Another `up` of this project runs: wait for what it comes to; None when it ended meanwhile.

    Raises:
        ConflictError: it was asked for something else.
    """
    from devtls.cli.ask import ask
    from devtls.session.setup import words_of

    with first as client, contextlib.suppress(NotRunningError):
        status = ask(client, {"do": "status"})
        if status["asked"] != words_of(project):
            raise ConflictError(
                f"something else is up in this folder, pid {status['pid']}: {' '.join(status['urls'])}",
                "Stop it first, or use another folder:",
                "  devtls down",
            )
        if status["state"] == "stopping":
            client.receive()  # until it hangs up
            return None
        say([f"  already  up, pid {status['pid']}"], talk.stream)
        for service in status["services"]:
            if service["state"] in {"exited", "failed", "blocked", "stopped"}:
                ask(client, {"do": "restart", "service": service["name"]})
        status = ask(client, {"do": "wait"})
        return _tell_status(status, talk, as_json=as_json) if "checks" in status else None
    return None


def _tell_status(status: Message, talk: Talk, *, as_json: bool) -> int:
    """Say what `up` came to; return the exit code."""
    if as_json:
        say_json(status)
    elif status["error"]:
        say([*status["last_lines"], f"{talk.style.bad('devtls:')} {status['error']}"], sys.stderr)
    else:
        say(status["hints"], talk.stream)
        say(report.render_checks([report.parse_check(facts) for facts in status["checks"]], talk.style), talk.stream)
        say([f"{status['urls'][0]} is {status['state']}. Stop it with: devtls down"], talk.stream)
    return int(status["exit_code"])
