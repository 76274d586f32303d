"""The TLS clients that devtls knows: what each is called, whose roots it takes, and how to have it ask for a page.

Each verifies the certificate for the name and goes to 127.0.0.1, whatever the name resolves to. Whether it was content
is seen by who was asked (trust.listener), so nothing that it says is read.
"""

from __future__ import annotations

import enum
import shutil
from typing import TYPE_CHECKING

from msgspec import Struct, field

from devtls.trust import client_programs
from devtls.trust.nss_places import CHROMIUMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from devtls.trust.listener import Target

FIREFOXES = ("firefox", "firefox-esr", "firefox-developer-edition", "librewolf")
FIREFOX_DATABASE = ("cert9.db", "key4.db", "pkcs11.txt")
# Of the user's environment these would lead a client elsewhere, or into the project's code.
LEFT_OUT = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
# What keeps Chromium from calling its maker; nothing here says anything about certificates.
CHROMIUM_FLAGS = (
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
)


class Roots(enum.StrEnum):
    """Where a client takes its trusted roots from, unless it is told otherwise."""

    SYSTEM = "system store"
    OWN = "its own list"  # compiled in: no store that devtls could change
    JAVA = "Java's store"
    CHROMIUM = "the NSS database of the user"
    FIREFOX = "the NSS database of its profile"


class Scene(Struct, frozen=True):
    """What a client is asked with.

    Attributes:
        program: its path.
        targets: where it is to go.
        scratch: a directory for this client alone, its working directory too.
        is_root: whether it is started by root; a browser's sandbox then refuses.
        profile: a Firefox profile, whose certificates are to be tried.
    """

    program: str
    targets: tuple[Target, ...]
    scratch: Path
    is_root: bool = False
    profile: Path | None = None


class Call(Struct, frozen=True):
    """A program to be started, for one target or several.

    Attributes:
        environment: added to the user's.
        files: text to write into the scratch directory before, by name.
        copies: files to copy into it, by name; one that is missing is left out.
    """

    argv: tuple[str, ...]
    targets: tuple[Target, ...]
    stdin: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, Path] = field(default_factory=dict)


class Client(Struct, frozen=True):
    """A kind of TLS client.

    Attributes:
        name: what people call it.
        programs: the programs that are it, the first one found counts.
        roots: whose it trusts, unless told otherwise.
        calls: pure: how to have it ask.
        patience: seconds it may take; a cold start of a browser is slow.
        takes_addresses: whether it verifies a certificate for an IP address under authorities that limit addresses.
    """

    name: str
    programs: tuple[str, ...]
    roots: Roots
    calls: Callable[[Scene], tuple[Call, ...]]
    patience: float = 10.0
    takes_addresses: bool = True

    @property
    def is_browser(self) -> bool:
        """Whether it is slow to start, and has a store of its user."""
        return self.roots in {Roots.CHROMIUM, Roots.FIREFOX}


class FoundClient(Struct, frozen=True):
    """A client that is on this machine, and where."""

    client: Client
    program: str


class Trusting(Struct, frozen=True):
    """Which clients were asked whether they trust something, and which of them do; both by name."""

    asked: tuple[str, ...] = ()
    still: tuple[str, ...] = ()


def find_clients(environment: Mapping[str, str]) -> tuple[FoundClient, ...]:
    """Return those that are on the PATH, in the order of the table."""
    path = environment.get("PATH")
    found = ((client, shutil.which(name, path=path)) for client in CLIENTS for name in client.programs)
    first: dict[str, FoundClient] = {}
    for client, program in found:
        if program:
            first.setdefault(client.name, FoundClient(client, program))
    return tuple(first.values())


def environment_for(environment: Mapping[str, str], call: Call) -> dict[str, str]:
    """The user's environment without what would lead the client elsewhere, and with what the call needs."""
    kept = {name: value for name, value in environment.items() if name not in LEFT_OUT}
    return {**kept, **call.environment}


def _request(target: Target) -> bytes:
    return f"GET {target.path} HTTP/1.0\r\n\r\n".encode()


