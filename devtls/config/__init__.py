"""The words of `devtls up` -> Project: checked, complete, nothing looked up that could change meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from devtls.config.commands import find_program, parse_program, suggest_app
from devtls.config.domains import parse_served_domains
from devtls.config.routes import PREFIX, parse_header, parse_root, parse_routes
from devtls.config.services import RESERVED, assign_ports, replicate
from devtls.errors import UsageError
from devtls.model import Files, Project, Route, Scheme, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SHORTEST_TIMEOUT, LONGEST_TIMEOUT = 0.1, 86400.0  # seconds


class App(Struct, frozen=True):
    """What answers at "/": a command with its replicas, or a folder of files.

    Attributes:
        command: in the shell's word rules; None when files are served.
        port: the one that the first replica is told; None: 3000, else the next free one.
        root: the folder, as typed.
        is_spa: a path without a file gets /index.html, for an app with a router of its own.
    """

    command: str | None = None
    port: int | None = None
    scheme: Scheme = Scheme.HTTP
    replicas: int = 1
    is_sticky: bool = False
    root: str | None = None
    is_spa: bool = False


def make_project(  # noqa: PLR0913 - one parameter an option of `up`
    domains: Sequence[str],
    *,
    app: App,
    routes: Sequence[str] = (),
    redirects: Sequence[str] = (),
    headers: Sequence[str] = (),
    websocket_path: str | None = None,
    https_port: int | None = None,
    timeout: float,
    is_isolated: bool = False,
    is_prod_like: bool = False,
    is_on_lan: bool = False,
    directory: Path,
    environment: Mapping[str, str],
    find_port: Callable[[int], int],
    is_vetted: Callable[[str], bool],
) -> Project:
    """Return the project that the words ask for.

    Args:
        domains: as typed; "*.love.cat" is all names right below love.cat.
        app: what answers at "/".
        routes: "[HOST]/prefix=TARGET": a port, an address, a URL or a socket of somebody else's server, where a slash
            at the end takes the prefix off; a folder; or a command.
        redirects: "[HOST]/prefix=/elsewhere", "HOST=love.cat".
        headers: "Name: value".
        websocket_path: where the WebSocket endpoint is.
        https_port: instead of 443.
        timeout: seconds that the app may take to listen.
        is_isolated: touch no store.
        is_prod_like: with the limits that nginx comes with.
        is_on_lan: also on this machine's own networks.
        directory: where it runs.
        environment: where programs are looked up (PATH).
        find_port: returns the first free port from its argument on.
        is_vetted: whether a domain was accepted before; reading the public suffix list costs 45 ms.

    Raises:
        UsageError: the words are wrong.
        CommandNotFoundError: a command is not there.
    """
    if not domains:
        raise UsageError("no domain was named", "Name the domain to serve, such as:", "  devtls up love.cat --app …")
    _check_app(app, domains[0], directory)
    names = parse_served_domains(domains, is_vetted)
    check_run(timeout, websocket_path)
    wanted = parse_routes(routes, redirects, names, directory)
    parsed_headers = tuple(map(parse_header, headers))
    root = Files(parse_root(app.root, directory), "index.html" if app.is_spa else "") if app.root else None
    name_of = _names_of([route for route in wanted if isinstance(route.target, str)])
    commands = {} if app.command is None else {"web": app.command}
    commands |= {name_of[route]: route.target for route in wanted if isinstance(route.target, str)}
    programs = {name: parse_program(text) for name, text in commands.items()}
    for argv, assigned in programs.values():
        find_program(argv[0], directory, {**environment, **assigned})
    services: list[Service] = []
    for name, (argv, assigned) in programs.items():
        base = Service(name, argv, 0, directory, assigned)
        if name == "web":
            base = replace(base, port=app.port or 0, scheme=app.scheme)
        services += replicate(base, app.replicas, is_sticky=app.is_sticky) if name == "web" else [base]
    made = [Route("/", root or "web")]
    made += [replace(each, target=name_of[each]) if each in name_of else each for each in wanted]
    return Project(
        directory=directory,
        domains=names,
        services=assign_ports(services, find_port),  # last, when nothing can be wrong any more
        routes=tuple(made),
        websocket_path=websocket_path,
        https_port=https_port,
        app_port=app.port,
        start_timeout=timeout,
        is_isolated=is_isolated,
        headers=parsed_headers,
        is_prod_like=is_prod_like,
        is_on_lan=is_on_lan,
    )


def check_run(timeout: float, websocket_path: str | None) -> None:
    """See that the words about this run can be followed.

    Raises:
        UsageError: they cannot.
    """
    if not SHORTEST_TIMEOUT <= timeout <= LONGEST_TIMEOUT:  # so is nan
        raise UsageError(f"{timeout} is not a time that one can wait", "Give --timeout in seconds, up to a day.")
    if websocket_path is not None and not PREFIX.fullmatch(websocket_path.split("?")[0]):
        raise UsageError(f"{websocket_path!r} is not a path", "Give the path of the WebSocket, such as --ws /chat")


def _check_app(app: App, domain: str, directory: Path) -> None:
    if app.command and app.root:
        raise UsageError("--app and --root both answer at /", "Take one of them, and give the other one a --route.")
    if not app.command and not app.root:
        raise UsageError(
            "no app was named",
            "Give the command that starts it, or the folder whose files are served:",
            f'  devtls up {domain} --app "{suggest_app(directory)}"',
            f"  devtls up {domain} --root dist",
        )
    if app.is_spa and not app.root:
        raise UsageError(
            "--spa is about a folder of files", "Name the folder, too:", f"  devtls up {domain} --root dist --spa"
        )
    if app.root and (app.replicas > 1 or app.is_sticky or app.port or app.scheme is not Scheme.HTTP):
        raise UsageError("--port, --replicas, --sticky and --scheme are about an --app", "Leave them out.")
    if app.is_sticky and app.replicas == 1:
        raise UsageError("--sticky is about several replicas", "Say how many:", "  --replicas 3 --sticky")


def _names_of(routes: Sequence[Route]) -> dict[Route, str]:
    """The service of each route, no two alike: /api/v2 -> api-v2, api.love.cat/ -> api."""
    names: dict[Route, str] = {}
    for route in routes:
        name = route.prefix.strip("/").replace("/", "-").lower() or route.host.partition(".")[0]
        while name in {"web", *RESERVED, *names.values()}:
            name += "-2"
        names[route] = name
    return names
