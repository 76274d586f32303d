"""The words of `devtls up` -> Project: checked, complete, nothing looked up that could change meanwhile."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
from typing import TYPE_CHECKING

from devtls.errors import DevtlsError, UsageError
from devtls.model import (
    LOCAL_NAMES,
    Endpoint,
    Project,
    Route,
    Service,
    is_address,
    is_local,
    is_loopback,
    parse_domain,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from devtls.model import Notice

# Names that are nobody's on the internet, or a network's own: RFC 6761, 6762, 7686, 8375, 9476, and ICANN's internal.
SPECIAL_USE = ("localhost", "test", "example", "invalid", "internal", "home.arpa", "local", "onion", "alt")
ELSEWHERE = ("internal", "home.arpa", "local")  # of these, those that are real names in somebody's network
FIRST_PORT = 3000
HIGHEST_PORT = 65535
SHORTEST_TIMEOUT, LONGEST_TIMEOUT = 0.1, 86400.0  # seconds
SHELL_WORDS = "();<>|&"  # what a shell would act on, wherever it stands outside quotes
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
PREFIX = re.compile(r"/[A-Za-z0-9._~!&'()*+,=:@/-]*")  # RFC 3986 pchar, less what nginx or a reader would stumble on


class CommandNotFoundError(DevtlsError):
    """The program that a service should run is not there; shells say 127."""

    exit_code = 127


def make_project(  # noqa: PLR0913 - one parameter an option of `up`
    domains: Sequence[str],
    *,
    app: str | None,
    port: int | None,
    routes: Sequence[str],
    websocket_path: str | None,
    https_port: int | None,
    timeout: float,
    is_isolated: bool = False,
    directory: Path,
    environment: Mapping[str, str],
    find_port: Callable[[int], int],
    is_vetted: Callable[[str], bool],
) -> Project:
    """Return the project that the words ask for.

    Args:
        domains: as typed.
        app: the command, in the shell's word rules.
        port: the port the app is told; None: 3000, else the next free one.
        routes: "/prefix=PORT", "/prefix=HOST:PORT" or "/prefix=COMMAND".
        websocket_path: where the WebSocket endpoint is.
        https_port: instead of 443.
        timeout: seconds that the app may take to listen.
        is_isolated: touch no store.
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
    if not app:
        raise UsageError(
            "no app was named",
            "Give the command that starts it:",
            f'  devtls up {domains[0]} --app "{suggest_app(directory)}"',
        )
    names = tuple(dict.fromkeys(parse_own_domain(text, is_vetted) for text in domains))
    if not SHORTEST_TIMEOUT <= timeout <= LONGEST_TIMEOUT:  # so is nan
        raise UsageError(f"{timeout} is not a time that one can wait", "Give --timeout in seconds, up to a day.")
    targets = _parse_routes(routes)
    if websocket_path is not None and not PREFIX.fullmatch(websocket_path.split("?")[0]):
        raise UsageError(f"{websocket_path!r} is not a path", "Give the path of the WebSocket, such as --ws /chat")
    name_of = _names_of([prefix for prefix, target in targets.items() if isinstance(target, str)])
    commands = {"web": app, **{name_of[prefix]: text for prefix, text in targets.items() if isinstance(text, str)}}
    programs = {name: _parse_program(text, directory, environment) for name, text in commands.items()}
    services: list[Service] = []
    for name, (argv, assigned) in programs.items():  # ports are claimed last, when nothing can be wrong any more
        above = services[-1].port % HIGHEST_PORT + 1 if services else FIRST_PORT
        number = port if port and not services else find_port(max(above, FIRST_PORT))
        services.append(Service(name, argv, number, directory, assigned))
    made = [Route("/", "web")]
    made += [Route(prefix, name_of[prefix] if isinstance(to, str) else to) for prefix, to in targets.items()]
    return Project(
        directory=directory,
        domains=names,
        services=tuple(services),
        routes=tuple(made),
        websocket_path=websocket_path,
        https_port=https_port,
        app_port=port,
        start_timeout=timeout,
        is_isolated=is_isolated,
    )


