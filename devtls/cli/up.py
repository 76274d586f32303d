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
from devtls.cli.preparing import PATIENCE_FOR_OTHERS, patiently, prepare
from devtls.cli.talk import Talk
from devtls.errors import ConflictError, DevtlsError, NotRunningError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from devtls.model import Project
    from devtls.session.setup import Setup
    from devtls.system.channel import Client, Message
    from devtls.system.paths import Paths

STILL_STARTING = 124  # as timeout(1) says it
SETTLING = 30.0  # s beyond the app's own time to listen that a background start is waited for


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
    setup = prepare(project, plan_for, paths, talk, as_json=as_json, is_forced=is_forced)
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

    for _ in patiently("Another `devtls up` is starting or ending here; waiting for it.", talk):
        if try_lock(paths.project(directory) / "lock") is not None:
            return None
        with contextlib.suppress(NotRunningError):
            return connect(paths, timeout=PATIENCE_FOR_OTHERS)
    raise ConflictError(
        "another `devtls up` has been starting here for ten minutes", "See what it asks for, or end it."
    )


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
