"""Of a user's own directives a real nginx reads what was checked, and serves no file but the project's."""

from __future__ import annotations

import http.client
import http.server
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from devtls.errors import DevtlsError, UsageError
from devtls.model import DomainSettings, NginxText, Project, Route, Scheme
from devtls.nginx.directives import (
    ALLOWED,
    OwnText,
    locate,
    parse_own,
    render_own,
)
from devtls.nginx.location import Manners, Way, render_location, render_server
from devtls.nginx.own import parse_texts
from devtls.nginx.render import render_gateway
from devtls.nginx.site import render_site
from devtls.system.templates import fill
from tests.real.test_nginx_render import TEMPLATES, Gateway, find, opened
from tests.unit.nginx.test_directives import contexts, names_in, read_as_nginx, texts, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtls.model import NginxContext as Context
    from devtls.nginx.binary import Nginx
    from devtls.nginx.site import Site

SECOND = 10.0  # patience of one look; nothing is asserted about it

# One of each, as it is written in the wild; and those whose module a binary lacks.
SPECIAL: dict[str, tuple[Context, str]] = {
    "alias": ("server", "location /a/ { alias public/; }"),
    "break": ("location", "if ($request_method = PURGE) { break; }"),
    "if": ("server", 'if ($http_user_agent ~* "(curl|wget) x") { return 403; }'),
    "internal": ("server", "location /a/ { internal; root public; }"),
    "location": ("server", r"location ~* ^/(a|b)\.(js|css)$ { root public; }"),
    "proxy_set_header": ("location", "proxy_set_header X-Cat $http_x_cat;"),
    "recursive_error_pages": ("server", "recursive_error_pages on;"),
    "return": ("server", r"location /a { return 301 https://$host/b$is_args$args; }"),
    "try_files": ("server", "location /a/ { root public; try_files $uri $uri/ $uri.html /a.html$is_args$args; }"),
    "types": ("server", "types { text/css css; application/manifest+json webmanifest; }"),
    "proxy_buffers": ("location", "proxy_buffers 8 64k;"),
    "proxy_buffer_size": ("location", "proxy_buffer_size 8k;"),
    "proxy_busy_buffers_size": ("location", "proxy_busy_buffers_size 16k;"),
}
LINES = r"""
absolute_redirect off
add_header Cache-Control "no-store, max-age=0" always
add_trailer X-Time $request_time
allow 127.0.0.1
auth_basic "the cats' room"
auth_basic_user_file .htpasswd
auth_request /auth
auth_request_set $cat $upstream_http_x_cat
autoindex on
autoindex_exact_size off
autoindex_format json
autoindex_localtime on
charset utf-8
charset_types text/css application/javascript
chunked_transfer_encoding off
client_body_buffer_size 64k
client_body_timeout 10s
client_max_body_size 10m
default_type application/octet-stream
deny all
error_page 404 =200 /404.html
etag off
expires -1
gunzip on
gzip on
gzip_buffers 16 8k
gzip_comp_level 6
gzip_disable "MSIE [1-6]\.(?!.*SV1)"
gzip_http_version 1.0
gzip_min_length 256
gzip_proxied no-cache no-store private expired auth
gzip_static on
gzip_types text/css application/json
gzip_vary on
if_modified_since before
index index.html index.htm /index.html
keepalive_requests 10
keepalive_timeout 5s
limit_rate 50k
limit_rate_after 1m
log_not_found off
max_ranges 0
msie_padding off
override_charset on
port_in_redirect off
proxy_buffering on
proxy_connect_timeout 5s
proxy_cookie_domain ~^(.+)\.example\.com$ $1.test
proxy_cookie_flags one httponly samesite=strict
proxy_cookie_path ~*^/user/([^/]+) /u/$1
proxy_force_ranges on
proxy_hide_header X-Powered-By
proxy_http_version 1.0
proxy_ignore_client_abort on
proxy_ignore_headers X-Accel-Redirect X-Accel-Expires
proxy_intercept_errors on
proxy_limit_rate 100k
proxy_max_temp_file_size 0
proxy_method GET
proxy_next_upstream error timeout http_502
proxy_next_upstream_timeout 5s
proxy_next_upstream_tries 2
proxy_pass_header Server
proxy_pass_request_body off
proxy_pass_request_headers off
proxy_read_timeout 5s
proxy_redirect ~^http://[^/]+:8000/(.*)$ https://love.cat/$1
proxy_request_buffering on
proxy_send_timeout 5s
proxy_set_body '{"a": "$arg_a;"}'
proxy_socket_keepalive off
rewrite ^/old/(.*)$ /new/$1?from=old permanent
root public
satisfy any
send_timeout 5s
server_name_in_redirect on
set $cat "${host}-purr"
source_charset utf-8
sub_filter '<head>' '<head><script>console.log("dev;")</script>'
sub_filter_last_modified on
sub_filter_once off
sub_filter_types text/css
tcp_nodelay off
"""
EXAMPLES = SPECIAL | {line.split()[0]: ("server", f"{line};") for line in LINES.strip().split("\n")}
LACKING = {
    "system": set[str](),
    "wheel": {"sub_filter", "sub_filter_last_modified", "sub_filter_once", "sub_filter_types", "gunzip", "gzip_static"},
}