def _triples(targets: Sequence[Target]) -> list[str]:
    return [word for each in targets for word in (each.host, str(each.port), each.path)]


def _curl(scene: Scene) -> tuple[Call, ...]:
    words = (scene.program, "--silent", "--show-error", "--output", "answer", "--noproxy", "*", "--max-time", "10")
    return tuple(
        Call((*words, "--connect-to", f"{each.host}:{each.port}:127.0.0.1:{each.port}", each.url), (each,))
        for each in scene.targets
    )


def _wget(scene: Scene) -> tuple[Call, ...]:
    """It cannot be told where a name leads, so it takes the port for its proxy too."""
    words = (scene.program, "--quiet", "--output-document=answer", "--tries=1", "--timeout=10", "--no-hsts")
    return tuple(
        Call((*words, each.url), (each,), environment={"https_proxy": f"http://127.0.0.1:{each.port}"})
        for each in scene.targets
    )


def _git(scene: Scene) -> tuple[Call, ...]:
    return tuple(
        Call(
            (scene.program, "-c", f"http.proxy=http://127.0.0.1:{each.port}", "ls-remote", each.url),
            (each,),
            environment={"GIT_TERMINAL_PROMPT": "0", "GIT_CEILING_DIRECTORIES": str(scene.scratch.parent)},
        )
        for each in scene.targets
    )


def _openssl(scene: Scene) -> tuple[Call, ...]:
    def verify(target: Target) -> tuple[str, ...]:
        if target.is_address:
            return ("-noservername", "-verify_ip", target.host)
        return ("-servername", target.host, "-verify_hostname", target.host)

    words = (scene.program, "s_client", "-quiet", "-verify_return_error")
    return tuple(
        Call((*words, *verify(each), "-connect", f"127.0.0.1:{each.port}"), (each,), _request(each))
        for each in scene.targets
    )


def _gnutls(scene: Scene) -> tuple[Call, ...]:
    def verify(target: Target) -> tuple[str, ...]:
        name = () if target.is_address else (f"--sni-hostname={target.host}",)
        return (*name, f"--verify-hostname={target.host}")

    return tuple(
        Call((scene.program, *verify(each), f"--port={each.port}", "127.0.0.1"), (each,), _request(each))
        for each in scene.targets
    )


def _python(scene: Scene) -> tuple[Call, ...]:
    argv = (scene.program, "-I", "-c", client_programs.PYTHON, *_triples(scene.targets))
    return (Call(argv, scene.targets),)


def _node(scene: Scene) -> tuple[Call, ...]:
    program = client_programs.NODE.replace("WORDS_FROM", "1")
    return (Call((scene.program, "-e", program, *_triples(scene.targets)), scene.targets),)


def _bun(scene: Scene) -> tuple[Call, ...]:
    program = client_programs.NODE.replace("WORDS_FROM", "2")
    argv = (scene.program, "run", "--no-install", "./ask.cjs", *_triples(scene.targets))
    environment = {"BUN_RUNTIME_TRANSPILER_CACHE_PATH": "0", "DO_NOT_TRACK": "1"}
    return (Call(argv, scene.targets, environment=environment, files={"ask.cjs": program}),)


def _deno(scene: Scene) -> tuple[Call, ...]:
    flags = ("--quiet", "--no-config", "--no-lock", "--no-remote", "--allow-net=127.0.0.1")
    argv = (scene.program, "run", *flags, "ask.js", *_triples(scene.targets))
    environment = {"DENO_DIR": str(scene.scratch / "deno"), "DENO_NO_UPDATE_CHECK": "1"}
    return (Call(argv, scene.targets, environment=environment, files={"ask.js": client_programs.DENO}),)


def _ruby(scene: Scene) -> tuple[Call, ...]:
    argv = (scene.program, "--disable-gems", "-e", client_programs.RUBY, *_triples(scene.targets))
    return (Call(argv, scene.targets),)


def _php(scene: Scene) -> tuple[Call, ...]:
    return (Call((scene.program, "-r", client_programs.PHP, "--", *_triples(scene.targets)), scene.targets),)


