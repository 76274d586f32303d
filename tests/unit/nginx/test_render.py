from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from devtls.model import Endpoint, Leaf
from devtls.nginx.binary import PROBES
from devtls.nginx.listen import Listen
from devtls.nginx.render import render_gateway
from devtls.system.templates import find_templates
from tests.unit.nginx.reading import Block, locations, parse, servers, values

NEWEST = frozenset(PROBES)
LISTEN = Listen(
    (Endpoint("127.0.0.1", 443), Endpoint("::1", 443)),
    (Endpoint("127.0.0.1", 80), Endpoint("::1", 80)),
)
LEAF = Leaf("_", Path("/data/fullchain.pem"), Path("/data/key.pem"), 1, datetime(2030, 1, 1, tzinfo=UTC))


def gateway(listen: Listen = LISTEN, **given: object) -> Block:
    words = {"leaf": LEAF, "pages": Path("/state/live"), **given}
    return parse(render_gateway(listen, NEWEST, find_templates({}), **words))  # type: ignore[arg-type] # cases of one test


def http_of(block: Block) -> Block:
    return next(inside for words, inside in block if words == ["http"])


def test_a_strangers_name_gets_a_bare_421() -> None:
    https, _, http, _ = servers(http_of(gateway()))
    for each in (https, http):
        assert values(each, "return") == [["421"]]
        assert locations(each) == {}
    assert values(https, "ssl_certificate") == [["/data/fullchain.pem"]]
    assert values(https, "listen") == [
        ["127.0.0.1:443", "default_server", "ssl"],
        ["[::1]:443", "default_server", "ssl"],
    ]


def test_who_asks_by_localhost_or_an_address_is_told_what_is_served() -> None:
    _, https, _, http = servers(http_of(gateway()))
    for each in (https, http):
        assert values(each, "server_name") == [["localhost", "*.localhost", "127.0.0.1", "[::1]"]]
        assert values(each, "root") == [["/state/live"]]
        assert values(each, "error_page") == [["404", "/unknown.$devtls_page"]]
        assert values(locations(each)["/"], "return") == [["404"]]


def test_a_project_that_serves_localhost_has_it() -> None:
    _, https, _, _ = servers(http_of(gateway(served={"localhost", "love.cat"})))
    assert values(https, "server_name") == [["*.localhost", "127.0.0.1", "[::1]"]]


def test_the_gateway_listens_on_exactly_what_it_was_handed() -> None:
    block = http_of(gateway(Listen((Endpoint("127.0.0.1", 8443),), ())))
    assert [values(each, "listen") for each in servers(block)] == [
        [["127.0.0.1:8443", "default_server", "ssl"]],
        [["127.0.0.1:8443", "ssl"]],
    ]


@pytest.mark.parametrize(("user", "said"), [("", []), ("root", [["root"]])])
def test_workers_run_as_root_only_when_root_says_so(user: str, said: list[list[str]]) -> None:
    assert values(gateway(user=user), "user") == said


def test_every_site_is_in_the_one_file() -> None:
    http = http_of(gateway(sites=["server { server_name love.cat; }", "server { server_name purr.cat; }"]))
    names = [values(each, "server_name") for each in servers(http)]
    assert names[-2:] == [[["love.cat"]], [["purr.cat"]]]
    assert values(http, "include") == []


def test_there_is_room_for_many_connections_and_long_names() -> None:
    block = gateway()
    events = next(inside for words, inside in block if words == ["events"])
    assert values(events, "worker_connections") == [["16384"]]
    assert values(http_of(block), "server_names_hash_bucket_size") == [["512"]]
