from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.config.routes import PREFIX, parse_header
from devtls.errors import UsageError
from devtls.model import (
    DomainSettings,
    Endpoint,
    External,
    Files,
    Leaf,
    NginxText,
    Project,
    Redirect,
    Route,
    Scheme,
    UnixSocket,
    authority_of,
    parse_domain,
)
from devtls.nginx.binary import PROBES
from devtls.nginx.listen import Listen
from devtls.nginx.own import parse_texts
from devtls.nginx.site import Site, Upstream, render_site
from devtls.system.templates import find_templates
from tests.unit.nginx.reading import Block, blocks, locations, parse, servers, values

TEMPLATES = find_templates({})
NEWEST = frozenset(PROBES)
OLDEST: frozenset[str] = frozenset()
LISTEN = Listen(
    (Endpoint("127.0.0.1", 443), Endpoint("::1", 443)),
    (Endpoint("127.0.0.1", 80), Endpoint("::1", 80)),
)
PAGES = Path("/state/page.sock")
APP = Endpoint("127.0.0.1", 3000)
WEB = Route("/", "web")
KEY = "0123456789ab"


def leaf(host: str, folder: str = "/data") -> Leaf:
    return Leaf(host, Path(folder) / "fullchain.pem", Path(folder) / "key.pem", 1, datetime(2030, 1, 1, tzinfo=UTC))


def site(*hosts: str, routes: tuple[Route, ...] = (WEB,), log: str = "/state/log.sock", **given: Any) -> Site:
    targets = dict.fromkeys(route.target for route in routes if isinstance(route.target, str | External))
    upstreams = tuple(Upstream(target, (APP,)) for target in targets)
    words: dict[str, Any] = {"upstreams": upstreams, **given}
    leaves = tuple(map(leaf, hosts or ("love.cat",)))
    return Site(KEY, leaves, routes, log_socket=Path(log), page_socket=PAGES, **words)


def render(wanted: Site, listen: Listen = LISTEN, features: frozenset[str] = NEWEST) -> Block:
    return parse(render_site(wanted, listen, features, TEMPLATES))


def https_of(wanted: Site) -> Block:
    return servers(render(wanted))[0]


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


def test_handshakes_are_logged_to_the_projects_own_socket() -> None:
    https, _ = servers(render(site(log="/home/me and you/log.sock")))
    assert values(https, "access_log") == [
        [
            "syslog:server=unix:/home/me and you/log.sock,nohostname,tag=devtls",
            "devtls_websocket",
            "if=$devtls_is_websocket",
        ]
    ]


@pytest.mark.parametrize(("port", "authority"), [(443, "love.cat"), (8443, "love.cat:8443")])
def test_a_port_is_said_only_where_it_must_be(port: int, authority: str) -> None:
    assert authority_of("love.cat", port) == authority


def test_a_prefix_is_the_path_itself_and_all_below_it_but_not_its_neighbours() -> None:
    https = https_of(site(routes=(WEB, Route("/api", "api"))))
    assert list(locations(https)) == ["= /api", "/api/", "/", "@devtls_page", "@devtls_gone", "@devtls_grpc"]


def test_every_location_passes_a_websocket_on() -> None:
    for match, inside in locations(https_of(site(routes=(WEB, Route("/api", "api"))))).items():
        if match.startswith("@"):
            continue
        headers = dict(values(inside, "proxy_set_header"))
        assert values(inside, "proxy_http_version") == [["1.1"]]
        assert (headers["Upgrade"], headers["Connection"]) == ("$devtls_upgrade", "$devtls_connection")
        assert (headers["Host"], headers["X-Forwarded-Proto"]) == ("$http_host", "$scheme")


def test_a_route_leads_to_its_own_upstream_on_the_family_it_was_found_on() -> None:
    api = External(Endpoint("::1", 8080))
    upstreams = (Upstream("web", (APP,)), Upstream(api, (api.address,)))
    block = render(site(routes=(WEB, Route("/api", api)), upstreams=upstreams))
    found = {words[0]: values(inside, "server") for words, inside in blocks(block, "upstream")}
    assert found == {
        f"devtls_{KEY}_0": [["127.0.0.1:3000", "max_fails=0"]],
        f"devtls_{KEY}_1": [["[::1]:8080", "max_fails=0"]],
        f"devtls_{KEY}_pages": [["unix:/state/page.sock", "max_fails=0"]],
    }
    passed = {match: values(inside, "proxy_pass") for match, inside in locations(servers(block)[0]).items()}
    assert passed["/"] == [[f"http://devtls_{KEY}_0"]]
    assert passed["= /api"] == passed["/api/"] == [[f"http://devtls_{KEY}_1"]]


