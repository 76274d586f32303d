"""The sockets that the gateway holds, and the lines by which nginx takes them over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.model import is_loopback

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from devtls.model import Endpoint


class Listen(Struct, frozen=True):
    """The sockets that the gateway holds; listen lines must match them exactly, or nginx binds anew and fails."""

    https: tuple[Endpoint, ...]
    http: tuple[Endpoint, ...]

    @property
    def here(self) -> Listen:
        """Those that only this machine reaches."""
        own = [tuple(each for each in endpoints if is_loopback(each.host)) for endpoints in (self.https, self.http)]
        return Listen(*own)

    @property
    def is_on_lan(self) -> bool:
        """Whether other machines reach it."""
        return self != self.here


def listen_lines(endpoints: Sequence[Endpoint], features: Collection[str], *, tls: bool, default: bool = False) -> str:
    """Return the lines of one server, for the binary that has these features (keys of binary.PROBES)."""
    words = (" default_server" if default else "") + (" ssl" if tls else "")
    h2 = tls and "http2" in features
    lines = [f"    listen {endpoint}{words}{' http2' if tls and not h2 else ''};" for endpoint in endpoints]
    return "\n".join([*lines, *(["    http2 on;"] if h2 else [])])
