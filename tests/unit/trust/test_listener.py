from __future__ import annotations

import contextlib
import socket
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from devtls.ca.profile import issue_leaf, make_authority
from devtls.trust.listener import Answer, Certificate, Listener, Port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devtls.ca.profile import AuthorityPem

NOW = datetime.now(UTC)


@pytest.fixture
def authority() -> AuthorityPem:
    return make_authority(("love.cat",), owner="dev@machine", now=NOW)


@pytest.fixture
def port(authority: AuthorityPem, tmp_path: Path) -> Iterator[Port]:
    leaf = issue_leaf(authority.issuer, "love.cat", now=NOW)
    with Listener(tmp_path) as listener:
        yield listener.open(Certificate("love.cat", leaf.fullchain, leaf.key))


def ask(port: Port, roots: bytes, *, path: str = "", proxy: int = 0) -> None:
    """What a client does that trusts these roots; `proxy` is the port that it goes through."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=roots.decode())
    with socket.create_connection(("127.0.0.1", proxy or port.target.port), 5) as raw:
        if proxy:
            raw.sendall(f"CONNECT love.cat:{port.target.port} HTTP/1.1\r\n\r\n".encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 200")
        with context.wrap_socket(raw, server_hostname="love.cat") as way:
            way.sendall(f"GET {path or port.target.path} HTTP/1.0\r\n\r\n".encode())
            while way.recv(100):
                pass


def test_a_whole_handshake_with_its_request_is_accepted(port: Port, authority: AuthorityPem) -> None:
    ask(port, authority.root)
    assert port.decided.wait(5)
    assert port.answer is Answer.ACCEPTED


def test_a_client_may_take_one_port_for_its_proxy_to_all_of_them(authority: AuthorityPem, tmp_path: Path) -> None:
    leaf = issue_leaf(authority.issuer, "love.cat", now=NOW)
    with Listener(tmp_path) as listener:
        one, two = (listener.open(Certificate("love.cat", leaf.fullchain, leaf.key)) for _ in range(2))
        for port in (one, two):
            ask(port, authority.root, proxy=one.target.port)
            assert port.decided.wait(5)
            assert port.answer is Answer.ACCEPTED


def test_a_proxy_that_is_asked_for_elsewhere_hangs_up_and_counts_nothing(port: Port) -> None:
    with socket.create_connection(("127.0.0.1", port.target.port), 5) as raw:
        raw.sendall(b"CONNECT example.com:443 HTTP/1.1\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 200")
        raw.sendall(b"\x16")
        with contextlib.suppress(ConnectionResetError):
            assert raw.recv(100) == b""
    assert port.answer is Answer.SILENT


def test_a_client_that_does_not_know_the_root_is_told_by_its_alert(port: Port) -> None:
    stranger = make_authority(("love.cat",), owner="other@machine", now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(port, stranger.root)
    assert port.decided.wait(5)
    assert (port.answer, port.alert) == (Answer.REFUSED, "tlsv1 alert unknown ca")


def test_a_connection_that_says_nothing_is_no_answer(port: Port) -> None:
    socket.create_connection(("127.0.0.1", port.target.port), 5).close()
    assert (port.decided.is_set(), port.answer) == (False, Answer.SILENT)


def test_a_request_for_something_else_is_not_taken_for_acceptance(port: Port, authority: AuthorityPem) -> None:
    ask(port, authority.root, path="/other")
    assert port.answer is not Answer.ACCEPTED


def test_no_key_stays_on_the_disk(port: Port, tmp_path: Path) -> None:
    assert port.target.host == "love.cat"
    assert list(tmp_path.iterdir()) == []