def test_names_that_differ_only_in_what_nginx_cannot_spell_have_upstreams_of_their_own() -> None:
    routes = (WEB, *(Route(f"/{name}", name) for name in ("a-b", "a_b", "A_b")))
    names = [words[0] for words, _inside in blocks(render(site(routes=routes)), "upstream")]
    assert len(set(names)) == len(names) == 4 + 1  # and the pages'


def test_who_could_not_be_reached_is_told_to_whoever_makes_the_page() -> None:
    found = locations(https_of(site(routes=(WEB, Route("/api", "api")))))
    assert [values(found[each], "set") for each in ("/", "= /api", "/api/")] == [
        [["$devtls_upstream", number]] for number in "011"
    ]
    assert values(found["/api/"], "error_page") == [["502", "504", "=", "@devtls_page"]]
    page = found["@devtls_page"]
    assert values(page, "proxy_pass") == [[f"http://devtls_{KEY}_pages"]]
    assert dict(values(page, "proxy_set_header"))["X-Devtls-Upstream"] == "$devtls_upstream"


def test_a_host_may_have_routes_of_its_own_under_both_of_its_names() -> None:
    routes = (WEB, Route("/", "api", "api.love.cat"), Route("/v2", "web", "api.love.cat"))
    block = render(site("love.cat", "api.love.cat", "api.love.cat.localhost", routes=routes))
    found = {values(each, "server_name")[0][0]: locations(each) for each in servers(block) if locations(each)}
    assert list(found["love.cat"]) == ["/", "@devtls_page", "@devtls_gone", "@devtls_grpc"]
    for host in ("api.love.cat", "api.love.cat.localhost"):
        assert list(found[host])[:3] == ["= /v2", "/v2/", "/"]
        assert values(found[host]["/"], "proxy_pass") == [[f"http://devtls_{KEY}_1"]]


def test_a_prefix_is_taken_off_when_that_is_wanted_and_told() -> None:
    found = locations(https_of(site(routes=(WEB, Route("/a.b", "api", is_stripped=True)))))
    for match in ("= /a.b", "/a.b/"):
        assert values(found[match], "rewrite") == [["^/a\\.b/?(.*)$", "/$1", "break"]]
        assert ["X-Forwarded-Prefix", "/a.b"] in values(found[match], "proxy_set_header")
    assert values(found["/"], "rewrite") == []


@pytest.mark.parametrize(
    ("scheme", "directive", "to"),
    [
        (Scheme.HTTPS, "proxy_pass", "https"),
        (Scheme.GRPC, "grpc_pass", "grpc"),
        (Scheme.GRPCS, "grpc_pass", "grpcs"),
    ],
)
def test_each_scheme_is_spoken_as_its_module_does(scheme: Scheme, directive: str, to: str) -> None:
    target = External(APP, scheme)
    upstreams = (Upstream("web", (APP,)), Upstream(target, (APP,), scheme))
    inside = locations(https_of(site(routes=(WEB, Route("/x", target)), upstreams=upstreams)))["/x/"]
    assert values(inside, directive) == [[f"{to}://devtls_{KEY}_1"]]
    named = values(inside, f"{directive.partition('_')[0]}_ssl_server_name")
    assert named == ([["on"]] if scheme in {Scheme.HTTPS, Scheme.GRPCS} else [])


def test_a_grpc_client_is_told_in_its_own_words_that_the_service_is_down() -> None:
    found = locations(https_of(site(upstreams=(Upstream("web", (APP,), Scheme.GRPC),))))
    assert values(found["/"], "error_page") == [["502", "504", "=", "@devtls_grpc"]]
    assert ["grpc-status", "14"] in values(found["@devtls_grpc"], "add_header")