def suggest_app(directory: Path) -> str:
    """Return a command that plausibly starts the project in a directory, for a hint."""
    try:
        scripts = json.loads((directory / "package.json").read_text("utf-8")).get("scripts", {})
    except (OSError, ValueError, AttributeError):
        scripts = {}
    for name in ("dev", "start"):
        if isinstance(scripts, dict) and name in scripts:
            return f"npm run {name}"
    for file, command in (
        ("manage.py", "python manage.py runserver"),
        ("app.js", "node app.js"),
        ("server.js", "node server.js"),
        ("app.py", "python app.py"),
        ("bin/rails", "bin/rails server"),
    ):
        if (directory / file).is_file():
            return command
    return "node app.js"


def parse_own_domain(text: str, is_vetted: Callable[[str], bool]) -> str:
    """A domain that may be one's own: a public suffix is everybody's."""
    domain = parse_domain(text)
    if is_local(domain):
        if domain == "test":
            raise UsageError("test is a whole top-level domain", "Take a name below it:", "  devtls up love.test …")
        return domain
    if "." not in domain:
        raise UsageError(f"{domain} is a top-level domain", "Take a name below .test:", f"  devtls up {domain}.test …")
    if not is_vetted(domain) and is_public_suffix(domain):
        raise UsageError(
            f"{domain} is a public suffix: a certificate authority for it could sign other people's sites",
            "Take a name below it:",
            f"  devtls up love.{domain} …",
        )
    return domain


def is_public_suffix(domain: str) -> bool:
    """Whether people register names directly below this one (publicsuffix.org, the list in publicsuffixlist)."""
    from publicsuffixlist import PublicSuffixList

    return bool(PublicSuffixList(accept_unknown=False).is_public(domain))


def real_domain_notice(domain: str) -> Notice | None:
    """What it means to serve a name that may be a real one elsewhere; nothing for names that are nobody's."""
    special = next((name for name in SPECIAL_USE if domain == name or domain.endswith(f".{name}")), None)
    if special in ELSEWHERE:
        return f"{domain} may be a real name in your network; while it is served here, that one is not reached", ()
    if special or is_address(domain) or not has_public_suffix(domain):
        return None
    fact = (
        f"{domain} may be a real site: the browser sends its cookies to what runs here, obeys its HSTS, and keeps the"
        " service workers that the app here installs"
    )
    return fact, (f"{domain.partition('.')[0]}.test has none of that.",)


