from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from devtls.config.commands import CommandNotFoundError
from devtls.config.declared import declare_project
from devtls.config.keys import DomainKeys, GatewayKeys, RouteKeys, ServiceKeys
from devtls.config.project_file import read_project_file
from devtls.config.worktree import serve_branch
from devtls.errors import DevtlsError, FileError, Problem
from devtls.model import DomainSettings, Endpoint, External, Files, NginxText, Redirect, Route, Scheme, UnixSocket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from msgspec import Struct

    from devtls.model import Project

WHOLE = """\
name = "shop"

[domains."love.cat"]
aliases = ["www.love.cat", "*.love.cat"]
hosts = ["shop.love.cat"]
headers = { X-Frame-Options = "DENY", Server-Timing = "" }
nginx = '''
gzip on;
'''

[domains."api.test"]

[services.web]
command = "MODE=dev node 'my app.js'"
port = 4000
replicas = 2
sticky = true
cwd = "backend"
env = { MODE = "x", CAT = "purr" }

[services.api]
command = ["node", "api.js", "a;b"]
scheme = "grpc"

[[routes]]
service = "web"

[[routes]]
path = "/api/"
domain = "love.cat"
service = "api"
strip = true
nginx = "limit_rate 1k;"

[[routes]]
path = "/api"
domain = "www.love.cat"
to = "8080/"

[[routes]]
path = "/sock"
to = "grpc+unix:/run/app.sock"

[[routes]]
path = "/docs"
root = "dist"
fallback = "index.html"

[[routes]]
path = "/old"
redirect = "/new"

[gateway]
prod_like = true
"""
MINIMAL = """\
[domains."love.test"]
[services.web]
command = "node app.js"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shop = tmp_path / "shop"
    (shop / "backend").mkdir(parents=True)
    (shop / "dist").mkdir()
    program = tmp_path / "bin/node"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", "utf-8")
    program.chmod(0o755)
    return shop


def refuse_include(own: NginxText, _context: str) -> Sequence[Problem]:
    return [Problem(f"{own.file}:{own.line + 1}", "no include", ("Leave it.",))] if "include" in own.text else []


def declare(folder: Path, text: str, local: str = "", **words: Any) -> Project:
    (folder / "devtls.toml").write_text(text, "utf-8")
    (folder / "devtls.local.toml").unlink(missing_ok=True)
    if local:
        (folder / "devtls.local.toml").write_text(local, "utf-8")
    given: dict[str, Any] = {"environment": {"PATH": str(folder.parent / "bin")}, **words}
    return declare_project(
        read_project_file(folder), is_vetted=lambda _name: False, check_nginx=refuse_include, **given
    )


def refusal(folder: Path, text: str, local: str = "") -> FileError:
    with pytest.raises(FileError) as refused:
        declare(folder, textwrap.dedent(text), textwrap.dedent(local))
    assert all(each.cure for each in refused.value.problems)
    return refused.value


def told(folder: Path, text: str, local: str = "") -> list[str]:
    return str(refusal(folder, text, local)).splitlines()


def test_every_key_arrives(folder: Path) -> None:
    project = declare(folder, WHOLE)
    assert project.domains == ("love.cat", "www.love.cat", "shop.love.cat", "api.test", "*.love.cat")
    love, api = project.settings
    assert love.hosts == ("love.cat", "www.love.cat", "*.love.cat", "shop.love.cat")
    assert love.headers == (("X-Frame-Options", "DENY"), ("Server-Timing", ""))
    assert love.nginx == NginxText("gzip on;\n", "devtls.toml", 8)
    assert api == DomainSettings(("api.test",))
    first, second, grpc = project.services
    assert [each.name for each in project.services] == ["web-1", "web-2", "api"]
    assert (first.argv, first.port, second.port) == (("node", "my app.js"), 4000, 0)
    assert (first.environment, first.directory) == ({"MODE": "dev", "CAT": "purr"}, folder / "backend")
    assert (first.upstream, first.is_sticky, grpc.is_sticky) == ("web", True, False)
    assert (grpc.argv, grpc.scheme) == (("node", "api.js", "a;b"), Scheme.GRPC)
    assert project.is_prod_like
    assert project.fixed_ports == {"web-1": 4000}


def test_a_route_of_a_domain_is_for_what_is_served_like_it_too_unless_that_has_its_own(folder: Path) -> None:
    routes = declare(folder, WHOLE).routes
    limited = NginxText("limit_rate 1k;", "devtls.toml", 33)
    api = Route("/api", "api", "love.cat", is_stripped=True, nginx=limited)
    assert [route for route in routes if route.prefix == "/api"] == [
        api,
        Route("/api", External(Endpoint("127.0.0.1", 8080)), "www.love.cat", is_stripped=True),
        replace(api, host="*.love.cat"),
        replace(api, host="shop.love.cat"),
    ]
    assert [route for route in routes if not route.host] == [
        Route("/", "web"),
        Route("/sock", External(UnixSocket("/run/app.sock"), Scheme.GRPC)),
        Route("/docs", Files(folder / "dist", "index.html")),
        Route("/old", Redirect("/new")),
    ]


def test_a_route_of_a_wildcard_is_for_the_names_right_below_it_before_one_of_the_whole_domain(folder: Path) -> None:
    head = (
        '[domains."love.test"]\naliases = ["*.love.test"]\nhosts = ["a.love.test"]\n[services.web]\ncommand = "node"\n'
    )
    routes = '[[routes]]\nservice = "web"\n[[routes]]\npath = "/x"\ndomain = "{}"\nto = "{}"\n'
    second = routes.format("love.test", 1).partition('web"\n')[2]
    made = declare(folder, head + routes.format("*.love.test", 2) + second).routes
    ports = {route.host: route.target.address for route in made if isinstance(route.target, External)}
    assert {host: str(address).rpartition(":")[2] for host, address in ports.items()} == {
        "*.love.test": "2",
        "a.love.test": "2",
        "love.test": "1",
    }


def test_a_service_may_run_in_a_folder_that_nginx_cannot_name(folder: Path) -> None:
    odd = folder / "a\nb"
    (odd / "dist").mkdir(parents=True)
    assert declare(odd, MINIMAL, environment=None).services[0].directory == odd
    assert "nginx cannot name the folder" in told(odd, WHOLE.replace('cwd = "backend"', ""))[0]


def test_the_one_service_answers_everywhere_when_there_are_no_routes(folder: Path) -> None:
    project = declare(folder, MINIMAL)
    assert project.routes == (Route("/", "web"),)
    assert [service.port for service in project.services] == [0]


def test_several_services_without_routes_are_told_what_to_write(folder: Path) -> None:
    refused = refusal(folder, MINIMAL + '[services.api]\ncommand = "node api.js"\n')
    assert str(refused) == "devtls.toml:2: there are 2 services and no routes"
    assert declare(
        folder, MINIMAL + '[services.api]\ncommand = "node api.js"\n' + "\n".join(refused.cure[1:])
    ).routes == (
        Route("/", "web"),
        Route("/api", "api"),
    )


def test_a_persons_own_file_is_laid_over_the_committed_one(folder: Path) -> None:
    local = '[services.web]\nport = 5000\n[domains."love.test"]\naliases = ["me.test"]\n'
    project = declare(folder, MINIMAL, local)
    assert (project.domains, project.services[0].port) == (("love.test", "me.test"), 5000)
    assert project.services[0].argv == ("node", "app.js")
    assert told(folder, MINIMAL, "[services.web]\n\nport = 0\n") == [
        'devtls.local.toml:3: services.web.port: 0 is not a port from 1 to 65535 or "auto"'
    ]
    assert told(folder, WHOLE, '[[routes]]\nservice = "no"') == [
        "devtls.local.toml:2: routes[0].service: there is no service no"
    ]


def test_all_that_is_wrong_is_told_at_once_each_at_its_line_with_its_cure(folder: Path) -> None:
    refused = refusal(
        folder,
        """\
        [domains."co.uk"]
        [domains."love.test"]
        aliases = ["a b"]
        headers = { Connection = "close" }
        nginx = '''

        include x;'''
        [services.web]
        command = "node a | b"
        cwd = ".."
        [services."we b"]
        command = "node"
        sticky = true
        [[routes]]
        path = "api"
        service = "wbe"
        [[routes]]
        to = "example.com:80"
        root = "dist"
        [[routes]]
        to = "http://example.com"
        [[routes]]
        path = "/x"
        root = "/etc"
        fallback = "../passwd"
        nginx = "gzip on;"
        [[routes]]
        path = "/x/"
        redirect = "//evil.test"
        strip = true
        [[routes]]
        path = "/y"
        domain = "other.test"
        fallback = "x"
        """,
    )
    told = [line.removeprefix("devtls.toml:") for line in str(refused).splitlines()]
    suffix, label, shell, *rest = sorted(told, key=lambda line: len(line) < 104)
    assert suffix.startswith('1: domains."co.uk": co.uk is a public suffix: ')
    assert label.startswith("3: domains.\"love.test\".aliases[0]: 'a b' is not a host name: ")
    assert shell.startswith("9: services.web.command: the command 'node a | b' has |, which only a shell understands")
    assert rest == [
        '4: domains."love.test".headers.Connection: the header Connection belongs to the connection itself',
        "7: no include",
        "10: services.web.cwd: .. is outside the project",
        "11: services.\"we b\": 'we b' cannot be the name of a service",
        '13: services."we b".sticky: this is about several replicas',
        "15: routes[0].path: 'api' is not a path",
        "16: routes[0].service: there is no service wbe",
        "17: routes[1]: it has to and root",
        "18: routes[1].to: 'example.com:80' is not an address on this machine",
        "20: routes[2]: / has a route already",
        "21: routes[2].to: 'http://example.com' is not an address on this machine",
        "24: routes[3].root: /etc is outside the project",
        "25: routes[3].fallback: '../passwd' is not a file below root",
        "26: routes[3].nginx: directives of a route are for one that leads to a service",
        "27: routes[4]: /x has a route already",
        "29: routes[4].redirect: '//evil.test' is nowhere to be sent to",
        "30: routes[4].strip: this is about a service",
        "31: routes[5]: it leads nowhere",
        "33: routes[5].domain: other.test is no domain of this project",
        "34: routes[5].fallback: this is about the files of a root",
    ]
    assert ("Ask for one:", "  sh -c 'node a | b'") in [each.cure for each in refused.problems]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("x = 1", "devtls.toml:1: x: there is no such key"),
        ("a = \n", "devtls.toml:1: invalid value (column 5)"),
        ('a = """x', "devtls.toml:1: unterminated string (at the end)"),
        ("[domains]", "devtls.toml:1: domains: no domain is named"),
        ('[domains."a.test"]\nalias = []', 'devtls.toml:2: domains."a.test".alias: there is no such key'),
        (
            '[domains."*.a.test"]',
            'devtls.toml:1: domains."*.a.test": *.a.test is a wildcard, and no browser can be sent',
        ),
        (
            '[domains."a.test"]\nhosts = ["b.test"]',
            'devtls.toml:2: domains."a.test".hosts[0]: b.test is not below a.test',
        ),
        ('[domains."a.test"]\nhosts = ["*.a.test"]', "*.a.test is no name that can be resolved"),
        ('[domains."a.test"]\n[domains."b.test"]\naliases = ["a.test"]', "a.test is named by two domains"),
        ('[domains."a.test"]', "devtls.toml: there is nothing to serve"),
        ("[domains]\n[services.web]", "devtls.toml:2: services.web: command is missing"),
        (MINIMAL + 'env = { "a b" = "1" }', 'services.web.env."a b": this is not the name of a variable'),
        (MINIMAL + 'env = { A = "\\u0000" }', "services.web.env.A: it has a NUL, which nothing can say"),
        (MINIMAL + 'cwd = "nowhere"', "services.web.cwd: 'nowhere' is not a folder"),
        (MINIMAL + "port = 1\n[services.a]\ncommand = 'node'\nport = 1", "services.a.port: web has 1, too"),
        (MINIMAL + "replicas = 2\n[services.web-1]\ncommand = 'node'", "services.web-1: two services are called web-1"),
        (MINIMAL + "[services.devtls]\ncommand = 'node'", "'devtls' cannot be the name of a service"),
        (MINIMAL + "[[routes]]\npath = '/a'\nservice = 'web'", "nothing answers at / of love.test"),
    ],
)
def test_what_cannot_be_is_told_at_its_line(folder: Path, text: str, fact: str) -> None:
    assert any(fact in line for line in told(folder, text))


