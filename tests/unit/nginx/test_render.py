from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.config import PREFIX
from devtls.errors import DevtlsError, UsageError
from devtls.model import Endpoint, Leaf, authority_of, parse_domain
from devtls.nginx.binary import PROBES
from devtls.nginx.render import UNSPEAKABLE, Listen, Site, quote, render_gateway, render_site
from devtls.system.templates import find_templates

TEMPLATES = find_templates({})
NEWEST = frozenset(PROBES)
OLDEST: frozenset[str] = frozenset()
LISTEN = Listen(
    (Endpoint("127.0.0.1", 443), Endpoint("::1", 443)),
    (Endpoint("127.0.0.1", 80), Endpoint("::1", 80)),
)
PAGES = Path("/state/page.sock")
APP = Endpoint("127.0.0.1", 3000)
TOKEN = re.compile(
    r'\s+|#[^\n]*|([;{}])|"((?:\\.|[^"\\])*)"|\'((?:\\.|[^\'\\])*)\'|([^\s;{}"\'](?:\\.|\$\{|[^\s;{}])*)', re.DOTALL
)

Block = list[tuple[list[str], "Block"]]


def parse(text: str) -> Block:
    """The directives of an nginx configuration: (words, directives of its block)."""
    stack: list[Block] = [[]]
    words: list[str] = []
    place = 0
    while place < len(text):
        found = TOKEN.match(text, place)
        assert found, f"nginx would stumble at {text[place : place + 40]!r}"
        place = found.end()
        sign, *spelt = found.groups()
        if sign in {";", "{"}:
            stack[-1].append((words, []))
            if sign == "{":
                stack.append(stack[-1][-1][1])
            words = []
        elif sign == "}":
            assert not words
            stack.pop()
        else:
            words += [re.sub(r'\\(["\'\\])', r"\1", word) for word in spelt if word is not None]
    assert (len(stack), words) == (1, [])
    return stack[0]


def values(block: Block, name: str) -> list[list[str]]:
    return [words[1:] for words, _inside in block if words[0] == name]


def leaf(host: str, folder: str = "/data") -> Leaf:
    return Leaf(host, Path(folder) / "fullchain.pem", Path(folder) / "key.pem", 1, datetime(2030, 1, 1, tzinfo=UTC))


def site(*hosts: str, routes: tuple[tuple[str, str], ...] = (("/", "web"),), log: str = "/state/log.sock") -> Site:
    upstreams = tuple((name, APP) for _prefix, name in routes)
    return Site("0123456789ab", tuple(map(leaf, hosts or ("love.cat",))), routes, upstreams, Path(log), PAGES)


def render(wanted: Site, listen: Listen = LISTEN, features: frozenset[str] = NEWEST) -> Block:
    return parse(render_site(wanted, listen, features, TEMPLATES))


def servers(block: Block) -> list[Block]:
    return [inside for words, inside in block if words == ["server"]]


def gateway(listen: Listen = LISTEN, features: frozenset[str] = NEWEST, **given: object) -> Block:
    text = render_gateway(listen, features, TEMPLATES, **given)  # type: ignore[arg-type] # the cases of one test
    return parse(text)


def http_of(block: Block) -> Block:
    return next(inside for words, inside in block if words == ["http"])


def test_each_host_is_served_with_its_own_certificate_and_redirected_to() -> None:
    found = servers(render(site("love.cat", "love.cat.localhost")))
    assert [values(each, "server_name") for each in found] == [
        [["love.cat"]],
        [["love.cat"]],
        [["love.cat.localhost"]],
        [["love.cat.localhost"]],
    ]
    assert values(found[0], "ssl_certificate") == [["/data/fullchain.pem"]]
    assert values(found[0], "ssl_certificate_key") == [["/data/key.pem"]]
    assert values(found[1], "return") == [["307", "https://love.cat$request_uri"]]


def test_a_port_other_than_443_is_said_in_the_redirect() -> None:
    listen = Listen((Endpoint("127.0.0.1", 8443),), (Endpoint("127.0.0.1", 8080),))
    _https, http = servers(render(site(), listen))
    assert values(http, "return") == [["307", "https://love.cat:8443$request_uri"]]
    assert values(http, "listen") == [["127.0.0.1:8080"]]


