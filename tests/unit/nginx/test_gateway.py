from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from devtls.errors import DevtlsError
from devtls.model import Endpoint
from devtls.nginx import gateway
from devtls.nginx.binary import Nginx
from devtls.nginx.gateway import Greeting, Neighbour, control_socket, gateway_pids, greet, parse_greeting
from devtls.nginx.listen import Listen
from devtls.nginx.protocol import PROTOCOL
from devtls.system import processes
from devtls.system.channel import listen, send_with_descriptors
from devtls.system.files import make_private_directory
from devtls.system.paths import Paths
from devtls.system.templates import find_templates

if TYPE_CHECKING:
    from pathlib import Path

NGINX = Nginx("/usr/sbin/nginx", (1, 22, 1), frozenset({"http2"}))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path, tmp_path / "data", tmp_path / "state")
    make_private_directory(paths.gateway)
    return paths


def hello(**changes: Any) -> dict[str, Any]:
    return {
        "hello": "devtls-gateway",
        "protocol": PROTOCOL,
        "version": "0.1.0",
        "pid": 42,
        "nginx": {"path": NGINX.path, "version": [1, 22, 1], "features": ["http2"]},
        "https": [["127.0.0.1", 443], ["::1", 443]],
        "http": [["127.0.0.1", 80]],
        "sites": [{"directory": "/home/dev/shop", "domains": ["love.cat", "www.love.cat"], "pid": 7}],
        **changes,
    }


def test_a_greeting_is_read() -> None:
    shop = Neighbour("/home/dev/shop", ("love.cat", "www.love.cat"), 7)
    greeting = parse_greeting(hello())
    assert greeting == Greeting(
        pid=42,
        version="0.1.0",
        nginx=NGINX,
        listen=Listen((Endpoint("127.0.0.1", 443), Endpoint("::1", 443)), (Endpoint("127.0.0.1", 80),)),
        neighbours=(shop,),
    )
    assert greeting.owner_of("www.love.cat") == shop
    assert greeting.owner_of("purr.cat") is None


@pytest.mark.parametrize("changes", [{"protocol": PROTOCOL + 1}, {"protocol": None}, {"hello": "else"}])
def test_a_keeper_of_another_protocol_is_told_with_the_way_out(changes: dict[str, Any]) -> None:
    with pytest.raises(DevtlsError, match=r"is of devtls 0\.1\.0 and speaks another protocol") as refused:
        parse_greeting(hello(**changes))
    assert "devtls ps --all" in refused.value.cure[0]


def test_no_keeper_is_greeted_with_nothing(paths: Paths) -> None:
    assert greet(paths) is None
    listen(control_socket(paths)).close()  # its socket is left, as after a kill
    assert greet(paths) is None


def test_a_keeper_that_hangs_up_is_none(paths: Paths) -> None:
    with listen(control_socket(paths)) as server:
        server.setblocking(True)

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert greet(paths) is None
        thread.join()


def test_a_keeper_is_greeted_and_passes_its_sockets_on(paths: Paths) -> None:
    with listen(control_socket(paths)) as server, socket.create_server(("127.0.0.1", 0)) as https:
        server.setblocking(True)

        def answer() -> None:
            with server.accept()[0] as connection:
                send_with_descriptors(connection, hello(), [https.fileno()])

        thread = threading.Thread(target=answer)
        thread.start()
        met = greet(paths)
        thread.join()
        assert met
        greeting, (duplicate,), client = met
        with client, duplicate:
            assert greeting.pid == 42
            assert duplicate.getsockname() == https.getsockname()


@pytest.mark.parametrize(
    "text", ["", "not a number", "-1 1", "1 2 3", str(os.getpid()), f"{os.getpid()} 1", "999999999 1"]
)
def test_a_lock_that_names_no_keeper_spares_nobody(paths: Paths, text: str) -> None:
    assert gateway_pids(paths) == ()
    (paths.gateway / "lock").write_text(text, "utf-8")
    assert gateway_pids(paths) == ()


def test_a_keeper_starts_once_holds_the_sockets_and_ends_when_told(paths: Paths) -> None:
    environment = {**os.environ, "DEVTLS_SESSION": "not its own"}
    with socket.create_server(("127.0.0.1", 0)) as https, socket.create_server(("127.0.0.1", 0)) as http:
        for status in (0, os.EX_TEMPFAIL):
            with gateway.start(paths, NGINX, find_templates({}), [https, http], environment) as starting:
                assert starting.stdout
                assert (starting.stdout.read(), starting.wait()) == (b"", status)
        met = greet(paths)
        assert met
        greeting, duplicates, client = met
        assert (greeting.nginx, greeting.neighbours) == (NGINX, ())
        assert greeting.listen.https == (Endpoint(*https.getsockname()),)
        assert greeting.listen.http == (Endpoint(*http.getsockname()),)
        assert [each.getsockname() for each in duplicates] == [https.getsockname(), http.getsockname()]
        assert [os.get_blocking(each.fileno()) for each in duplicates] == [False, False]
        for each in duplicates:
            each.close()
    assert gateway_pids(paths) == (greeting.pid,)
    assert processes.find_marked("DEVTLS_SESSION", "not its own") == ()
    with client:
        os.kill(greeting.pid, signal.SIGTERM)
        assert client.receive() is None
    assert not control_socket(paths).exists()
