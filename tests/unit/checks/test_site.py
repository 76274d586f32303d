from __future__ import annotations

import pytest

from devtls.checks.site import find_location, parse_site

SITE = r"""
map $http_upgrade $u { default ""; websocket websocket; } # a comment with a brace {
server { listen 80; server_name love.cat; location / { return 301 https://$host$request_uri; } }
server {
    listen 443 ssl; server_name love.cat www.love.cat;
    proxy_set_header Host $host;
    location / { proxy_pass http://web; proxy_set_header Host $http_host; }
    location /chat { proxy_pass http://web; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade; {x}"; }
    location = /exact { proxy_pass http://web; }
    location ^~ /static { proxy_pass http://web; include more.conf; }
    location ~* \.(js|css)$ { proxy_pass http://files; }
    location ~ "^/r/[0-9]{2}$" { proxy_pass http://files; }
}
"""


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("/", "location /"),
        ("/chat", "location /chat"),
        ("/chat/room?x=1", "location /chat"),
        ("/chat/a.JS", r"location ~* \.(js|css)$"),
        ("/exact", "location = /exact"),
        ("/static/a.js", "location ^~ /static"),
        ("/r/12", "location ~ ^/r/[0-9]{2}$"),
    ],
)
def test_the_location_is_chosen_as_nginx_does(path: str, heading: str) -> None:
    location = find_location(SITE, "love.cat", path)
    assert location is not None
    assert location.heading == heading


def test_headers_are_inherited_all_or_none() -> None:
    chat = find_location(SITE, "www.love.cat", "/chat")
    assert chat is not None
    assert (chat.http_version, chat.header("host"), chat.header("connection")) == ("1.1", None, "upgrade; {x}")
    exact = find_location(SITE, "love.cat", "/exact")
    assert exact is not None
    assert exact.header("host") == "$host"


def test_an_include_means_that_more_may_be_said() -> None:
    static = find_location(SITE, "love.cat", "/static")
    assert static is not None
    assert not static.is_whole


def test_a_site_inside_http_is_found() -> None:
    text = f"http {{ proxy_http_version 1.1; {SITE} }}"
    location = find_location(text, "love.cat", "/")
    assert location is not None
    assert location.http_version == "1.1"


@pytest.mark.parametrize("text", ["", "server {", "} } ;", "server { server_name other; }", "server_name love.cat;"])
def test_a_text_without_the_host_tells_nothing(text: str) -> None:
    assert find_location(text, "love.cat", "/") is None


def test_a_text_cut_short_is_no_error() -> None:
    for end in range(len(SITE)):
        parse_site(SITE[:end])
