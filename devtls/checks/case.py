"""All that was seen of one WebSocket endpoint, and the questions that causes ask of it; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtls.checks.observation import Observation
    from devtls.checks.site import Location
    from devtls.model import Endpoint

VERSION = "proxy_http_version 1.1;"
UPGRADE = "proxy_set_header Upgrade $http_upgrade;"
CONNECTION = 'proxy_set_header Connection "upgrade";'


class Case(Struct, frozen=True):
    """All that was seen of one WebSocket endpoint.

    Attributes:
        gateway: as a browser, through nginx.
        direct: the same, straight to the service, as a correct proxy would ask.
        bare: as `direct`, without an Origin.
        local: as `direct`, with Host and Origin of the service's own address.
        location: what nginx is told to do for the path, when its file could be read.
    """

    url: str
    domain: str
    path: str
    gateway: Observation
    direct: Observation | None = None
    bare: Observation | None = None
    local: Observation | None = None
    service: Endpoint | None = None
    location: Location | None = None
    site: str = ""


class Rule(Struct, frozen=True):
    """A cause: when it applies, and what is said.

    Attributes:
        layer, code: as in model.Check.
        rules_out: what is known not to be the cause when this rule does not apply; told when no rule does.
    """

    layer: str
    code: str
    applies: Callable[[Case], bool]
    fact: Callable[[Case], str]
    cure: Callable[[Case], tuple[str, ...]]
    rules_out: str = ""


def missing_lines(location: Location | None) -> tuple[str, ...]:
    """Return which of the three lines a location lacks; all of them when the location is not known."""
    if location is None or not location.is_whole:
        return (VERSION, UPGRADE, CONNECTION)
    upgrade, connection = location.header("upgrade"), location.header("connection")
    carries = connection is not None and ("upgrade" in connection.lower() or connection.startswith("$"))
    return (
        *(() if location.http_version == "1.1" else (VERSION,)),
        *(() if upgrade else (UPGRADE,)),
        *(() if carries and connection != "$http_upgrade" else (CONNECTION,)),
    )


def works(seen: Observation | None) -> bool:
    """Whether it was asked, opened, and stayed open."""
    return seen is not None and seen.is_open and not is_error_message(seen)


def fails(seen: Observation | None) -> bool:
    """Whether it was asked, and did not work."""
    return seen is not None and not works(seen)


def is_error_message(seen: Observation) -> bool:
    """Whether the first message is a refusal, as webpack-dev-server's {"type":"error","data":"Invalid Host/…"}."""
    return '"type":"error"' in seen.message.replace(" ", "")