def test_a_unix_socket_is_an_address_like_any_other() -> None:
    target = External(UnixSocket("/run/my app.sock"))
    block = render(
        site(
            routes=(WEB, Route("/x", target)), upstreams=(Upstream("web", (APP,)), Upstream(target, (target.address,)))
        )
    )
    found = {words[0]: inside for words, inside in blocks(block, "upstream")}
    assert values(found[f"devtls_{KEY}_1"], "server") == [["unix:/run/my app.sock", "max_fails=0"]]


def test_replicas_are_asked_in_turn() -> None:
    two = (APP, Endpoint("127.0.0.1", 3001))
    block = render(site(upstreams=(Upstream("web", two),)))
    (_, pool), _pages = blocks(block, "upstream")
    assert values(pool, "server") == [["127.0.0.1:3000", "max_fails=0"], ["127.0.0.1:3001", "max_fails=0"]]
    assert blocks(block, "map") == []


def test_a_sticky_browser_keeps_its_replica_and_gets_another_when_that_is_gone() -> None:
    two = (APP, Endpoint("127.0.0.1", 3001))
    block = render(site(upstreams=(Upstream("web", two, is_sticky=True),)))
    found = {words[0]: inside for words, inside in blocks(block, "upstream")}
    assert values(found[f"devtls_{KEY}_0_1"], "server") == [
        ["127.0.0.1:3000", "max_fails=0", "backup"],
        ["127.0.0.1:3001", "max_fails=0"],
    ]
    choice, answered, told = blocks(block, "map")
    assert choice[0] == ["$cookie_devtls_replica_0", f"$devtls_{KEY}_0_choice"]
    assert [words for words, _ in choice[1]] == [
        ["default", f"devtls_{KEY}_0"],
        ["0", f"devtls_{KEY}_0_0"],
        ["1", f"devtls_{KEY}_0_1"],
    ]
    assert ["127.0.0.1:3001", "1"] in [words for words, _ in answered[1]]
    assert ["1=1", ""] in [words for words, _ in told[1]]
    inside = locations(servers(block)[0])["/"]
    assert values(inside, "proxy_pass") == [[f"http://$devtls_{KEY}_0_choice"]]
    assert values(inside, "add_header") == [["Set-Cookie", f"$devtls_{KEY}_0_cookie", "always"]]


def test_files_are_served_and_an_upgrade_is_never_answered_with_a_page() -> None:
    routes = (WEB, Route("/docs", Files(Path("/srv/my $ite"))))
    found = locations(https_of(site(routes=routes)))
    inside = found["/docs/"]
    assert values(inside, "alias") == [["/srv/my ${devtls_dollar}ite/"]]
    assert values(inside, "try_files") == [["$uri", "$uri/", "=404"]]
    (upgrade, inner), (hidden, _) = blocks(inside, "if")
    assert upgrade == ["($devtls_is_websocket)"]
    assert values(inner, "return")[0][0] == "404"
    assert hidden[:2] == ["($uri", "~"]
    assert values(found["= /docs"], "return") == [["307", "/docs/$is_args$args"]]


def test_a_single_page_app_answers_every_path_with_its_page() -> None:
    inside = locations(https_of(site(routes=(Route("/", Files(Path("/dist"), "index.html")),))))["/"]
    assert values(inside, "root") == [["/dist"]]
    assert values(inside, "try_files") == [["$uri", "$uri/index.html", "/index.html", "=404"]]


def test_a_redirect_keeps_what_follows_and_never_leaves_the_site_by_it() -> None:
    found = locations(https_of(site(routes=(WEB, Route("/old", Redirect("/new"))))))
    ((condition, inner),) = blocks(found["/old/"], "if")
    assert condition == ["($request_uri", "~", "^/old((?:/(?!/)|\\?).*)$", ")"]
    assert values(inner, "return") == [["307", "/new$1"]]
    assert values(found["/old/"], "return") == [["307", "/new"]]


def test_a_redirect_to_another_domain_says_the_port_and_stays_below_localhost() -> None:
    routes = (WEB, Route("/", Redirect(domain="love.cat"), "www.love.cat"))
    listen = Listen((Endpoint("127.0.0.1", 8443),), ())
    www, local = servers(render(site("www.love.cat", "www.love.cat.localhost", routes=routes), listen))
    assert values(locations(www)["/"], "return") == [["307", "https://love.cat:8443"]]
    assert values(locations(local)["/"], "return") == [["307", "https://love.cat.localhost:8443"]]