def test_without_80_nothing_is_redirected() -> None:
    (https,) = servers(render(site(), Listen(LISTEN.https, ())))
    assert values(https, "listen") == [["127.0.0.1:443", "ssl"], ["[::1]:443", "ssl"]]


def test_http2_is_spelt_as_the_binary_reads_it() -> None:
    new, _ = servers(render(site(), features=NEWEST))
    old, _ = servers(render(site(), features=OLDEST))
    assert (values(new, "listen")[0], values(new, "http2")) == (["127.0.0.1:443", "ssl"], [["on"]])
    assert (values(old, "listen")[0], values(old, "http2")) == (["127.0.0.1:443", "ssl", "http2"], [])


def test_a_prefix_is_the_path_itself_and_all_below_it_but_not_its_neighbours() -> None:
    https, _ = servers(render(site(routes=(("/", "web"), ("/api", "api")))))
    assert values(https, "location") == [["/"], ["=", "/api"], ["/api/"], ["@devtls_page"]]


def test_every_location_passes_a_websocket_on() -> None:
    https, _ = servers(render(site(routes=(("/", "web"), ("/api", "api")))))
    for words, inside in https:
        if words[0] != "location" or words == ["location", "@devtls_page"]:
            continue
        headers = dict(values(inside, "proxy_set_header"))
        assert values(inside, "proxy_http_version") == [["1.1"]]
        assert (headers["Upgrade"], headers["Connection"]) == ("$devtls_upgrade", "$devtls_connection")
        assert (headers["Host"], headers["X-Forwarded-Proto"]) == ("$http_host", "$scheme")


def test_a_route_leads_to_its_own_upstream_on_the_family_it_was_found_on() -> None:
    wanted = Site(
        "0123456789ab",
        (leaf("love.cat"),),
        (("/", "web"), ("/api", "/api")),
        (("web", APP), ("/api", Endpoint("::1", 8080))),
        Path("/state/log.sock"),
        PAGES,
    )
    block = render(wanted)
    upstreams = {words[1]: values(inside, "server") for words, inside in block if words[0] == "upstream"}
    assert upstreams == {
        "devtls_0123456789ab_0": [["127.0.0.1:3000", "max_fails=0"]],
        "devtls_0123456789ab_1": [["[::1]:8080", "max_fails=0"]],
        "devtls_0123456789ab_pages": [["unix:/state/page.sock", "max_fails=0"]],
    }
    locations = [inside for words, inside in servers(block)[0] if words[0] == "location" and words[1][0] != "@"]
    assert [values(inside, "proxy_pass")[0][0].removeprefix("http://") for inside in locations] == [
        "devtls_0123456789ab_0",
        "devtls_0123456789ab_1",
        "devtls_0123456789ab_1",
    ]


def test_handshakes_are_logged_to_the_projects_own_socket() -> None:
    https, _ = servers(render(site(log="/home/me and you/log.sock")))
    assert values(https, "access_log") == [
        [
            "syslog:server=unix:/home/me and you/log.sock,nohostname,tag=devtls",
            "devtls_websocket",
            "if=$devtls_is_websocket",
        ]
    ]


def test_unknown_names_get_no_certificate_of_anybody() -> None:
    https, http = servers(http_of(gateway()))
    assert values(https, "ssl_reject_handshake") == [["on"]]
    assert values(https, "ssl_certificate") == []
    assert values(https, "listen") == [
        ["127.0.0.1:443", "default_server", "ssl"],
        ["[::1]:443", "default_server", "ssl"],
    ]
    assert values(http, "return") == [["421"]]


def test_an_nginx_that_cannot_refuse_a_handshake_shows_a_spare_certificate_and_hangs_up() -> None:
    https, _ = servers(http_of(gateway(features=OLDEST, spare=leaf("love.cat"))))
    assert values(https, "ssl_reject_handshake") == []
    assert values(https, "ssl_certificate") == [["/data/fullchain.pem"]]
    assert values(https, "return") == [["444"]]


def test_the_gateway_listens_on_exactly_what_it_was_handed() -> None:
    block = http_of(gateway(Listen((Endpoint("127.0.0.1", 8443),), ())))
    assert [values(each, "listen") for each in servers(block)] == [[["127.0.0.1:8443", "default_server", "ssl"]]]


@pytest.mark.parametrize(("user", "said"), [("", []), ("root", [["root"]])])
def test_workers_run_as_root_only_when_root_says_so(user: str, said: list[list[str]]) -> None:
    assert values(gateway(user=user), "user") == said


