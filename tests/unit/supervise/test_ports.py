from __future__ import annotations

import os
import socket

import pytest

from devtls.model import Endpoint
from devtls.supervise.ports import accepts, choose_candidates, describe_holder, find_open, find_owner, find_stranger
from devtls.system.processes import Holder, identify


def serve(host: str, family: socket.AddressFamily) -> socket.socket:
    server = socket.socket(family)
    server.bind((host, 0))
    server.listen()
    return server


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_an_open_port_is_found_in_either_family(host: str, family: socket.AddressFamily) -> None:
    with serve(host, family) as server:
        port = server.getsockname()[1]
        assert find_open(port) == Endpoint(host, port)
    assert find_open(port) is None


def test_a_port_that_is_bound_but_not_listened_on_is_closed() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        assert not accepts(Endpoint("127.0.0.1", server.getsockname()[1]))


def test_the_owner_of_a_port_is_named() -> None:
    with serve("127.0.0.1", socket.AF_INET) as server:
        port = server.getsockname()[1]
        owner = find_owner(port)
        assert owner
        assert f"(pid {os.getpid()}, since " in owner
        assert find_stranger(port, {os.getpid()}.__contains__) is None
        assert find_stranger(port, set[int]().__contains__) == owner
    assert find_owner(port) is None


def test_a_holder_that_cannot_be_seen_is_told_by_its_user() -> None:
    here = Endpoint("127.0.0.1", 80)
    assert describe_holder(Holder(here, 0, None)) == "a process of user root"
    assert describe_holder(Holder(here, 4_000_000, None)) == "a process of user id 4000000"
    assert f" (pid {os.getpid()}, since " in describe_holder(Holder(here, 0, identify(os.getpid())))


def test_candidates_are_elsewhere_and_never_a_debugger() -> None:
    seen = [
        Endpoint("::1", 5173),
        Endpoint("127.0.0.1", 9229),
        Endpoint("127.0.0.1", 5173),
        Endpoint("127.0.0.1", 3000),
        Endpoint("192.168.1.5", 3000),
    ]
    assert choose_candidates(seen, 3000) == (
        Endpoint("192.168.1.5", 3000),
        Endpoint("127.0.0.1", 5173),
        Endpoint("::1", 5173),
    )