def test_a_close_match_is_guessed(folder: Path) -> None:
    assert refusal(folder, MINIMAL + "replica = 3\n").cure == ("Did you mean replicas?",)


def test_what_is_no_text_is_told_without_a_traceback(folder: Path) -> None:
    (folder / "devtls.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(FileError, match=r"devtls\.toml:2: there is a byte that is no UTF-8"):
        read_project_file(folder)
    (folder / "devtls.toml").write_bytes(b"a = " + b"[" * 100_000)
    with pytest.raises(FileError, match="nested too deep"):
        read_project_file(folder)
    (folder / "devtls.toml").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(FileError, match="longer than 1 MiB"):
        read_project_file(folder)


def test_a_link_that_leads_out_of_the_project_is_refused(folder: Path) -> None:
    (folder / "out").symlink_to("/etc")
    (folder / "loop").symlink_to("loop")
    assert "out is outside the project" in told(folder, MINIMAL + 'cwd = "out"')[0]
    assert "is not a folder" in told(folder, MINIMAL + 'cwd = "loop"')[0]
    assert "is not a folder" in told(folder, MINIMAL + f'cwd = "{"x" * 300}"')[0]


def test_a_program_that_is_not_there_is_told_when_nothing_else_is_wrong(folder: Path) -> None:
    with pytest.raises(CommandNotFoundError) as refused:
        declare(folder, MINIMAL.replace("node", "nosuch"))
    assert refused.value.message == "devtls.toml:3: services.web.command: there is no program 'nosuch'"
    assert declare(folder, MINIMAL.replace("node", "nosuch"), environment=None).services[0].argv[0] == "nosuch"


def test_in_a_linked_worktree_fixed_ports_are_free_ones_and_all_names_move(folder: Path) -> None:
    project = serve_branch(declare(folder, WHOLE, is_branch=True), "fix")
    assert {service.port for service in project.services} == {0}
    assert project.fixed_ports == {}
    assert project.settings[0].hosts == ("fix.love.cat", "fix.www.love.cat", "*.fix.love.cat", "fix.shop.love.cat")
    assert set(project.domains) == {name for each in project.settings for name in each.hosts}


# Anything that TOML can say, below the keys that there are and some that there are not.
TEXTS = st.sampled_from(
    ["", "/", "/api", "web", "love.cat", "*.love.cat", "node 'a", "a|b", ".", "..", "dist", "8080", "unix:/x", "https://x",
     "\0", "\x1b[2J", "ä.test", "x" * 300, "grpc://[::1]:1/", "index.html"]
) | st.text(max_size=6)  # fmt: skip
VALUES = st.recursive(
    st.booleans() | st.integers(-1, 70000) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


def tables(keys: type[Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Values of the right kinds, which need not mean anything."""
    kinds: dict[Any, st.SearchStrategy[Any]] = {
        dict: st.dictionaries(TEXTS, TEXTS, max_size=2),
        list: st.lists(TEXTS, max_size=2),
    }
    by_kind: dict[Any, st.SearchStrategy[Any]] = {**kinds, bool: st.booleans(), int: st.integers(1, 16), str: TEXTS}
    hints = {name: get_args(hint)[0] for name, hint in get_type_hints(keys, include_extras=True).items()}
    found = {name: by_kind.get(get_origin(hint) or hint, TEXTS) for name, hint in hints.items()}
    known = {"scheme": st.sampled_from(["http", "grpc"]), "port": st.integers(1, 70000), "command": TEXTS}
    words = {**found, **{name: each for name, each in known.items() if name in found}}
    required = {name: words.pop(name) for name in ("command",) if name in words}
    return st.fixed_dictionaries(required, optional=words)


NAMES = st.sampled_from(["love.cat", "*.love.cat", "a.test", "ä.test", "co.uk"])
DOCUMENTS = st.fixed_dictionaries(
    {"domains": st.dictionaries(NAMES, tables(DomainKeys), max_size=2)},
    optional={
        "services": st.dictionaries(st.sampled_from(["web", "api", "web-1", "we b"]), tables(ServiceKeys), max_size=2),
        "routes": st.lists(tables(RouteKeys), max_size=3),
        "gateway": tables(GatewayKeys),
    },
) | st.dictionaries(st.sampled_from(["domains", "services", "routes", "gateway", "name"]), VALUES)


def toml_of(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_of(key)} = {toml_of(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@settings(deadline=None, max_examples=300)
@given(document=DOCUMENTS)
def test_any_document_is_a_project_or_a_persons_mistake(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    (folder / "dist").mkdir(parents=True, exist_ok=True)
    try:
        project = declare(folder, "\n".join(f"{key} = {toml_of(value)}" for key, value in document.items()))
    except DevtlsError as refused:
        assert refused.cure  # noqa: PT017 - both ways are right
        return
    assert all(any(route.prefix == "/" and route.is_for(name) for route in project.routes) for name in project.domains)
