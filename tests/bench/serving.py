"""What the load tests serve: a fast app behind devtls, and behind an nginx whose configuration a person wrote."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from tests.bench.place import DOMAIN, PYTHON, USER
from tests.real.running import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.place import Place
    from tests.real.running import Running

APP_PORT = 3000
ECHO_PORT = 3001
BY_HAND_PORT = 8444
APP = "/root/app"  # the prefix of the nginx that is the app
BY_HAND = "/root/by-hand"  # the prefix of the nginx that is run by hand
TEMPORARY = "\n".join(f"    {kind}_temp_path temp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
LEAF = f"/root/.local/share/devtls/leaf/{DOMAIN}/live"

# Answers without a file, a buffer or another process: some 60,000 requests a second on one core.
APP_CONFIG = f"""user root;
pid app.pid;
daemon off;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log off;
{TEMPORARY}
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{APP_PORT};
        default_type text/html;
        return 200 "<!doctype html><title>bench</title>Hello, World!";
    }}
}}
"""

# What a competent person writes for one domain with a WebSocket, and no more.
MINIMAL = f"""user root;
worker_processes 2;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    upstream app {{ server 127.0.0.1:{APP_PORT}; keepalive 16; }}
    upstream chat {{ server 127.0.0.1:{ECHO_PORT}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{BY_HAND_PORT} ssl;
        http2 on;
        server_name {DOMAIN};
        ssl_certificate {LEAF}/fullchain.pem;
        ssl_certificate_key {LEAF}/privkey.pem;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        location / {{ proxy_pass http://app; }}
        location /chat {{ proxy_pass http://chat; }}
    }}
}}
"""


@contextlib.contextmanager
def serve(place: Place) -> Iterator[None]:
    """Have devtls serve the app at / and the echo at /chat of the domain."""
    echo = place.machine.start([PYTHON, "-I", "-S", str(place.directory / "echo.py"), str(ECHO_PORT)], user=USER)
    try:
        await_port(place, ECHO_PORT)
        await_port(place, 443, free=True)
        place.machine.write(f"{APP}/nginx.conf", APP_CONFIG, user=USER)
        app = " ".join(nginx_by_hand(place, APP))
        with devtls_up(place, DOMAIN, "--ws", "/chat", "--route", f"/chat={ECHO_PORT}", "--app", app):
            yield
    finally:
        stop(echo)


@contextlib.contextmanager
def devtls_up(place: Place, *words: str, cwd: str = "/root") -> Iterator[None]:
    """Have `devtls up` run until it is ready; Ctrl+C at the end."""
    running = place.machine.start(("devtls", "up", *words), user=USER, cwd=cwd, terminal=True)
    try:
        running.wait_for("Ready in", 120)
        yield
    finally:
        running.press_control_c()
        running.wait()


@contextlib.contextmanager
def by_hand(place: Place, text: str, port: int = BY_HAND_PORT) -> Iterator[Running]:
    """Run the nginx that devtls runs, too, on a configuration of one's own."""
    write_by_hand(place, text)
    running = place.machine.start(nginx_by_hand(place), user=USER)
    try:
        await_port(place, port)
        yield running
    finally:
        stop(running, "TERM")


def write_by_hand(place: Place, text: str) -> None:
    """Write the configuration that `by_hand` reads, at its start and at each HUP."""
    place.machine.write(f"{BY_HAND}/nginx.conf", f"pid nginx.pid;\ndaemon off;\n{text}", user=USER)
    place.run(["mkdir", "-p", f"{BY_HAND}/temp"])


def begin(place: Place, *argv: str) -> dict[str, float]:
    """Start or reload an nginx (begin.py) and wait until it is live."""
    return dict(json.loads(place.run([PYTHON, "-I", "-S", str(place.directory / "begin.py"), *argv])))


def stop(running: Running, signal: str = "KILL") -> None:
    """End a program of the machine and wait for it."""
    running.send_signal(signal)
    running.wait()


def await_port(place: Place, port: int, *, free: bool = False) -> None:
    """Wait until a port is listened on, or no more."""

    def is_so() -> bool:
        return any(address.endswith(f":{port}") for address in place.machine.listening()) is not free

    wait_until(is_so, f"port {port} is {'free' if free else 'listened on'}")


def nginx_by_hand(place: Place, prefix: str = BY_HAND) -> list[str]:
    """The command of an nginx with a configuration of its own; the program is the one that devtls runs."""
    return [place.nginx, "-p", f"{prefix}/", "-e", f"{prefix}/error.log", "-c", f"{prefix}/nginx.conf"]
