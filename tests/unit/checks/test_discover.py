from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtls.checks.discover import clean_path, find_candidates, find_scripts, resolve_source


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("new WebSocket(`wss://${location.host}/chat`)", "/chat"),
        ("new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/chat`)", "/chat"),
        ("const host = location.host; new WebSocket(`wss://${host}/live/1?x=2`)", "/live/1?x=2"),
        ("new WebSocket(`ws://${location.hostname}:${location.port}/ws`)", "/ws"),
        ("new WebSocket(`ws://${location.hostname}:3000/ws`)", "/ws"),
        ('new WebSocket("ws://" + location.host + "/x")', "/x"),
        ("new WebSocket((s ? 'wss://' : 'ws://') + window.location.host + '/x')", "/x"),
        ("new WebSocket(location.origin.replace(/^http/, 'ws') + '/x')", "/x"),
        ("new WebSocket('/relative')", "/relative"),
        ("new WebSocket('wss://love.cat/absolute')", "/absolute"),
    ],
)
def test_a_path_that_the_script_states_is_found_first(script: str, path: str) -> None:
    first = find_candidates(script, "love.cat")[0]
    assert (first.path, first.is_stated) == (path, True)


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("new WebSocket('ws://localhost:3000/dev')", "/dev"),
        ("const place = base + '/far'; const socket = new WebSocket(place)", "/far"),
        ("import {io} from 'x'; const socket = io()", "/socket.io/?EIO=4&transport=websocket"),
        ("const socket = io({ path: '/own' })", "/own/?EIO=4&transport=websocket"),
        ("createConsumer()", "/cable"),
        ("new SockJS('/stomp')", "/stomp/websocket"),
        ('new Socket("/socket", {params: {}})', "/socket/websocket?vsn=2.0.0"),
        ("/_next/static/chunks/main.js", "/_next/hmr"),
    ],
)
def test_a_path_that_must_be_tried_is_found(script: str, path: str) -> None:
    found = {candidate.path: candidate for candidate in find_candidates(script, "love.cat")}
    assert path in found
    assert not found[path].is_stated


def test_vites_token_and_base_are_read_from_its_client() -> None:
    client = (
        'const socketHost = `${"" || importMetaUrl.hostname}:${hmrPort || importMetaUrl.port}${"/app/"}`;\n'
        'const wsToken = "a1B_2-c"; new WebSocket(`${protocol}://${hostAndPath}?token=${wsToken}`, "vite-hmr")'
    )
    first = find_candidates(client, "love.cat")[0]
    assert (first.path, first.subprotocols, first.is_stated) == ("/app/?token=a1B_2-c", ("vite-hmr",), True)


def test_another_sites_socket_is_not_ours() -> None:
    assert find_candidates("new WebSocket('wss://example.com/feed')", "love.cat") == ()


def test_a_fetch_is_no_websocket() -> None:
    assert find_candidates("fetch(`https://${location.host}/api`)", "love.cat") == ()
    both = "fetch(location.origin + '/api');" + " " * 400 + "new WebSocket(url)"
    assert not any(candidate.is_stated for candidate in find_candidates(both, "love.cat"))


def test_scripts_are_told_apart_by_their_source() -> None:
    page = (
        "<SCRIPT>one()</SCRIPT><script type=module src=/a.js?x=1&amp;y=2></script>"
        "<script async src='b.js'></script><script src=\"b.js\"></script><script>two()"
    )
    inline, sources = find_scripts(page)
    assert inline.split() == ["one()", "two()"]
    assert sources == ("/a.js?x=1&y=2", "b.js")


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("/a.js", "/a.js"),
        ("b.js?v=1#x", "/b.js?v=1"),
        ("https://love.cat/c.js", "/c.js"),
        ("//love.cat/d.js", "/d.js"),
        ("https://cdn.example/e.js", None),
        ("http://love.cat/f.js", None),
        ("data:text/javascript,0", None),
        ("https://[::1/g.js", None),
    ],
)
def test_only_scripts_of_the_same_origin_are_fetched(source: str, path: str | None) -> None:
    assert resolve_source(source, "love.cat") == path


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/chat", "/chat"),
        ("chat", "/chat"),
        ("/a b\r\nX: y", "/a%20b%0D%0AX:%20y"),
        ("/ü?q=ö#part", "/%C3%BC?q=%C3%B6"),
    ],
)
def test_a_path_cannot_break_a_request(written: str, path: str) -> None:
    assert clean_path(written) == path


@given(st.text(alphabet="<>script src='\"`/${}new WebSocket(locat.h)+wss:io", max_size=400))
def test_any_page_can_be_searched(text: str) -> None:
    inline, sources = find_scripts(text)
    for candidate in find_candidates("\n".join([text, inline, *sources]), "love.cat"):
        assert candidate.path.startswith("/")
        assert not set(candidate.path) & set("\r\n '\"`")
