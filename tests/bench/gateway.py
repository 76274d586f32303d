"""Requests and round trips a second through the gateway, against an nginx written by hand, Caddy, and portless."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.bench import load
from tests.bench.figures import interleave
from tests.bench.place import DOMAIN, USER, Place
from tests.bench.serving import (
    APP_PORT,
    BY_HAND,
    BY_HAND_PORT,
    ECHO_PORT,
    MINIMAL,
    await_port,
    begin,
    by_hand,
    serve,
    stop,
)
from tests.bench.table import REQUESTS, ROUND_TRIPS, Against, AtLeast, Missing

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADS = (
    ("HTTP/1.1, wrk", load.wrk, REQUESTS),
    ("HTTP/2, h2load", load.h2load, REQUESTS),
    ("wss echo", load.websockets, ROUND_TRIPS),
)
WHAT = "gateway, {}"
NGINX_TARGET, CADDY_TARGET, PORTLESS_TARGET = AtLeast(0.97), AtLeast(2), AtLeast(4)
NGINX_ROUNDS = 20
ROUNDS = 5  # of peers that are not as close
CADDY_PORT = 8445
PORTLESS_PORT = 8446
CADDYFILE = f"""{{
    skip_install_trust
    auto_https disable_redirects
}}
{DOMAIN}:{CADDY_PORT} {{
    tls internal
    reverse_proxy /chat 127.0.0.1:{ECHO_PORT}
    reverse_proxy 127.0.0.1:{APP_PORT}
}}
"""
GATEWAY = "/root/.local/state/devtls/gateway"  # the prefix of its nginx
# portless has no routes by path: the echo has a name of its own.
PORTLESS_NAMES = {"love": APP_PORT, "chat": ECHO_PORT}

Hosts = tuple[str, str]  # who serves the page, and who the WebSocket
Load = Callable[[Place, str, int], float]


def measure(place: Place) -> list[Against | Missing]:
    """All peers run on the same app at the same time; only the one that is measured has anything to do."""
    if why := load.why_not():
        return [Missing(WHAT.format(name), "nginx by hand", NGINX_TARGET, why) for name, _, _ in LOADS]
    with serve(place):
        rows: list[Against | Missing] = []
        with by_hand(place, MINIMAL):
            rows += _compare(place, "nginx by hand", (DOMAIN, DOMAIN), BY_HAND_PORT, NGINX_TARGET, NGINX_ROUNDS)
        rows += _against_caddy(place)
        return rows + _against_portless(place)


def _against_caddy(place: Place) -> list[Against | Missing]:
    if not shutil.which("caddy"):
        return [Missing(WHAT.format("all"), "Caddy", CADDY_TARGET, "there is no Caddy: apt-get install caddy")]
    with _caddy(place):
        return [*_compare(place, "Caddy", (DOMAIN, DOMAIN), CADDY_PORT, CADDY_TARGET, ROUNDS)]


def _against_portless(place: Place) -> list[Against | Missing]:
    if place.portless_missing:
        return [Missing(WHAT.format("all"), "portless", PORTLESS_TARGET, place.portless_missing)]
    with _portless(place):
        hosts = ("love.localhost", "chat.localhost")
        return [*_compare(place, "portless", hosts, PORTLESS_PORT, PORTLESS_TARGET, ROUNDS)]


def _compare(place: Place, peer: str, hosts: Hosts, port: int, target: AtLeast, rounds: int) -> Iterator[Against]:
    for name, put, unit in LOADS:
        host = hosts[put is load.websockets]

        def ours(put: Load = put) -> float:
            _renew_workers(place, GATEWAY)
            return put(place, DOMAIN, 443)

        def theirs(put: Load = put, host: str = host) -> float:
            _renew_workers(place, BY_HAND)
            return put(place, host, port)

        pairs = interleave(rounds, ours, theirs)
        yield Against(WHAT.format(name), pairs, peer, target, unit)


def _renew_workers(place: Place, prefix: str) -> None:
    """Reload the nginx of this prefix, if it runs, right before it is measured.

    By the luck of its heap a worker returns memory to the kernel with nearly each request, or hardly ever, for as long
    as it lives (musl's allocator, which this static nginx has): 0.2 to 2.5 page faults a request, up to 60 % of its
    processor time.
    """
    for pid in place.run(["sh", "-c", 'cat -- "$1" 2>/dev/null || :', "sh", f"{prefix}/nginx.pid"]).split():
        begin(place, pid)


@contextlib.contextmanager
def _caddy(place: Place) -> Iterator[None]:
    place.machine.write("/root/load/Caddyfile", CADDYFILE, user=USER)
    argv = ["caddy", "run", "--config", "/root/load/Caddyfile", "--adapter", "caddyfile"]
    running = place.machine.start(argv, user=USER)
    try:
        await_port(place, CADDY_PORT)
        yield
    finally:
        stop(running, "INT")


@contextlib.contextmanager
def _portless(place: Place) -> Iterator[None]:
    words = {"PATH": f"{place.npm_programs}:/usr/sbin:/usr/bin:/sbin:/bin"}
    argv = ["portless", "proxy", "start", "--foreground", "-p", str(PORTLESS_PORT)]
    running = place.machine.start(argv, user=USER, env=words)
    try:
        await_port(place, PORTLESS_PORT)
        for name, port in PORTLESS_NAMES.items():
            place.run(["portless", "alias", name, str(port)], env=words)
            place.run(["sh", "-c", 'echo "127.0.0.1 $1.localhost" >> /etc/hosts', "sh", name])
        yield
    finally:
        stop(running, "INT")
