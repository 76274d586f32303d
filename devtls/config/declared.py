"""What devtls.toml declares -> Project: the same parsers as for the words of `devtls up`, and all mistakes at once."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from devtls.config.commands import CommandNotFoundError, find_program, parse_program
from devtls.config.domains import parse_served_domain
from devtls.config.keys import TARGETS, spell_path
from devtls.config.routes import (
    find_folder,
    make_header,
    parse_destination,
    parse_prefix,
    parse_server,
    see_that_nginx_can_name,
)
from devtls.config.services import RESERVED, replicate
from devtls.errors import FileError, Problem, UsageError
from devtls.model import DomainSettings, Files, NginxText, Project, Route, Scheme, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from devtls.config.keys import DomainKeys, RouteKeys, ServiceKeys
    from devtls.config.project_file import ProjectFile
    from devtls.config.toml_lines import Path as KeyPath
    from devtls.model import NginxContext, Target

SERVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")  # it names a log file, and is read at each line
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
FALLBACK = re.compile(r"(?!.*(?:^|/)\.)[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*")
NOTHING_CURE = (
    "Give a service, or a route to a folder of files:",
    "  [services.web]",
    '  command = "node app.js"',
)


def declare_project(
    file: ProjectFile,
    *,
    environment: Mapping[str, str] | None,
    is_vetted: Callable[[str], bool],
    check_nginx: Callable[[NginxText, NginxContext], Sequence[Problem]],
    is_branch: bool = False,
) -> Project:
    """Return the project that the file declares; services whose port is to be chosen have 0.

    Args:
        file: what was read.
        environment: where programs are looked up (PATH); None: they are not.
        is_vetted: whether a domain was accepted before.
        check_nginx: what is wrong with a user's own directives for a server or a location.
        is_branch: it is for a linked worktree, where each fixed port may be the main checkout's.

    Raises:
        FileError: with all that is wrong.
        CommandNotFoundError: nothing else is wrong, and a program is not there.
    """
    reader = _Reader(file, environment, is_vetted, check_nginx)
    settings = reader.domains()
    names = tuple(name for each in settings for name in each.hosts)
    services = reader.services()
    routes = reader.routes(settings, tuple(dict.fromkeys(each.upstream for each in services)))
    if not reader.problems:
        reader.completeness(settings, routes)
    if reader.problems:
        raise FileError(reader.problems)
    if reader.missing:
        raise reader.missing[0]
    fixed = {} if is_branch else {each.name: each.port for each in services if each.port}
    return Project(
        directory=file.directory,
        domains=tuple(sorted(names, key=lambda name: "*" in name)),
        services=tuple(replace(each, port=0) if is_branch else each for each in services),
        routes=tuple(routes),
        is_prod_like=file.keys.gateway.prod_like,
        settings=tuple(settings),
        fixed_ports=fixed,
    )


class _Reader:
    """Reads the parts one after the other; what is wrong is noted and left out."""

    def __init__(
        self,
        file: ProjectFile,
        environment: Mapping[str, str] | None,
        is_vetted: Callable[[str], bool],
        check_nginx: Callable[[NginxText, NginxContext], Sequence[Problem]],
    ) -> None:
        self.file = file
        self.environment = environment
        self.is_vetted = is_vetted
        self.check_nginx = check_nginx
        self.problems: list[Problem] = []
        self.missing: list[CommandNotFoundError] = []

    def complain(self, path: KeyPath, fact: str, *cure: str) -> None:
        self.problems.append(Problem(f"{self.file.origin_of(path)}: {spell_path(path)}", fact, cure))

    @contextlib.contextmanager
    def at(self, path: KeyPath) -> Iterator[None]:
        """Whatever is wrong inside is wrong with this key."""
        try:
            yield
        except UsageError as error:
            self.complain(path, error.message, *_without_words(error.cure))

    # Domains

    def domains(self) -> list[DomainSettings]:
        """The names of each domain, and what holds for them."""
        made: list[DomainSettings] = []
        if not self.file.keys.domains:
            self.complain(("domains",), "no domain is named", 'Begin one with [domains."love.test"].')
        for key, keys in self.file.keys.domains.items():
            path: KeyPath = ("domains", key)
            names = [name for where, text in _names_of(key, keys) if (name := self.name(where, text))]
            self.hosts(path, names, keys)
            for name in names:
                if any(name in each.hosts for each in made):
                    self.complain(path, f"{name} is named by two domains", "Name it once.")
            headers = self.headers((*path, "headers"), keys.headers)
            made.append(DomainSettings(tuple(dict.fromkeys(names)), headers, self.nginx(path, keys.nginx, "server")))
        names = [name for each in made for name in each.hosts]
        if names and all("*" in name for name in names):
            bare = names[0].removeprefix("*.")
            self.complain(
                ("domains", next(iter(self.file.keys.domains))),
                f"{names[0]} is a wildcard, and no browser can be sent there",
                f'Name one below it, too: hosts = ["shop.{bare}"]',
            )
        return made

    def name(self, path: KeyPath, text: str) -> str:
        """A domain as it is served; empty when it is none."""
        with self.at(path):
            return parse_served_domain(text, self.is_vetted)
        return ""

    def hosts(self, path: KeyPath, names: Sequence[str], keys: DomainKeys) -> None:
        """See that each of `hosts` is a concrete name that belongs below this domain."""
        above = {name.removeprefix("*.") for name in names}
        for number, text in enumerate(keys.hosts):
            name, here = text.lower().rstrip("."), (*path, "hosts", number)
            if "*" in text:
                self.complain(here, f"{text} is no name that can be resolved", "Put it among the aliases.")
            elif text.isascii() and not any(name.endswith(f".{each}") for each in above):
                self.complain(here, f"{text} is not below {path[1]}", "Put it among the aliases.")

    def headers(self, path: KeyPath, wanted: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        made = []
        for name, value in wanted.items():
            with self.at((*path, name)):
                made.append(make_header(name, value))
        return tuple(made)

    def nginx(self, path: KeyPath, text: str, context: NginxContext) -> NginxText | None:
        """The user's own directives, with the line of their first one."""
        if not text:
            return None
        name, place = self.file.places[*path, "nginx"]
        own = NginxText(text, name, place.text_line)
        self.problems += self.check_nginx(own, context)
        return own

    # Services

    def services(self) -> list[Service]:
        """Each service, with its replicas."""
        made: list[Service] = []
        for name, keys in self.file.keys.services.items():
            path: KeyPath = ("services", name)
            if not SERVICE_NAME.fullmatch(name) or name in RESERVED:
                self.complain(path, f"{name!r} cannot be the name of a service", "Call it web, api or worker-2.")
            if keys.sticky and keys.replicas == 1:
                self.complain((*path, "sticky"), "this is about several replicas", "Say how many: replicas = 3")
            service = self.service(path, name, keys)
            made += replicate(service, keys.replicas, is_sticky=keys.sticky)
        self.uniqueness(made)
        return made

    def service(self, path: KeyPath, name: str, keys: ServiceKeys) -> Service:
        directory = self.folder((*path, "cwd"), keys.cwd)
        for variable in keys.env:
            if not VARIABLE.fullmatch(variable):
                self.complain((*path, "env", variable), "this is not the name of a variable", "Call it MY_NAME.")
        argv: tuple[str, ...] = ()
        assigned: dict[str, str] = {}
        with self.at((*path, "command")):
            argv, assigned = parse_program(keys.command) if isinstance(keys.command, str) else (tuple(keys.command), {})
            self.program((*path, "command"), argv[0], directory, {**keys.env, **assigned})
        port = keys.port if isinstance(keys.port, int) else 0
        return Service(name, argv, port, directory, {**keys.env, **assigned}, scheme=Scheme(keys.scheme))

    def program(self, path: KeyPath, name: str, directory: Path, own: Mapping[str, str]) -> None:
        if self.environment is None:
            return
        try:
            find_program(name, directory, {**self.environment, **own})
        except CommandNotFoundError as error:
            origin = f"{self.file.origin_of(path)}: {spell_path(path)}"
            self.missing.append(CommandNotFoundError(f"{origin}: {error.message}", *error.cure))

    def uniqueness(self, services: Sequence[Service]) -> None:
        for number, service in enumerate(services):
            for other in services[:number]:
                path: KeyPath = ("services", service.upstream)
                if service.name == other.name:
                    self.complain(path, f"two services are called {service.name}", "Call one of them otherwise.")
                if service.port and service.port == other.port:
                    self.complain((*path, "port"), f"{other.upstream} has {service.port}, too", "Take another port.")

    def folder(self, path: KeyPath, text: str) -> Path:
        """A folder of the project; links that lead out of it are followed, and refused."""
        project = self.file.directory
        with self.at(path):
            root = find_folder(text, project)
            if root.is_relative_to(project.resolve()):
                return root
            self.complain(path, f"{text} is outside the project", f"Name a folder in {project}.")
        return project

    # Routes

    def routes(self, settings: Sequence[DomainSettings], services: Sequence[str]) -> list[Route]:
        """Each route; one for a domain is also for what is served like it, unless that has its own."""
        wanted = self.file.keys.routes
        if not wanted:
            return self.only_route(services)
        names = [name for each in settings for name in each.hosts]
        made = [self.route(("routes", number), keys, names, services) for number, keys in enumerate(wanted)]
        seen: set[tuple[str, str]] = set()
        for number, route in enumerate(made):
            if route.prefix and (route.host, route.prefix) in seen:
                at = f" at {route.host}" if route.host else ""
                self.complain(("routes", number), f"{route.prefix}{at} has a route already", "Give each path once.")
            seen.add((route.host, route.prefix))
        for host, alike in _served_like(settings):
            for route in [route for route in made if route.host == host]:
                new = [name for name in alike if (name, route.prefix) not in seen]
                made += [replace(route, host=name) for name in new]
                seen |= {(name, route.prefix) for name in new}
        return made

    def only_route(self, services: Sequence[str]) -> list[Route]:
        if len(services) == 1:
            return [Route("/", services[0])]
        if not services:
            self.problems.append(Problem(self.file.origin_of(()), "there is nothing to serve", NOTHING_CURE))
        else:
            lines = [
                line for number, name in enumerate(services) for line in _lines_of_route(name, is_first=not number)
            ]
            fact = f"there are {len(services)} services and no routes"
            cure = ("Say what answers where:", *lines)
            self.problems.append(Problem(self.file.origin_of(("services",)), fact, cure))
        return []

    def route(self, path: KeyPath, keys: RouteKeys, names: Sequence[str], services: Sequence[str]) -> Route:
        prefix = parse_prefix(keys.path)
        if prefix is None:
            self.complain((*path, "path"), f"{keys.path!r} is not a path", 'Begin it with a slash: path = "/api"')
        host = keys.domain.lower().rstrip(".")
        if host and not host.isascii():
            host = self.name((*path, "domain"), keys.domain)
        if host and host not in names:
            cure = f"Name one of {', '.join(names)}, or add it to [domains]."
            self.complain((*path, "domain"), f"{keys.domain} is no domain of this project", cure)
        chosen = [name for name in TARGETS if getattr(keys, name)]
        if len(chosen) != 1:
            fact = f"it has {' and '.join(chosen)}" if chosen else "it leads nowhere"
            self.complain(path, fact, f"Give exactly one of {', '.join(TARGETS)}.")
        target, is_stripped = self.target(path, keys, names, services)
        self.manners(path, keys, chosen)
        is_passed_on = not {"root", "redirect"} & {*chosen}
        own = self.nginx(path, keys.nginx, "location") if is_passed_on else None
        return Route(prefix or "", target, host, is_stripped or keys.strip, own)

    def target(
        self, path: KeyPath, keys: RouteKeys, names: Sequence[str], services: Sequence[str]
    ) -> tuple[Target, bool]:
        """What answers, and whether its words say that the path is taken off."""
        if keys.to:
            with self.at((*path, "to")):
                if found := parse_server(keys.to):
                    return found
                cure = (
                    "Such as 8080, 127.0.0.1:8080, https://localhost:8443, grpc://127.0.0.1:50051, unix:/run/app.sock"
                )
                self.complain((*path, "to"), f"{keys.to!r} is not an address on this machine", cure)
        elif keys.root:
            root = self.folder((*path, "root"), keys.root)
            with self.at((*path, "root")):
                see_that_nginx_can_name(root)
            return Files(root, keys.fallback), False
        elif keys.redirect:
            if destination := parse_destination(keys.redirect, names):
                return destination, False
            cure = "Give a path, a domain of this project or an https URL."
            self.complain((*path, "redirect"), f"{keys.redirect!r} is nowhere to be sent to", cure)
        elif keys.service and keys.service not in services:
            cure = f"There {'is' if len(services) == 1 else 'are'} {', '.join(services) or 'no services'}."
            self.complain((*path, "service"), f"there is no service {keys.service}", cure)
        return keys.service, False

    def manners(self, path: KeyPath, keys: RouteKeys, chosen: Sequence[str]) -> None:
        """What goes with some targets only."""
        if keys.fallback and "root" not in chosen:
            self.complain((*path, "fallback"), "this is about the files of a root", "Leave it out.")
        elif keys.fallback and not FALLBACK.fullmatch(keys.fallback):
            cure = 'Name it from there: fallback = "index.html"'
            self.complain((*path, "fallback"), f"{keys.fallback!r} is not a file below root", cure)
        if keys.strip and not {"service", "to"} & {*chosen}:
            self.complain((*path, "strip"), "this is about a service", "Leave it out.")
        if keys.nginx and {"root", "redirect"} & {*chosen}:
            cure = "Write a location for the domain: nginx = 'location /docs/ { root public; expires 1h; }'"
            self.complain((*path, "nginx"), "directives of a route are for one that leads to a service", cure)

    def completeness(self, settings: Sequence[DomainSettings], routes: Sequence[Route]) -> None:
        """See that something answers at / of each name."""
        for key, each in zip(self.file.keys.domains, settings, strict=True):
            for name in each.hosts:
                if not any(route.prefix == "/" and route.is_for(name) for route in routes):
                    fact = f"nothing answers at / of {name}"
                    self.complain(("domains", key), fact, 'Add one of [[routes]] with path = "/".')


