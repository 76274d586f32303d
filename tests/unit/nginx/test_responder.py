from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import dnslib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devtls.nginx.responder import HOST, MOST_CONNECTIONS, RETRY, SILENCE, Responder
from devtls.system.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator

QUERY = dnslib.DNSRecord.question("shop.love.cat").pack()


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """A responder on a loop, and those who ask it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        with socket.create_server((HOST, 0)) as free:
            self.port = free.getsockname()[1]
        self.responder = Responder(self.loop, ipv6=False, port=self.port)
        self.clients = contextlib.ExitStack()

    def turn(self) -> None:
        for _ in range(4):
            self.loop.turn(0.002)

    def client(self, kind: socket.SocketKind) -> socket.socket:
        client = self.clients.enter_context(socket.socket(socket.AF_INET, kind))
        client.settimeout(1.0)
        client.connect((HOST, self.port))
        self.turn()
        return client

    def ask(self, client: socket.socket, data: bytes) -> bytes:
        client.sendall(data)
        self.turn()
        return client.recv(4096)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    with stage.clients:
        yield stage
    stage.responder.close()
    stage.loop.close()


def framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(2, "big") + packet


def address_in(packet: bytes) -> list[str]:
    return [str(record.rdata) for record in dnslib.DNSRecord.parse(packet).rr]


def test_it_answers_over_udp_and_tcp(stage: Stage) -> None:
    stage.responder.serve(["*.love.cat"])
    assert address_in(stage.ask(stage.client(socket.SOCK_DGRAM), QUERY)) == ["127.0.0.1"]
    stream = stage.client(socket.SOCK_STREAM)
    assert address_in(stage.ask(stream, framed(QUERY))[2:]) == ["127.0.0.1"]
    assert address_in(stage.ask(stream, framed(QUERY))[2:]) == ["127.0.0.1"]


def test_a_question_in_pieces_and_two_at_once_are_understood(stage: Stage) -> None:
    stage.responder.serve(["*.love.cat"])
    stream = stage.client(socket.SOCK_STREAM)
    stream.sendall(framed(QUERY)[:1])
    stage.turn()
    stream.sendall(framed(QUERY)[1:9])
    stage.turn()
    said = stage.ask(stream, framed(QUERY)[9:] + framed(QUERY))
    first = int.from_bytes(said[:2], "big")
    assert address_in(said[2 : 2 + first]) == ["127.0.0.1"]
    assert address_in(said[4 + first :]) == ["127.0.0.1"]


def test_without_a_wildcard_the_port_is_anybodys(stage: Stage) -> None:
    stage.responder.serve(["*.love.cat"])
    stream = stage.client(socket.SOCK_STREAM)
    stage.responder.serve(["*.other.test"])
    said = dnslib.DNSRecord.parse(stage.ask(stream, framed(QUERY))[2:])
    assert said.header.rcode == dnslib.RCODE.REFUSED
    stage.responder.serve([])
    assert stream.recv(1) == b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, stage.port))


def test_a_port_that_is_taken_is_told_once_and_tried_again(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, stage.port))
        stage.responder.serve(["*.love.cat"])
        stage.responder.serve(["*.love.cat", "*.other.test"])
    told = capsys.readouterr().err
    assert told == f"*.love.cat: served, not resolved: {HOST}:{stage.port}: Address already in use\n"
    stage.clock.now += RETRY + 1
    stage.turn()
    assert address_in(stage.ask(stage.client(socket.SOCK_DGRAM), QUERY)) == ["127.0.0.1"]
    stage.clock.now += RETRY + 1
    stage.turn()
    assert address_in(stage.ask(stage.client(socket.SOCK_DGRAM), QUERY)) == ["127.0.0.1"]


def test_a_port_that_is_taken_is_not_tried_for_nobody(stage: Stage) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, stage.port))
        stage.responder.serve(["*.love.cat"])
        stage.responder.serve([])
    stage.clock.now += RETRY + 1
    stage.turn()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, stage.port))


@pytest.mark.parametrize("data", [b"\xff\xff", b"\x00\x00", framed(b"nonsense"), b""])
def test_who_speaks_no_dns_is_hung_up_on(stage: Stage, data: bytes) -> None:
    stage.responder.serve(["*.love.cat"])
    stream = stage.client(socket.SOCK_STREAM)
    if data:
        stream.sendall(data)
    else:
        stream.shutdown(socket.SHUT_WR)
    stage.turn()
    assert stream.recv(1) == b""


def test_who_says_nothing_is_hung_up_on(stage: Stage) -> None:
    stage.responder.serve(["*.love.cat"])
    stream = stage.client(socket.SOCK_STREAM)
    stage.clock.now += SILENCE + 1
    stage.turn()
    assert stream.recv(1) == b""


def test_a_crowd_does_not_take_the_descriptors_of_the_projects(stage: Stage) -> None:
    stage.responder.serve(["*.love.cat"])
    crowd = [stage.client(socket.SOCK_STREAM) for _ in range(MOST_CONNECTIONS)]
    assert stage.client(socket.SOCK_STREAM).recv(1) == b""
    assert address_in(stage.ask(crowd[0], framed(QUERY))[2:]) == ["127.0.0.1"]
    crowd[1].close()
    stage.turn()
    assert address_in(stage.ask(stage.client(socket.SOCK_STREAM), framed(QUERY))[2:]) == ["127.0.0.1"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(st.binary(max_size=64))
def test_no_bytes_end_it(stage: Stage, data: bytes) -> None:
    stage.responder.serve(["*.love.cat"])
    stage.client(socket.SOCK_DGRAM).send(data)
    with contextlib.suppress(OSError):
        stage.client(socket.SOCK_STREAM).sendall(data)
    stage.turn()
    stage.clients.pop_all().close()
    stage.turn()
    assert address_in(stage.ask(stage.client(socket.SOCK_DGRAM), QUERY)) == ["127.0.0.1"]
