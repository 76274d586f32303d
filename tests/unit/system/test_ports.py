from __future__ import annotations

import os
import socket

import pytest

from devtls.model import Endpoint
from devtls.system import ports
from devtls.system.ports import Owner, Reason, Refusal, bind, find_free_port, find_owner, parse_unit


def listening() -> tuple[socket.socket, Endpoint]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, Endpoint("127.0.0.1", listener.getsockname()[1])


def test_bound_sockets_listen_and_are_not_inherited() -> None:
    (listener,) = bind([Endpoint("127.0.0.1", 0)]).sockets
    with listener, socket.create_connection(listener.getsockname()):
        assert not listener.get_inheritable()


def test_a_taken_port_is_told_and_given_up_as_a_whole() -> None:
    taken, endpoint = listening()
    free = find_free_port(endpoint.port + 1)
    wanted = [Endpoint("127.0.0.2", endpoint.port), endpoint, Endpoint("127.0.0.3", endpoint.port)]
    with taken:
        binding = bind([*wanted, Endpoint("127.0.0.1", free)])
    assert binding.refused == (Refusal(endpoint, Reason.TAKEN),)
    assert binding.endpoints() == (Endpoint("127.0.0.1", free),)
    for each in binding.sockets:
        each.close()


def test_an_address_of_another_machine_is_absent() -> None:
    endpoint = Endpoint("192.0.2.1", 0)
    assert bind([endpoint]).refused == (Refusal(endpoint, Reason.ABSENT),)


@pytest.mark.parametrize(("number", "reason"), [(13, Reason.DENIED), (1, Reason.DENIED), (98, Reason.TAKEN)])
def test_denied_and_taken_are_told_apart(number: int, reason: Reason) -> None:
    assert ports._reason(OSError(number, os.strerror(number))) == reason


def test_both_families_share_a_port() -> None:
    port = find_free_port(20000)
    hosts = ("127.0.0.1", "::1") if ports.has_ipv6() else ("127.0.0.1",)
    binding = bind(Endpoint(host, port) for host in hosts)
    assert binding.refused == ()
    for each in binding.sockets:
        each.close()


def test_the_next_free_port_is_found() -> None:
    taken, endpoint = listening()
    with taken:
        assert find_free_port(endpoint.port) > endpoint.port


def test_the_owner_of_a_port_is_found_with_its_pid() -> None:
    taken, endpoint = listening()
    with taken:
        owner = find_owner(endpoint)
    assert owner
    assert owner.pid == os.getpid()
    assert owner.since
    assert find_owner(endpoint) is None


def test_a_listener_on_every_address_owns_the_loopback_too() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104 - that is what is tested
        owner = find_owner(Endpoint("127.0.0.1", listener.getsockname()[1]))
    assert owner
    assert owner.pid == os.getpid()


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/nginx.service\n", "nginx.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service\n", "web.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-term.scope\n", ""),
        ("1:name=systemd:/system.slice/apache2.service\n0::/\n", "apache2.service"),
        ("0::/\n", ""),
    ],
)
def test_the_systemd_unit_is_read_from_the_control_group(cgroup: str, unit: str) -> None:
    assert parse_unit(cgroup) == unit


def test_the_cure_stops_the_unit_that_would_start_it_again() -> None:
    owner = Owner(812, "nginx", None, "root", "nginx.service")
    assert str(owner) == "nginx (pid 812)"
    assert owner.cure(443) == ("Stop it:", "  sudo systemctl stop nginx")


def test_a_unit_of_the_user_is_stopped_without_root() -> None:
    owner = Owner(812, "node", None, "ann", "web.service", is_users_unit=True)
    assert owner.cure(443)[-1] == "  systemctl --user stop web"


def test_the_user_of_a_listening_socket_is_known_without_its_pid() -> None:
    taken, endpoint = listening()
    with taken:
        assert ports._socket_user(endpoint) == ports._user_name(os.getuid())


def test_an_owner_that_the_kernel_hides_is_told_by_its_user() -> None:
    owner = Owner(None, "a process", None, "root")
    assert str(owner) == "a process of user root"
    assert owner.cure(443)[-1] == "  sudo ss -ltnp 'sport = :443'"