def has_public_suffix(domain: str) -> bool:
    """Whether the name can be registered on the internet (the ICANN part of publicsuffix.org's list)."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(accept_unknown=False, only_icann=True).publicsuffix(domain) is not None


def parse_certificate_names(texts: Sequence[str], is_vetted: Callable[[str], bool]) -> tuple[str, ...]:
    """Return host names, wildcards and addresses in their canonical form, each once.

    Raises:
        UsageError: with the one at fault.
    """
    return tuple(dict.fromkeys(_parse_certificate_name(text, is_vetted) for text in texts))


def _parse_certificate_name(text: str, is_vetted: Callable[[str], bool]) -> str:
    import ipaddress

    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(text.strip().removeprefix("[").removesuffix("]")))
    if "@" in text or "://" in text:
        kind = "an e-mail address" if "@" in text else "a URL"
        raise UsageError(
            f"{text!r} is {kind}, and the authorities of devtls sign host names and addresses only",
            "Name the host alone:",
            f"  devtls cert {text.rpartition('@')[2].rpartition('//')[2].partition('/')[0].partition(':')[0]}",
        )
    is_wildcard = text.startswith("*.")
    rest = text.removeprefix("*.")
    if is_wildcard and rest in LOCAL_NAMES:
        return text
    return ("*." if is_wildcard else "") + parse_own_domain(rest, is_vetted)


def wildcard_notice(name: str) -> Notice | None:
    """What to know of a wildcard right below a top-level name: most clients take it for too wide."""
    rest = name.removeprefix("*.")
    if rest == name or "." in rest:
        return None
    return (f"most clients refuse {name}: they take no wildcard this wide", (f"Take one below: *.shop.{rest}",))


def authority_names(names: Sequence[str]) -> tuple[str, ...]:
    """What an authority has to cover so that it can sign all of these names, and no more than that."""
    hosts = [name.removeprefix("*.") for name in names if not is_address(name)]
    addresses = [name for name in names if is_address(name) and not is_loopback(name)]
    custom = sorted({host for host in hosts if not is_local(host)}, key=lambda host: (host.count("."), host))
    apart = [host for host in custom if not any(host.endswith(f".{other}") for other in custom)]
    is_for_local = any(map(is_local, hosts)) or not (apart or addresses)
    return (*apart, *(LOCAL_NAMES if is_for_local else ()), *dict.fromkeys(addresses))


def _names_of(prefixes: Sequence[str]) -> dict[str, str]:
    """The service of each route, no two alike: /api/v2 -> api-v2."""
    names: dict[str, str] = {}
    for prefix in prefixes:
        name = prefix.strip("/").replace("/", "-").lower()
        while name in {"web", "devtls", *names.values()}:
            name += "-2"
        names[prefix] = name
    return names


def _parse_program(
    text: str, directory: Path, environment: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words of a command, and the variables that it sets in front of them."""
    words = parse_command(text)
    assigned = {}
    while words and ASSIGNMENT.fullmatch(words[0]):
        variable, _, value = words.pop(0).partition("=")
        assigned[variable] = value
    if not words:
        raise UsageError(f"the command {text!r} is empty", "Give a program and its arguments: node app.js")
    path = assigned.get("PATH", environment.get("PATH"))
    program = words[0] if "/" in words[0] else shutil.which(words[0], path=path)
    if program is None or shutil.which(directory / program) is None:
        raise CommandNotFoundError(
            f"there is no program {words[0]!r}",
            "Install it, or correct the command; this finds it when it is there:",
            f"  command -v {shlex.quote(words[0])}",
        )
    return tuple(words), assigned


def parse_command(text: str) -> list[str]:
    """Split a command in the shell's word rules; no shell ever sees it.

    Raises:
        UsageError: a quote is open, or it needs a shell.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the command {text!r} cannot be read: {error}", "Close the quotes.") from error
    shell = _find_shell_word(text)
    if shell:
        raise UsageError(
            f"the command {text!r} has {shell}, which only a shell understands, and none is used",
            "Ask for one:",
            f"  --app {shlex.quote(f'sh -c {shlex.quote(text)}')}",
        )
    return words


def _find_shell_word(text: str) -> str:
    """The first character that a shell would act on: outside quotes, and not behind a backslash."""
    quote = ""
    characters = iter(text)
    for character in characters:
        if character == "\\" and quote != "'":
            next(characters, "")
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in SHELL_WORDS:
            return character
    return ""


def _parse_routes(texts: Sequence[str]) -> dict[str, str | Endpoint]:
    """The target of each path prefix, in the order given."""
    targets: dict[str, str | Endpoint] = {}
    for text in texts:
        prefix, target = _parse_route(text)
        if prefix in targets:
            raise UsageError(f"the route {prefix} is given twice", "Give each path prefix once.")
        targets[prefix] = target
    return targets


def _parse_route(text: str) -> tuple[str, str | Endpoint]:
    prefix, equals, target = text.partition("=")
    if not equals or not target.strip() or not PREFIX.fullmatch(prefix):
        raise UsageError(
            f"{text!r} is not a route",
            "Give a path and a port, an address or a command:",
            "  --route /api=8080",
            '  --route "/api=python api.py"',
        )
    prefix = prefix.rstrip("/") or "/"
    if prefix == "/":
        raise UsageError("the route / is the app's", "Give the app with --app, or another path.")
    address = re.fullmatch(r"(?:(127\.\d+\.\d+\.\d+|localhost|\[::1\]):)?(\d{1,5})", target.strip())
    if not address:
        return prefix, target
    host = {None: "127.0.0.1", "localhost": "127.0.0.1", "[::1]": "::1"}.get(address[1], address[1])
    if not 0 < int(address[2]) <= HIGHEST_PORT:
        raise UsageError(f"{address[2]} is not a port", "Ports are 1 to 65535.")
    return prefix, Endpoint(host, int(address[2]))
