"""Replicas of a service, and the ports that services are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from devtls.config.routes import HIGHEST_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from devtls.model import Service

FIRST_PORT = 3000
RESERVED = frozenset({"devtls", "gateway"})  # what the logs call our own


def replicate(service: Service, count: int, *, is_sticky: bool) -> list[Service]:
    """The one service, or as many as were asked for: web-1, web-2 and so on; the first has the port that it has."""
    if count == 1:
        return [service]
    made = replace(service, pool=service.name, is_sticky=is_sticky)
    return [
        replace(made, name=f"{service.name}-{number}", port=service.port if number == 1 else 0)
        for number in range(1, count + 1)
    ]


def assign_ports(services: Iterable[Service], find_port: Callable[[int], int]) -> tuple[Service, ...]:
    """Return the services with a port each: those that have none (0) get the next free one, from 3000 on."""
    services = tuple(services)
    told = {0, *(service.port for service in services)}
    made: list[Service] = []
    for service in services:
        port, above = service.port, made[-1].port % HIGHEST_PORT + 1 if made else FIRST_PORT
        if not port:
            while port in told:
                port = find_port(max(above, FIRST_PORT))
                above = port + 1
            told.add(port)
        made.append(replace(service, port=port))
    return tuple(made)