def _names_of(key: str, keys: DomainKeys) -> list[tuple[KeyPath, str]]:
    """Each name of a domain, and where it is written."""
    path: KeyPath = ("domains", key)
    aliases: list[tuple[KeyPath, str]] = [((*path, "aliases", n), text) for n, text in enumerate(keys.aliases)]
    return [(path, key), *aliases, *(((*path, "hosts", n), text) for n, text in enumerate(keys.hosts))]


def _served_like(settings: Sequence[DomainSettings]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each domain with the names that its routes are for, too; wildcards first, which are nearer to those names."""
    for each in settings:
        for name in each.hosts:
            if "*" in name:
                below = (host for host in each.hosts if "*" not in host and host.partition(".")[2] == name[2:])
                yield name, tuple(below)
    yield from ((each.hosts[0], each.hosts[1:]) for each in settings if each.hosts)


def _lines_of_route(service: str, *, is_first: bool) -> list[str]:
    return ["  [[routes]]", f'  path = "/{"" if is_first else service}"', f'  service = "{service}"']


def _without_words(cure: Sequence[str]) -> list[str]:
    """A cure without the words of the command line, which say the same in another way."""
    kept = [line for line in cure if not line.startswith(("  devtls ", "  --"))]
    return [*kept[:-1], re.sub(":$", ".", kept[-1])] if kept else []