def test_a_header_replaces_the_apps_and_an_empty_one_takes_it_out() -> None:
    found = locations(https_of(site(headers=(("X-A", 'one "two" $3'), ("X-B", "")))))["/"]
    assert values(found, "proxy_hide_header") == [["X-A"], ["X-B"]]
    assert values(found, "add_header") == [["X-A", 'one "two" ${devtls_dollar}3', "always"]]


def test_silence_is_borne_for_an_hour_unless_it_is_to_be_as_in_production() -> None:
    https = https_of(site())
    inside = locations(https)["/"]
    assert values(inside, "proxy_read_timeout") == [["1h"]]
    assert values(inside, "proxy_buffering") == [["off"]]
    assert values(https, "client_max_body_size") == [["0"]]
    https = https_of(site(is_prod_like=True))
    inside = locations(https)["/"]
    for name in ("proxy_read_timeout", "proxy_send_timeout", "proxy_buffering", "proxy_request_buffering"):
        assert values(inside, name) == []
    assert values(https, "client_max_body_size") == []
    assert dict(values(inside, "proxy_set_header"))["Upgrade"] == "$devtls_upgrade"


def own_text(text: str, line: int) -> NginxText:
    return NginxText(text, "devtls.toml", line)


def site_with_own(domain: str, route: str = "", **given: Any) -> Site:
    """One host with directives of its own, for it and for its route."""
    of_domain = DomainSettings(("love.cat",), (("X-Frame-Options", "DENY"), ("Server", "")), own_text(domain, 10))
    routes = (Route("/api", "api", nginx=own_text(route, 20)), WEB)
    project = Project(Path("/srv/cats"), ("love.cat", "b.cat"), (), routes, settings=(of_domain,))
    return site("love.cat", "b.cat", routes=routes, settings=(of_domain,), own=parse_texts(project), **given)


def test_what_a_domain_says_holds_for_its_own_names_and_no_other() -> None:
    found = [each for each in servers(render(site_with_own("gzip on;"))) if values(each, "ssl_certificate")]
    assert [values(each, "gzip") for each in found] == [[["on"]], []]
    assert values(found[0], "add_header") == [["X-Frame-Options", "DENY", "always"]]
    assert values(locations(found[0])["/"], "proxy_hide_header") == [["X-Frame-Options"], ["Server"]]
    assert values(locations(found[1])["/"], "proxy_hide_header") == []


def test_what_the_user_says_is_not_said_twice() -> None:
    domain = "client_max_body_size 5m; proxy_read_timeout 5s; proxy_set_header X-Cat purr; add_header X-A 1;"
    found = https_of(site_with_own(domain, "proxy_set_header host x; proxy_hide_header Via;"))
    assert values(found, "client_max_body_size") == [["5m"]]
    assert values(found, "client_body_timeout") == [["1h"]]
    root, api = locations(found)["/"], locations(found)["/api/"]
    assert values(root, "proxy_read_timeout") == []
    assert ["X-Cat", "purr"] in values(root, "proxy_set_header")
    assert [value for name, value in values(root, "proxy_set_header") if name.lower() == "host"] == ["$http_host"]
    assert [value for name, value in values(api, "proxy_set_header") if name.lower() == "host"] == ["x"]
    assert values(api, "add_header") == [["X-A", "1"], ["X-Frame-Options", "DENY", "always"]]
    assert values(api, "proxy_hide_header") == [["Via"], ["X-Frame-Options"], ["Server"]]


def test_a_location_of_the_users_in_a_route_passes_on_as_the_route_does_and_keeps_our_headers() -> None:
    routes = "location ~ \\.js$ { expires 1h; add_header X-B 2; }"
    found = https_of(site_with_own("location /a/ { root public; add_header X-C 3; }", routes))
    api, exact = locations(found)["/api/"], locations(found)["= /api"]
    assert locations(exact) == {}
    (inner,) = locations(api).values()
    assert values(inner, "proxy_pass") == [["http://devtls_0123456789ab_0"]]
    assert values(inner, "set") == [["$devtls_upstream", "0"]]
    assert values(inner, "add_header") == [["X-Frame-Options", "DENY", "always"], ["X-B", "2"]]
    assert values(locations(found)["/a/"], "add_header") == [["X-Frame-Options", "DENY", "always"], ["X-C", "3"]]


