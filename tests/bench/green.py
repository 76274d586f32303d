"""From the command to a verified answer, less the app's own time to listen: `devtls up` against Caddy and portless.

devtls is done when it says Ready: a verified HTTPS 200 and a WebSocket's pong. The peers say nothing that would mean
that: they are done with the first verified HTTPS 200, asked for in a tight loop; nobody waits for their WebSocket.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.bench.figures import interleave
from tests.bench.place import DOMAIN
from tests.bench.table import Against, AtMost, Missing
from tests.real.running import wait_until

if TYPE_CHECKING:
    from tests.bench.place import Place

WHAT = "command to verified green, less the app"
CADDY_TARGET = AtMost(2.5)
PORTLESS_TARGET = AtMost(0.5)
CADDY_ROUNDS = 20
PORTLESS_ROUNDS = 10
CADDYFILE = """{
    skip_install_trust
}
love.cat {
    tls internal
    reverse_proxy 127.0.0.1:3000
}
"""
CADDY = ("caddy", "run", "--config", "/root/Caddyfile", "--adapter", "caddyfile")
CADDY_ROOT = "/root/.local/share/caddy/pki/authorities/local/root.crt"
PORTLESS_ROOT = "/root/.portless/ca.pem"


def against_caddy(place: Place) -> list[Against | Missing]:
    """Caddy proxies an app that listens already, and trusts a CA that it made before."""
    if not shutil.which("caddy"):
        return [Missing(WHAT, "caddy run", CADDY_TARGET, "there is no Caddy: apt-get install caddy")]
    place.machine.write("/root/Caddyfile", CADDYFILE, user="root")
    _make_caddy_root(place)
    pairs = interleave(CADDY_ROUNDS, lambda: _green(time_devtls(place)), lambda: _time_caddy(place))
    return [Against(WHAT, pairs, "caddy run", CADDY_TARGET)]


def against_portless(place: Place) -> list[Against | Missing]:
    """Portless starts its proxy and the app, as devtls does; its CA was made and trusted before."""
    if place.portless_missing:
        return [Missing(WHAT, "portless", PORTLESS_TARGET, place.portless_missing)]
    # The first run makes its CA and has it trusted.
    place.time(["portless", "love", *place.app], {"log": "listen"}, str(place.npm_programs))
    _stop_portless(place)
    pairs = interleave(PORTLESS_ROUNDS, lambda: _green(time_devtls(place)), lambda: _time_portless(place))
    return [Against(WHAT, pairs, "portless", PORTLESS_TARGET)]


def time_devtls(place: Place) -> dict[str, float]:
    """One `devtls up` to its Ready line, with CA, hosts and trust in place, and no gateway; then Ctrl+C."""
    _await_free_port(place)
    return place.time(place.devtls_up, {"says": "Ready in"})


def _green(times: dict[str, float]) -> float:
    return times["reached"] - (times["listen"] - times["exec"])


def _make_caddy_root(place: Place) -> None:
    running = place.machine.start(CADDY, user="root")
    wait_until(lambda: place.machine.run(["test", "-s", CADDY_ROOT], user="root").status == 0, "Caddy makes its root")
    wait_until(lambda: "127.0.0.1:2019" in place.machine.listening(), "Caddy runs")
    running.send_signal("INT")
    running.wait()


def _time_caddy(place: Place) -> float:
    app = place.machine.start(place.app, user="root")
    try:
        wait_until(lambda: "127.0.0.1:3000" in place.machine.listening(), "the app listens")
        _await_free_port(place)
        until = {"serves": DOMAIN, "root": CADDY_ROOT, "port": 443}
        return place.time(CADDY, until)["reached"]
    finally:
        app.send_signal("KILL")
        app.wait()


def _time_portless(place: Place) -> float:
    _await_free_port(place)
    until = {"serves": "love.localhost", "root": PORTLESS_ROOT, "port": 443}
    try:
        return _green(place.time(["portless", "love", *place.app], until, str(place.npm_programs)))
    finally:
        _stop_portless(place)


def _stop_portless(place: Place) -> None:
    words = {"PATH": f"{place.npm_programs}:/usr/sbin:/usr/bin:/sbin:/bin"}
    place.run(["portless", "proxy", "stop"], env=words)


def _await_free_port(place: Place) -> None:
    def is_free() -> bool:
        return not any(address.endswith(":443") for address in place.machine.listening())

    wait_until(is_free, "port 443 is free")