@pytest.fixture(scope="module", params=["system", "wheel"])
def source(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def nginx(source: str, tmp_path_factory: pytest.TempPathFactory) -> Nginx:
    return find(source, tmp_path_factory.mktemp("cache") / "nginx.json")


@pytest.fixture(scope="module")
def gateway(nginx: Nginx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with opened(nginx, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


def own(text: str, context: Context, project: Path) -> OwnText:
    return OwnText(text, "devtls.toml", 1, context, project)


def with_own(site: Site, domain: str, route: str, project: Path) -> Site:
    """The site with a domain's and its routes' own directives."""
    of_domain = DomainSettings(("love.cat",), nginx=NginxText(domain, "devtls.toml", 1) if domain else None)
    of_route = NginxText(route, "devtls.toml", 1) if route else None
    routes = tuple(replace(each, nginx=of_route) for each in site.routes)
    texts = parse_texts(Project(project, ("love.cat",), (), routes, settings=(of_domain,)))
    return replace(site, routes=routes, settings=(of_domain,), own=texts)


def complaint_of(gateway: Gateway, domain: str = "", route: str = "", project: Path = Path("/srv/cats")) -> str | None:
    """What nginx says against a user's directives, at the user's line."""
    features = gateway.nginx.features
    site = with_own(gateway.site("love.cat"), domain, route, project)
    user = "root" if os.geteuid() == 0 else ""
    sites = [render_site(site, gateway.listen, features, TEMPLATES)]
    config = render_gateway(
        gateway.listen, features, TEMPLATES, sites, leaf=gateway.leaf(""), pages=gateway.folder, user=user
    )
    with tempfile.TemporaryDirectory(dir=gateway.folder) as name:
        Path(name, "nginx.conf").write_text(config, "utf-8")
        try:
            gateway.master.test(Path(name))
        except DevtlsError as error:
            said = str(error)
        else:
            return None
    located = locate(said, config)
    assert located, f"{said}\n{config}"
    return located


def test_there_is_an_example_of_each_directive() -> None:
    assert set(EXAMPLES) == ALLOWED


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_nginx_takes_what_the_list_allows_or_lacks_the_module(gateway: Gateway, source: str, name: str) -> None:
    context, text = EXAMPLES[name]
    said = complaint_of(gateway, text) if context == "server" else complaint_of(gateway, route=text)
    unknown = f'devtls.toml:1: unknown directive "{name}"'
    assert said == (unknown if name in LACKING[source] else None)


@pytest.mark.parametrize("name", sorted(name for name, (context, _) in EXAMPLES.items() if context == "server"))
def test_nginx_takes_it_in_a_route_too(gateway: Gateway, source: str, name: str) -> None:
    try:
        parse_own(own(EXAMPLES[name][1], "location", gateway.folder))
    except UsageError as refused:
        assert "does not work here" in str(refused)  # noqa: PT017 - some belong to a domain
        return
    said = complaint_of(gateway, route=EXAMPLES[name][1])
    assert said is None or name in LACKING[source] or 'is outside location "/api/"' in said


@pytest.mark.parametrize(
    ("domain", "route", "said"),
    [
        ("\n\nexpires purr;", "", 'devtls.toml:3: "expires" directive invalid value'),
        ("\nexpires\n1h\n2h 3h;", "", 'devtls.toml:2: invalid number of arguments in "expires" directive'),
        ("\nadd_header A $purr;", "", 'devtls.toml:2: unknown "purr" variable'),
        ("\nadd_header A ${purr}s;", "", 'devtls.toml:2: unknown "purr" variable'),
        ("gzip on;\ngzip on;", "", 'devtls.toml:2: "gzip" directive is duplicate'),
        ("location /a { return 200; }\nlocation /a { return 200; }", "", 'devtls.toml:2: duplicate location "/a"'),
        ("\nlocation / { return 200; }", "", 'devtls.toml:2: duplicate location "/"'),
        ("\nlocation ~ ( { return 200; }", "", "devtls.toml:2: pcre"),
        ("\nreturn 200 '$';", "", "devtls.toml:2: invalid variable name"),
        ("\nreturn 200 '" + "purr" * 2000 + "';", "", "devtls.toml:2: too long parameter"),
        ("", "\nproxy_buffer_size 1m;", 'devtls.toml:2: "proxy_busy_buffers_size" must be less than the size'),
        ("", "\nlocation /dogs { return 200; }", 'devtls.toml:2: location "/dogs" is outside location'),
        ("\nallow\nhome;", "", 'devtls.toml:2: invalid parameter "home"'),
    ],
)
def test_what_nginx_says_is_told_at_the_users_line(gateway: Gateway, domain: str, route: str, said: str) -> None:
    found = complaint_of(gateway, domain, route)
    assert found
    assert found.startswith(said)


def test_what_replaces_a_line_of_ours_is_not_said_twice(gateway: Gateway) -> None:
    route = """
    proxy_http_version 1.0; proxy_read_timeout 1s; proxy_send_timeout 1s; proxy_buffering on; error_page 502 /a;
    proxy_request_buffering on; proxy_socket_keepalive off; proxy_buffers 4 8k; proxy_set_header Host a;
    """
    assert complaint_of(gateway, route=route) is None


@settings(deadline=None, max_examples=150)
@given(text=texts, context=contexts)
def test_any_text_is_refused_or_read_or_told_at_its_line(gateway: Gateway, text: str, context: Context) -> None:
    try:
        directives = parse_own(own(text, context, Path("/srv/cats")))
    except UsageError:
        return
    assert read_as_nginx(render_own(directives)) == tree_of(directives)
    assert names_in(tree_of(directives)) <= ALLOWED | {"disable_symlinks", "text/css"}
    if said := complaint_of(gateway, text) if context == "server" else complaint_of(gateway, route=text):
        line = re.match(r"devtls\.toml:(\d+): ", said)
        assert line
        assert int(line[1]) <= text.count("\n") + 1


class App(http.server.BaseHTTPRequestHandler):
    """The service: it answers with what it was asked."""

    def do_GET(self) -> None:
        text = "".join(f"{line}\n" for line in (self.path, *(f"{k}: {v}" for k, v in self.headers.items()))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextmanager
def served(
    nginx: Nginx, folder: Path, domain: str = "", route: str = "", *, is_guarded: bool = True
) -> Iterator[Callable[[str], tuple[int, str]]]:
    """An nginx with these directives in front of the service, and how to ask it for a path, sent as it is."""
    app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    of_domain = parse_own(own(domain, "server", folder / "cats"))
    of_route = parse_own(own(route, "location", folder / "cats"))
    manners = Manners(own=of_domain)
    way = Way(0, Scheme.HTTP, f"127.0.0.1:{app.server_port}")
    parts = [f"server {{\nlisten 127.0.0.1:{port};\n", render_server(manners)]
    parts += [render_location(Route("/", "web"), way, manners, TEMPLATES, of_route)]
    parts += [fill(TEMPLATES, "nginx/pages.conf", pages=f"127.0.0.1:{app.server_port}"), "}"]
    site = "".join(parts)
    if not is_guarded:
        site = re.sub(r'disable_symlinks .*|if \( "\$uri" .*\n.*\n *\}', "", site)
    owner = "user root;" if os.geteuid() == 0 else ""
    maps = "".join(f'map $http_upgrade $devtls_{name} {{ default ""; }}' for name in ("upgrade", "connection"))
    temporary = " ".join(
        f"{kind}_temp_path temp/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "temp").mkdir()
    (folder / "nginx.conf").write_text(
        f"{owner} pid nginx.pid; error_log error.log; daemon off; events {{}}\n"
        f"http {{ access_log off; {temporary} {maps}\n{site} }}\n",
        "utf-8",
    )
    words = [nginx.path, "-p", f"{folder}/", "-e", "error.log", "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)

    def ask(path: str) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECOND)) as connection:
            connection.putrequest("GET", path)
            connection.putheader("Connection", "close")
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    try:
        wait_for(port, process, folder / "error.log")
        yield ask
    finally:
        process.terminate()
        process.wait()
        app.shutdown()
        app.server_close()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECOND
    while True:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project called cats, with secrets beside it and links to them."""
    public = tmp_path / "cats/public"
    (public / "sub").mkdir(parents=True)
    (public / "a.html").write_text("purr")
    (public / "sub/index.html").write_text("meow")
    for name in ("secret", "key", "cats-secret", "cats-key"):
        (tmp_path / name).write_text("secret")
    (public / "link").symlink_to(tmp_path / "secret")
    (public / "links").symlink_to(tmp_path)
    return tmp_path


CLIMBING = r"""
root .;
rewrite ^/up(.*)$ /$1;
rewrite ^/stay(.*)$ /$1 break;
if ($args = '') { rewrite ^/when(.*)$ /$1 break; }
location ^~ /last/ { rewrite ^/last/(?:x)(.*)$ /$1 last; }
location ~ secret$ { try_files $uri =404; }
location ~ key$ { etag off; }
location /public/ { index index.html; }
location ^~ /b/ { alias public/; }
location = /page { rewrite ^ /public/a.html last; }
"""
ESCAPES = [
    *(f"{begin}{end}" for begin in ("/up", "/stay", "/when", "/last/x") for end in ("../secret", "../key", "..%2fkey")),
    *(f"/{folder}/{end}" for folder in ("b", "public", "uppublic") for end in ("link", "links/secret", "links/key")),
]


def found_by(ask: Callable[[str], tuple[int, str]]) -> list[str]:
    return [path for path in ESCAPES if ask(path) == (200, "secret")]


def test_no_file_is_served_but_the_projects(nginx: Nginx, folder: Path) -> None:
    with served(nginx, folder, CLIMBING) as ask:
        for path in ("/public/a.html", "/b/a.html", "/uppublic/a.html", "/whenpublic/a.html", "/page"):
            assert (path, *ask(path)) == (path, 200, "purr")
        assert ask("/public/sub/") == (200, "meow")
        assert found_by(ask) == []


def test_each_of_these_would_be_served_without_what_we_add(nginx: Nginx, folder: Path) -> None:
    with served(nginx, folder, CLIMBING, is_guarded=False) as ask:
        assert found_by(ask) == ESCAPES


def test_a_rewrite_takes_a_prefix_off_and_our_headers_stay(nginx: Nginx, folder: Path) -> None:
    route = "rewrite ^/api/(.*)$ /$1 break; proxy_set_header X-Cat 'a; b'; proxy_set_header host purr.example;"
    with served(nginx, folder, "proxy_set_header X-Domain yes; proxy_set_header X-Cat no;", route) as ask:
        status, text = ask("/api/a?b=c")
    lines = text.split("\n")
    assert (status, lines[0]) == (200, "/a?b=c")
    assert [line for line in lines if line.lower().startswith("host:")] == ["host: purr.example"]
    assert [line for line in lines if line.startswith("X-Cat:")] == ["X-Cat: a; b"]
    assert "X-Domain: yes" in lines
    assert "X-Forwarded-Proto: http" in lines


def test_a_location_in_a_route_passes_on_with_our_headers(nginx: Nginx, folder: Path) -> None:
    with served(nginx, folder, "", r"location ~ \.js$ { add_header X-A b; }") as ask:
        status, text = ask("/a.js")
    assert status == 200
    assert text.startswith("/a.js\n")
    assert "X-Forwarded-Proto: http" in text


def test_the_groups_of_a_locations_pattern_are_there(nginx: Nginx, folder: Path) -> None:
    domain = """
    location ~ ^/old/(.*)\\.html$ { return 200 $1; }
    location ~* \\.(HTML)$ { return 200 $1; }
    """
    with served(nginx, folder, domain) as ask:
        assert ask("/old/a/b.html") == (200, "a/b")
        assert ask("/a.html") == (200, "html")


def test_words_mean_what_they_meant(nginx: Nginx, folder: Path) -> None:
    said = r"""location = /a { default_type text/plain; return 200 'a;b{c}"d" \'e\' # $uri\n\\x\.'; }"""
    with served(nginx, folder, said) as ask:
        assert ask("/a") == (200, "a;b{c}\"d\" 'e' # /a\n\\x\\.")
