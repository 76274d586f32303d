from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.config import App, make_project
from devtls.config.commands import CommandNotFoundError
from devtls.errors import DevtlsError, UsageError
from devtls.model import Endpoint, External, Files, Project, Redirect, Route, Scheme, Service, UnixSocket

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

    def make(self, *domains: str, app: str | None = "node app.js", port: int | None = None, **given: Any) -> Project:
        of_app = {name: given.pop(name) for name in set(given) & set(App.__struct_fields__)}
        words: dict[str, Any] = {
            "timeout": 60.0,
            "environment": {"PATH": str(self.directory / "bin")},
            **given,
        }
        return make_project(
            domains,
            app=App(app, port, **of_app),
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
    assert refused.value.cure[1:] == (
        '  devtls up love.cat --app "python manage.py runserver"',
        "  devtls up love.cat --root dist",
    )


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


def test_a_command_is_split_as_a_shell_would_and_assignments_become_environment(words: Words) -> None:
    service = words.make("love.cat", app="NODE_ENV=test EMPTY= node 'my app.js' --name=x").services[0]
    assert service.argv == ("node", "my app.js", "--name=x")
    assert service.environment == {"NODE_ENV": "test", "EMPTY": ""}


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
    ("text", "route"),
    [
        ("/api=8080", Route("/api", External(Endpoint("127.0.0.1", 8080)))),
        ("/api/=8080", Route("/api", External(Endpoint("127.0.0.1", 8080)))),
        ("/api= 8080 ", Route("/api", External(Endpoint("127.0.0.1", 8080)))),
        ("/a/b=localhost:80", Route("/a/b", External(Endpoint("127.0.0.1", 80)))),
        ("/a=127.0.0.9:65535", Route("/a", External(Endpoint("127.0.0.9", 65535)))),
        ("/a=[::1]:5000", Route("/a", External(Endpoint("::1", 5000)))),
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
    ("text", "route"),
    [
        ("/api=8080/", Route("/api", External(Endpoint("127.0.0.1", 8080)), is_stripped=True)),
        ("/api=https://localhost:8443", Route("/api", External(Endpoint("127.0.0.1", 8443), Scheme.HTTPS))),
        ("/rpc=grpc://[::1]:50051", Route("/rpc", External(Endpoint("::1", 50051), Scheme.GRPC))),
        ("/a=unix:/run/app.sock", Route("/a", External(UnixSocket("/run/app.sock")))),
        ("/a=grpc+unix:/run/app.sock", Route("/a", External(UnixSocket("/run/app.sock"), Scheme.GRPC))),
        ("/a=unix:/run/app.sock/", Route("/a", External(UnixSocket("/run/app.sock")), is_stripped=True)),
        ("www.love.cat=8080", Route("/", External(Endpoint("127.0.0.1", 8080)), "www.love.cat")),
        ("www.love.cat/v2=8080", Route("/v2", External(Endpoint("127.0.0.1", 8080)), "www.love.cat")),
    ],
)
def test_a_route_names_what_listens_on_this_machine(words: Words, text: str, route: Route) -> None:
    assert words.make("love.cat", "www.love.cat", routes=[text]).routes[1] == route


def test_a_route_to_a_folder_serves_its_files(words: Words) -> None:
    (words.directory / "site").mkdir()
    assert words.make("love.cat", routes=["/docs=site"]).routes[1].target == Files(words.directory / "site")


def test_a_folder_may_take_the_place_of_the_app(words: Words) -> None:
    (words.directory / "dist").mkdir()
    project = words.make("love.cat", app=None, root="dist", is_spa=True)
    assert project.services == ()
    assert project.routes == (Route("/", Files(words.directory / "dist", "index.html")),)


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ({"root": "dist"}, "both answer at /"),
        ({"is_spa": True}, "about a folder"),
        ({"app": None, "root": "nowhere"}, "'nowhere' is not a folder"),
        ({"app": None, "root": ".", "replicas": 2}, "are about an --app"),
        ({"is_sticky": True}, "about several replicas"),
    ],
)
def test_words_that_do_not_go_together_are_refused(words: Words, given: dict[str, Any], fact: str) -> None:
    with pytest.raises(UsageError, match=fact):
        words.make("love.cat", **given)


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("/old=/new", Route("/old", Redirect("/new"))),
        ("/old/=/", Route("/old", Redirect(""))),
        ("www.love.cat=love.cat", Route("/", Redirect(domain="love.cat"), "www.love.cat")),
        ("/shop=https://example.com/cats/", Route("/shop", Redirect("https://example.com/cats"))),
    ],
)
def test_a_redirect_leads_to_a_path_a_domain_or_a_url(words: Words, text: str, route: Route) -> None:
    assert words.make("love.cat", "www.love.cat", redirects=[text]).routes[1] == route


@pytest.mark.parametrize("text", ["/old", "/old=", "=/new", "/old=//evil.cat", "/a=http://x.cat", "/a=/b$c", "/a=/b c"])
def test_what_is_no_redirect_is_refused(words: Words, text: str) -> None:
    with pytest.raises(UsageError, match="is not a redirect"):
        words.make("love.cat", redirects=[text])


def test_a_route_of_a_host_that_is_not_served_is_refused(words: Words) -> None:
    with pytest.raises(UsageError, match=r"api\.love\.cat is no domain of this project") as refused:
        words.make("love.cat", routes=["api.love.cat=8080"])
    assert refused.value.cure[-1] == "  devtls up love.cat api.love.cat …"


def test_a_route_to_another_machine_is_refused(words: Words) -> None:
    with pytest.raises(UsageError, match="is not on this machine"):
        words.make("love.cat", routes=["/a=https://example.com"])


def test_replicas_have_a_port_each_and_one_name_for_routes(words: Words) -> None:
    services = words.make("love.cat", port=4000, replicas=3, is_sticky=True, routes=["/api=uvicorn a"]).services
    assert [(each.name, each.upstream, each.port) for each in services] == [
        ("web-1", "web", 4000),
        ("web-2", "web", 4001),
        ("web-3", "web", 4002),
        ("api", "api", 4003),
    ]
    assert [each.is_sticky for each in services] == [True, True, True, False]


def test_a_wildcard_is_served_behind_the_domain_itself(words: Words) -> None:
    assert words.make("*.love.cat", "love.cat").domains == ("love.cat", "*.love.cat")
    with pytest.raises(UsageError, match="is a wildcard"):
        words.make("*.love.cat")


@pytest.mark.parametrize("text", ["*.cat", "*.co.uk", "a.*.cat", "*", "**.love.cat"])
def test_a_wildcard_stands_before_a_domain_of_ones_own(words: Words, text: str) -> None:
    with pytest.raises(UsageError):
        words.make("love.cat", text)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("X-Frame-Options: DENY", ("X-Frame-Options", "DENY")),
        ("X-Powered-By:", ("X-Powered-By", "")),
        (
            "Content-Security-Policy: default-src 'self'; a=\"$b\"",
            ("Content-Security-Policy", "default-src 'self'; a=\"$b\""),
        ),
    ],
)
def test_a_header_has_a_name_and_a_value(words: Words, text: str, header: tuple[str, str]) -> None:
    assert words.make("love.cat", headers=[text]).headers == (header,)


@pytest.mark.parametrize(
    "text", ["X", ": x", "a b: c", "A$: b", "Connection: close", "Date: x", "A: b\r\nC: d", "A: ä"]
)
def test_what_is_no_header_of_ours_is_refused(words: Words, text: str) -> None:
    with pytest.raises(UsageError):
        words.make("love.cat", headers=[text])