def test_every_site_is_in_the_one_file() -> None:
    texts = [render_site(site(host), LISTEN, NEWEST, TEMPLATES) for host in ("love.cat", "purr.cat")]
    http = http_of(gateway(sites=texts))
    names = [values(each, "server_name") for each in servers(http)]
    assert names == [[], [], [["love.cat"]], [["love.cat"]], [["purr.cat"]], [["purr.cat"]]]
    assert values(http, "include") == []


def test_names_that_differ_only_in_what_nginx_cannot_spell_have_upstreams_of_their_own() -> None:
    block = render(site(routes=(("/", "web"), ("/a-b", "/a-b"), ("/a_b", "/a_b"), ("/A_b", "/A_b"))))
    names = [words[1] for words, _inside in block if words[0] == "upstream"]
    assert len(set(names)) == len(names) == 4 + 1  # and the pages'


def test_who_could_not_be_reached_is_told_to_whoever_makes_the_page() -> None:
    https, _ = servers(render(site(routes=(("/", "web"), ("/api", "api")))))
    locations = {words[-1]: inside for words, inside in https if words[0] == "location"}
    assert [values(locations[each], "set") for each in ("/", "/api", "/api/")] == [
        [["$devtls_upstream", number]] for number in "011"
    ]
    assert values(locations["/api/"], "error_page") == [["502", "504", "=", "@devtls_page"]]
    page = locations["@devtls_page"]
    assert values(page, "proxy_pass") == [["http://devtls_0123456789ab_pages"]]
    assert dict(values(page, "proxy_set_header"))["X-Devtls-Upstream"] == "$devtls_upstream"


@pytest.mark.parametrize(("port", "authority"), [(443, "love.cat"), (8443, "love.cat:8443")])
def test_a_port_is_said_only_where_it_must_be(port: int, authority: str) -> None:
    assert authority_of("love.cat", port) == authority


@pytest.mark.parametrize("text", ["/home/$USER/x", "/a\nb", "/a\0b", "/a\x7fb", "${x}"])
def test_a_path_that_nginx_cannot_say_is_refused_with_how_to_move(text: str) -> None:
    with pytest.raises(DevtlsError, match="nginx cannot read the path") as refused:
        quote(text)
    assert "XDG_DATA_HOME" in refused.value.cure[-1]


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_any_path_is_one_word_or_refused(text: str) -> None:
    if UNSPEAKABLE.search(text):
        with pytest.raises(DevtlsError):
            quote(text)
    else:
        assert parse(f"root {quote(text)};") == [(["root", text], [])]


def accepted(text: str) -> bool:
    try:
        parse_domain(text)
    except UsageError:
        return False
    return True


hosts = st.from_regex(r"[a-zA-Z0-9ä;{}$\"' .-]{1,40}", fullmatch=True).filter(accepted).map(parse_domain)
prefixes = st.from_regex(PREFIX, fullmatch=True).map(lambda text: text.rstrip("/")).filter(bool)
endpoints = st.builds(Endpoint, st.sampled_from(["127.0.0.1", "127.0.0.9", "::1"]), st.integers(1, 65535))


@settings(deadline=None)
@given(host=hosts, prefix=prefixes, endpoint=endpoints, features=st.sampled_from([NEWEST, OLDEST]))
def test_nothing_that_is_accepted_adds_a_directive(
    host: str, prefix: str, endpoint: Endpoint, features: frozenset[str]
) -> None:
    wanted = Site(
        "k", (leaf(host),), (("/", "web"), (prefix, prefix)), (("web", APP), (prefix, endpoint)), Path("/log"), PAGES
    )
    block = render(wanted, features=features)
    assert [words[0] for words, _inside in block] == ["upstream", "upstream", "upstream", "server", "server"]
    https, http = servers(block)
    assert values(https, "server_name") == values(http, "server_name") == [[host]]
    assert values(https, "location") == [["/"], ["=", prefix], [f"{prefix}/"], ["@devtls_page"]]
    assert values(block[1][1], "server") == [[str(endpoint), "max_fails=0"]]
    usual = render(site("love.cat", routes=(("/", "web"), ("/api", "api"))), features=features)
    assert [[words[0] for words, _ in each] for each in servers(block)] == [
        [words[0] for words, _ in each] for each in servers(usual)
    ]