def _go(scene: Scene) -> tuple[Call, ...]:
    """The go command is a TLS client written in Go: asking it for a module takes no compiler, and no time."""
    settings = {
        "GOENV": "off",
        "GOFLAGS": "-mod=mod",
        "GONOSUMDB": "*",
        "GOSUMDB": "off",
        "GOTOOLCHAIN": "local",
        "GOVCS": "*:off",
        "GOWORK": "off",
        "GO111MODULE": "on",
        "GOPATH": str(scene.scratch / "go"),
        "GOMODCACHE": str(scene.scratch / "go/mod"),
        "GOCACHE": str(scene.scratch / "go/cache"),
    }
    return tuple(
        Call(
            (scene.program, "list", "-m", "devtls.invalid/ask@v1.0.0"),
            (each,),
            environment={**settings, "GOPROXY": each.url, "HTTPS_PROXY": f"http://127.0.0.1:{each.port}"},
        )
        for each in scene.targets
    )


def _java(scene: Scene) -> tuple[Call, ...]:
    """A JDK runs a source file; a JRE cannot, and says so."""
    flags = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
    argv = (scene.program, *flags, "Ask.java", *_triples(scene.targets))
    return (Call(argv, scene.targets, files={"Ask.java": client_programs.JAVA}),)


def _start_page(targets: Sequence[Target]) -> str:
    """A page that asks for every target: a browser opens one page, and a refused one would end there."""
    return "<!doctype html><meta charset=utf-8>" + "".join(f'<img src="{each.url}" alt="">' for each in targets)


def _chromium(scene: Scene) -> tuple[Call, ...]:
    rules = ", ".join(f"MAP {host} 127.0.0.1" for host in dict.fromkeys(each.host for each in scene.targets))
    flags = (f"--user-data-dir={scene.scratch / 'profile'}", f"--host-resolver-rules={rules}")
    sandbox = ("--no-sandbox",) if scene.is_root else ()
    argv = (scene.program, *CHROMIUM_FLAGS, *sandbox, *flags, (scene.scratch / "start.html").as_uri())
    return (Call(argv, scene.targets, files={"start.html": _start_page(scene.targets)}),)


def _firefox(scene: Scene) -> tuple[Call, ...]:
    """Its settings go into a scratch profile, with the certificates of the user's."""
    start = (scene.scratch / "start.html").as_uri()
    argv = (scene.program, "--headless", "--no-remote", "--new-instance", "--profile", str(scene.scratch), start)
    return (
        Call(
            argv,
            scene.targets,
            environment={"MOZ_CRASHREPORTER_DISABLE": "1"},
            files={
                "start.html": _start_page(scene.targets),
                "user.js": client_programs.FIREFOX.replace("PORT", str(scene.targets[0].port)),
            },
            copies={name: scene.profile / name for name in FIREFOX_DATABASE} if scene.profile else {},
        ),
    )


CLIENTS = (
    Client("curl", ("curl",), Roots.SYSTEM, _curl),
    Client("wget", ("wget",), Roots.SYSTEM, _wget),
    Client("git", ("git",), Roots.SYSTEM, _git),
    Client("openssl", ("openssl",), Roots.SYSTEM, _openssl),
    Client("gnutls-cli", ("gnutls-cli",), Roots.SYSTEM, _gnutls),
    Client("Python", ("python3", "python"), Roots.SYSTEM, _python),
    Client("Ruby", ("ruby",), Roots.SYSTEM, _ruby),
    Client("PHP", ("php",), Roots.SYSTEM, _php),
    Client("Go", ("go",), Roots.SYSTEM, _go),
    Client("Node", ("node", "nodejs"), Roots.OWN, _node),
    Client("Deno", ("deno",), Roots.OWN, _deno),
    Client("Bun", ("bun",), Roots.OWN, _bun, takes_addresses=False),
    Client("Java", ("java",), Roots.JAVA, _java, patience=15.0),
    Client("Chromium", CHROMIUMS, Roots.CHROMIUM, _chromium, patience=20.0),
    Client("Firefox", FIREFOXES, Roots.FIREFOX, _firefox, patience=20.0),
)
