from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.config import (
    CommandNotFoundError,
    authority_names,
    is_public_suffix,
    make_project,
    parse_certificate_names,
    parse_command,
    real_domain_notice,
    suggest_app,
    wildcard_notice,
)
from devtls.errors import DevtlsError, UsageError
from devtls.model import Endpoint, Project, Route, Service

if TYPE_CHECKING:
    from pathlib import Path


class Words:
    """The words of `up` on a machine with two programs, on which some ports are taken."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.taken: set[int] = set()
        self.vetted = {"love.cat", "www.love.cat"}
        for name in ("node", "uvicorn"):
            self.add_program(f"bin/{name}")

    def add_program(self, place: str) -> None:
        path = self.directory / place
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n", "utf-8")
        path.chmod(0o755)

    def find_port(self, first: int) -> int:
        return next(port for port in range(first, 65536) if port not in self.taken)

    def make(self, *domains: str, app: str | None = "node app.js", **given: Any) -> Project:
        words: dict[str, Any] = {
            "port": None,
            "routes": (),
            "websocket_path": None,
            "https_port": None,
            "timeout": 60.0,
            "environment": {"PATH": str(self.directory / "bin")},
            **given,
        }
        return make_project(
            domains,
            app=app,
            directory=self.directory,
            find_port=self.find_port,
            is_vetted=self.vetted.__contains__,
            **words,
        )


@pytest.fixture
def words(tmp_path: Path) -> Words:
    return Words(tmp_path)


def test_a_domain_and_an_app_are_enough(words: Words) -> None:
    project = words.make("love.cat")
    assert project == Project(
        directory=words.directory,
        domains=("love.cat",),
        services=(Service("web", ("node", "app.js"), 3000, words.directory),),
        routes=(Route("/", "web"),),
    )


def test_every_word_arrives(words: Words) -> None:
    project = words.make("love.cat", port=4000, websocket_path="/chat?v=1", https_port=9443, timeout=5.0)
    assert (project.services[0].port, project.websocket_path) == (4000, "/chat?v=1")
    assert (project.https_port, project.start_timeout) == (9443, 5.0)


def test_a_domain_that_is_typed_twice_is_served_once(words: Words) -> None:
    assert words.make("love.cat", "Love.Cat.", "www.love.cat").domains == ("love.cat", "www.love.cat")


def test_the_app_is_given_the_next_free_port_from_3000_on(words: Words) -> None:
    words.taken = {3000, 3001}
    assert words.make("love.cat").services[0].port == 3002


def test_no_domain_is_a_mistake_and_the_cure_is_a_command(words: Words) -> None:
    with pytest.raises(UsageError, match="no domain was named") as refused:
        words.make()
    assert refused.value.cure[-1].startswith("  devtls up ")


def test_no_app_is_a_mistake_and_the_cure_knows_the_folder(words: Words) -> None:
    (words.directory / "manage.py").touch()
    with pytest.raises(UsageError, match="no app was named") as refused:
        words.make("love.cat", app=None)
    assert refused.value.cure[-1] == '  devtls up love.cat --app "python manage.py runserver"'


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({}, "node app.js"),
        ({"package.json": json.dumps({"scripts": {"start": "x", "dev": "y"}})}, "npm run dev"),
        ({"package.json": json.dumps({"scripts": {"start": "x"}})}, "npm run start"),
        ({"package.json": json.dumps({"scripts": {}}), "server.js": ""}, "node server.js"),
        ({"package.json": '{"scripts": ["dev"]}', "app.py": ""}, "python app.py"),
        ({"package.json": "[]", "app.py": ""}, "python app.py"),
        ({"package.json": "not json", "app.py": ""}, "python app.py"),
    ],
)
def test_the_hint_knows_how_a_folder_is_started(tmp_path: Path, files: dict[str, str], command: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    assert suggest_app(tmp_path) == command


@pytest.mark.parametrize(
    ("domain", "fact", "cure"),
    [
        ("co.uk", "co.uk is a public suffix", "  devtls up love.co.uk …"),
        ("cat", "cat is a top-level domain", "  devtls up cat.test …"),
        ("shop", "shop is a top-level domain", "  devtls up shop.test …"),
        ("test", "test is a whole top-level domain", "  devtls up love.test …"),
        ("github.io", "github.io is a public suffix", "  devtls up love.github.io …"),
        ("127.0.0.1", "is an address", "Give a name such as love.cat or shop.test."),
        ("a b", "is not a host name", "Use letters, digits and hyphens"),
    ],
)
def test_a_name_that_cannot_be_ones_own_is_refused(words: Words, domain: str, fact: str, cure: str) -> None:
    with pytest.raises(UsageError, match=fact) as refused:
        words.make(domain)
    assert refused.value.cure[-1].startswith(cure)


@pytest.mark.parametrize("domain", ["localhost", "shop.localhost", "shop.test", "love.cat", "love.co.uk", "a.b.c.cat"])
def test_a_name_below_a_suffix_is_ones_own(words: Words, domain: str) -> None:
    words.vetted = set()
    assert words.make(domain).domains == (domain,)


def test_a_domain_that_was_accepted_before_is_not_looked_up_again(words: Words) -> None:
    words.vetted = {"co.uk"}
    assert words.make("co.uk").domains == ("co.uk",)


def test_an_unknown_suffix_is_nobodys() -> None:
    assert not is_public_suffix("corp.internal")
    assert is_public_suffix("co.uk")


def test_a_command_is_split_as_a_shell_would_and_assignments_become_environment(words: Words) -> None:
    service = words.make("love.cat", app="NODE_ENV=test EMPTY= node 'my app.js' --name=x").services[0]
    assert service.argv == ("node", "my app.js", "--name=x")
    assert service.environment == {"NODE_ENV": "test", "EMPTY": ""}


@given(st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=5))
@settings(deadline=None)
def test_any_words_survive_quoting(given_words: list[str]) -> None:
    text = shlex.join(given_words)
    try:
        assert parse_command(text) == given_words
    except UsageError as refused:
        assert "only a shell understands" in refused.message  # noqa: PT017 - both ways are right


def test_a_program_is_found_in_the_path_that_the_command_sets(words: Words) -> None:
    words.add_program("tools/serve")
    with pytest.raises(CommandNotFoundError):
        words.make("love.cat", app="serve")
    path = shlex.quote(f"PATH={words.directory / 'tools'}")
    assert words.make("love.cat", app=f"{path} serve").services[0].argv == ("serve",)


def test_a_program_with_a_slash_is_looked_up_from_the_project(words: Words) -> None:
    words.add_program("bin/server")
    assert words.make("love.cat", app="./bin/server").services[0].argv == ("./bin/server",)


@pytest.mark.parametrize("app", ["nosuch", "./nosuch", "/nosuch/program", "./plain.txt"])
def test_a_program_that_is_not_there_is_told_before_anything_starts_as_a_shell_says_it(words: Words, app: str) -> None:
    (words.directory / "plain.txt").touch()
    with pytest.raises(CommandNotFoundError, match="there is no program") as refused:
        words.make("love.cat", app=app)
    assert refused.value.exit_code == 127
    assert refused.value.cure[-1] == f"  command -v {app}"


@pytest.mark.parametrize("app", ["A=1", "   ", "A=1 B=2"])
def test_a_command_without_a_program_is_a_mistake(words: Words, app: str) -> None:
    with pytest.raises(UsageError, match="is empty"):
        words.make("love.cat", app=app)


@pytest.mark.parametrize(
    "text",
    ["cd a && node b", "node a | tee b", "node a > log", "node a &", "node a 2>&1", "node a; rm b", "node a;rm b"],
)
def test_a_command_that_needs_a_shell_says_how_to_ask_for_one(text: str) -> None:
    with pytest.raises(UsageError, match="which only a shell understands") as refused:
        parse_command(text)
    option, asked = shlex.split(refused.value.cure[-1])
    assert option == "--app"
    assert parse_command(asked) == ["sh", "-c", text]


def test_an_operator_inside_quotes_is_an_argument() -> None:
    assert parse_command("sh -c 'a && b'") == ["sh", "-c", "a && b"]


def test_an_open_quote_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="cannot be read") as refused:
        parse_command("node 'app.js")
    assert refused.value.cure == ("Close the quotes.",)


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("/api=8080", Route("/api", Endpoint("127.0.0.1", 8080))),
        ("/api/=8080", Route("/api", Endpoint("127.0.0.1", 8080))),
        ("/api= 8080 ", Route("/api", Endpoint("127.0.0.1", 8080))),
        ("/a/b=localhost:80", Route("/a/b", Endpoint("127.0.0.1", 80))),
        ("/a=127.0.0.9:65535", Route("/a", Endpoint("127.0.0.9", 65535))),
        ("/a=[::1]:5000", Route("/a", Endpoint("::1", 5000))),
    ],
)
def test_a_route_leads_to_a_port_of_this_machine(words: Words, text: str, route: Route) -> None:
    project = words.make("love.cat", routes=[text])
    assert project.routes == (Route("/", "web"), route)
    assert [service.name for service in project.services] == ["web"]


def test_a_route_to_a_command_is_a_service_with_a_port_of_its_own(words: Words) -> None:
    project = words.make("love.cat", routes=["/api/v1=A=1 uvicorn api:app", "/ws=node ws.js"])
    assert project.routes == (Route("/", "web"), Route("/api/v1", "api-v1"), Route("/ws", "ws"))
    assert project.services[1:] == (
        Service("api-v1", ("uvicorn", "api:app"), 3001, words.directory, {"A": "1"}),
        Service("ws", ("node", "ws.js"), 3002, words.directory),
    )


def test_no_two_services_share_a_name(words: Words) -> None:
    routes = ["/web=node a", "/devtls=node b", "/a/b=node c", "/a-b=node d", "/A-B=node e"]
    names = [service.name for service in words.make("love.cat", routes=routes).services]
    assert len(set(names)) == len(names)
    assert "devtls" not in names


@pytest.mark.parametrize(
    "text",
    [
        "/api",
        "/api=",
        "/api=  ",
        "api=8080",
        "=8080",
        "/a b=8080",
        "/a;b=1",
        "/a{=1",
        "/a$b=1",
        '/a"=1',
        "/a\\=1",
        "/%41=1",
    ],
)
def test_what_is_no_route_is_refused(words: Words, text: str) -> None:
    with pytest.raises(UsageError, match="is not a route") as refused:
        words.make("love.cat", routes=[text])
    assert "  --route /api=8080" in refused.value.cure


@pytest.mark.parametrize(("text", "fact"), [("/a=0", "0 is not a port"), ("/a=65536", "65536 is not a port")])
def test_a_port_that_does_not_exist_is_refused(words: Words, text: str, fact: str) -> None:
    with pytest.raises(UsageError, match=fact):
        words.make("love.cat", routes=[text])


def test_a_route_to_another_machine_is_no_address_but_a_command_that_is_not_there(words: Words) -> None:
    with pytest.raises(CommandNotFoundError, match=r"'10\.0\.0\.1:80'"):
        words.make("love.cat", routes=["/a=10.0.0.1:80"])


@pytest.mark.parametrize("text", ["/=8080", "//=8080"])
def test_the_root_route_is_the_apps(words: Words, text: str) -> None:
    with pytest.raises(UsageError, match="the route / is the app's"):
        words.make("love.cat", routes=[text])


def test_a_prefix_can_be_routed_once(words: Words) -> None:
    with pytest.raises(UsageError, match="the route /api is given twice"):
        words.make("love.cat", routes=["/api=8080", "/api/=8081"])


@pytest.mark.parametrize("path", ["chat", "", "/a b", "/a;b", "?x=/"])
def test_a_websocket_path_begins_with_a_slash(words: Words, path: str) -> None:
    with pytest.raises(UsageError, match="is not a path"):
        words.make("love.cat", websocket_path=path)


@settings(deadline=None, max_examples=200)
@given(text=st.text(max_size=20) | st.from_regex(r"/[a-z/]{0,8}=[0-9a-z:.\[\] ]{0,12}", fullmatch=True))
def test_any_route_is_understood_or_a_users_mistake(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    words = Words(tmp_path_factory.getbasetemp())
    try:
        project = words.make("love.cat", routes=[text])
    except DevtlsError as refused:
        assert refused.cure  # noqa: PT017 - both ways are right
        return
    assert project.routes[1].prefix.startswith("/")


@pytest.mark.parametrize("text", ["node app.js; rm x", "a | b", "a&&b", "echo $(id) > x", "node app.js &"])
def test_what_only_a_shell_understands_is_told(words: Words, text: str) -> None:
    with pytest.raises(UsageError, match="only a shell understands"):
        words.make("love.cat", app=text)


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("node -e '(1;2)'", ("node", "-e", "(1;2)")),
        (r"node \; x", ("node", ";", "x")),
        ('node "a && b"', ("node", "a && b")),
        ("node 'it'\"'\"'s <b>'", ("node", "it's <b>")),
    ],
)
def test_quoted_signs_are_words_like_others(words: Words, text: str, argv: tuple[str, ...]) -> None:
    assert words.make("love.cat", app=text).services[0].argv == argv


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_waited_is_refused(words: Words, timeout: float) -> None:
    with pytest.raises(UsageError, match="not a time that one can wait"):
        words.make("love.cat", timeout=timeout)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("love.cat",), ("love.cat",)),
        (("www.love.cat", "*.love.cat", "love.cat"), ("love.cat",)),
        (("love.cat", "localhost", "127.0.0.1"), ("love.cat", "localhost", "test")),
        (("127.0.0.1", "::1"), ("localhost", "test")),
        (("192.168.1.20", "::1"), ("192.168.1.20",)),
        (("b.dev", "a.dev", "shop.test"), ("a.dev", "b.dev", "localhost", "test")),
    ],
)
def test_an_authority_covers_what_is_asked_for_and_no_more(names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert authority_names(names) == expected


def test_names_of_a_certificate_are_hosts_wildcards_and_addresses_each_once() -> None:
    texts = ("Love.Cat.", "*.love.cat", "[::1]", "0:0:0:0:0:0:0:1", "10.0.0.7", "*.test", "localhost")
    expected = ("love.cat", "*.love.cat", "::1", "10.0.0.7", "*.test", "localhost")
    assert parse_certificate_names(texts, lambda _domain: True) == expected
    for text in ("a@b.c", "https://love.cat", "*.*.love.cat", "a b", "*.co.uk", ""):
        with pytest.raises(UsageError):
            parse_certificate_names([text], lambda _domain: False)


@pytest.mark.parametrize(
    ("domain", "word"),
    [
        ("love.cat", "cookies"),
        ("shop.co.uk", "cookies"),
        ("nas.internal", "in your network"),
        ("printer.local", "in your network"),
        ("shop.test", ""),
        ("love.example", ""),
        ("10.0.0.7", ""),
        ("shop.nosuchtld", ""),
    ],
)
def test_a_name_that_is_real_elsewhere_is_told_about(domain: str, word: str) -> None:
    notice = real_domain_notice(domain)
    assert (notice is not None and word in notice[0]) if word else notice is None


def test_only_a_wildcard_right_below_the_top_is_told_about() -> None:
    assert [wildcard_notice(name) is not None for name in ("*.test", "*.love.test", "love.test", "*.localhost")] == [
        True,
        False,
        False,
        True,
    ]
