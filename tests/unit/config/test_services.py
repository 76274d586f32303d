from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtls.config.services import assign_ports, replicate
from devtls.model import Service

PLACE = Path("/srv/shop")


def service(name: str, port: int = 0) -> Service:
    return Service(name, ("true",), port, PLACE)


def test_replicas_share_a_name_for_routes_and_the_first_has_the_port() -> None:
    web = service("web", 4000)
    assert replicate(web, 1, is_sticky=False) == [web]
    made = replicate(web, 3, is_sticky=True)
    assert [(each.name, each.upstream, each.port, each.is_sticky) for each in made] == [
        ("web-1", "web", 4000, True),
        ("web-2", "web", 0, True),
        ("web-3", "web", 0, True),
    ]


@pytest.mark.parametrize(
    ("wanted", "taken", "given"),
    [
        ((0, 0), set[int](), (3000, 3001)),
        ((0, 3000), set[int](), (3001, 3000)),
        ((4000, 0, 0), set[int](), (4000, 4001, 4002)),
        ((0, 80, 0), {3000}, (3001, 80, 3000 + 2)),
    ],
)
def test_a_free_port_is_chosen_for_who_has_none(
    wanted: tuple[int, ...], taken: set[int], given: tuple[int, ...]
) -> None:
    taken = set(taken)

    def find_port(first: int) -> int:
        taken.add(port := next(port for port in range(first, 65536) if port not in taken))
        return port

    assert tuple(each.port for each in assign_ports(map(service, "abc", wanted), find_port)) == given


@given(st.lists(st.sampled_from([0, 0, 3000, 3001, 3002, 3003, 4000]), max_size=5).filter(
    lambda ports: len({*filter(None, ports)}) == len([*filter(None, ports)])
))  # fmt: skip
def test_no_two_services_get_the_same_port(wanted: list[int]) -> None:
    made = assign_ports((service(f"s{number}", port) for number, port in enumerate(wanted)), lambda first: first)
    assert all(not port or each.port == port for each, port in zip(made, wanted, strict=True))
    assert len({each.port for each in made}) == len(made)