def test_a_location_in_a_route_to_a_grpc_service_passes_on_as_grpc_without_the_prefix() -> None:
    text = own_text("location ~ /slow { limit_rate 1k; }", 3)
    route = Route("/rpc", "rpc", is_stripped=True, nginx=text)
    project = Project(Path("/srv/cats"), ("love.cat",), (), (route, WEB))
    upstreams = (Upstream("rpc", (APP,), Scheme.GRPC), Upstream("web", (APP,)))
    found = https_of(site("love.cat", routes=(route, WEB), upstreams=upstreams, own=parse_texts(project)))
    (inner,) = locations(locations(found)["/rpc/"]).values()
    assert values(inner, "grpc_pass") == [["grpc://devtls_0123456789ab_0"]]
    assert values(inner, "rewrite") == [["^/rpc/?(.*)$", "/$1", "break"]]


def test_files_and_sticky_cookies_keep_what_a_domain_adds(tmp_path: Path) -> None:
    settings = DomainSettings(("love.cat",), (), own_text("add_header X-A 1;", 3))
    routes = (Route("/docs", Files(tmp_path)), WEB)
    project = Project(tmp_path, ("love.cat",), (), routes, settings=(settings,))
    found = https_of(site("love.cat", routes=routes, settings=(settings,), own=parse_texts(project)))
    assert values(locations(found)["/docs/"], "add_header") == [["X-A", "1"], ["Cache-Control", "no-cache"]]


def accepted(text: str) -> bool:
    try:
        parse_domain(text)
    except UsageError:
        return False
    return True


def header_of(text: str) -> tuple[str, str] | None:
    try:
        return parse_header(text)
    except UsageError:
        return None


hosts = st.from_regex(r"[a-zA-Z0-9ä;{}$\"' .-]{1,40}", fullmatch=True).filter(accepted).map(parse_domain)
prefixes = st.from_regex(PREFIX, fullmatch=True).map(lambda text: text.rstrip("/")).filter(bool)
endpoints = st.builds(Endpoint, st.sampled_from(["127.0.0.1", "127.0.0.9", "::1"]), st.integers(1, 65535))
headers = st.from_regex(r"[A-Za-z0-9!#%&'*+.^_`|~-]{1,8}: ?[ -~]{0,30}", fullmatch=True).map(header_of).filter(bool)
folders = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).map(lambda text: Path("/srv") / text)


@settings(deadline=None)
@given(
    host=hosts,
    prefix=prefixes,
    endpoint=endpoints,
    header=headers,
    folder=folders,
    is_stripped=st.booleans(),
    features=st.sampled_from([NEWEST, OLDEST]),
)
def test_nothing_that_is_accepted_adds_a_directive(
    host: str,
    prefix: str,
    endpoint: Endpoint,
    header: tuple[str, str],
    folder: Path,
    is_stripped: bool,
    features: frozenset[str],
) -> None:
    def made(host: str, prefix: str, endpoint: Endpoint, header: tuple[str, str], folder: Path) -> Block:
        target = External(endpoint)
        routes = (
            WEB,
            Route(prefix, target, is_stripped=is_stripped),
            Route(f"{prefix}/f", Files(folder)),
            Route(f"{prefix}/r", Redirect(prefix)),
        )
        upstreams = (Upstream("web", (APP,)), Upstream(target, (endpoint,)))
        return render(site(host, routes=routes, upstreams=upstreams, headers=(header,)), features=features)

    def shape(block: Block) -> list[Any]:
        return [(words[0], len(words), shape(inside)) for words, inside in block]

    usual = made("love.cat", "/api", APP, ("X-A", "b" if header[1] else ""), Path("/srv"))
    block = made(host, prefix, endpoint, header, folder)
    assert shape(block) == shape(usual)
    https, http = servers(block)
    assert values(https, "server_name") == values(http, "server_name") == [[host]]
