"""Runs inside a private machine, on the interpreter of devtls: a project of COUNT domains that joins and leaves.

It issues n0.test, n1.test … before, starts a keeper where none runs, and says "ready". Each line on its standard input
is answered with one of JSON, a second one with another:
    join     the site is sent to the keeper; {"seconds": until it is registered, "keeper": pid, "config": path}
    leave    {"bye": true} once it is gone
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from devtls.ca import store
from devtls.model import DEFAULT_HOST, LOCAL_NAMES, Endpoint, Route
from devtls.nginx import gateway
from devtls.nginx.binary import find_nginx
from devtls.nginx.site import Site, Upstream, render_site
from devtls.system.paths import find_paths
from devtls.system.templates import find_templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.model import Leaf
    from devtls.nginx.gateway import Greeting
    from devtls.system.channel import Client, Message

APP = Endpoint("127.0.0.1", 3000)
PATIENCE = 0.002  # s between looks whether the keeper has gone


class Project:
    """The domains, and the connection that their registration lives as long as."""

    def __init__(self, count: int) -> None:
        self.paths = find_paths(os.environ)
        self.templates = find_templates(os.environ)
        now = datetime.now(UTC)
        authority = store.create_authority(self.paths, LOCAL_NAMES, now)
        self.default = store.issue(self.paths, authority, DEFAULT_HOST, now)
        self.leaves: Sequence[Leaf] = [
            store.issue(self.paths, authority, f"n{number}.test", now) for number in range(count)
        ]
        self.client: Client | None = None

    def join(self) -> Message:
        """Have the site served; a keeper that has to be started is there before the time runs."""
        greeting, self.client = self._greet()
        message = self._describe(greeting)
        begun = time.perf_counter()
        self.client.send(message)
        answer = self.client.receive()
        seconds = time.perf_counter() - begun
        if answer is None or answer[0].get("is") != "registered":
            raise RuntimeError(str(answer))
        return {"seconds": seconds, "keeper": greeting.pid, "config": str(self.paths.gateway / "live/nginx.conf")}

    def leave(self) -> Message:
        """Take the site out; with the last one the keeper ends, which is waited for."""
        assert self.client
        self.client.send({"do": "goodbye"})
        answer = self.client.receive()
        self.client.close()
        while answer and answer[0].get("last") and gateway.gateway_pids(self.paths):
            time.sleep(PATIENCE)
        return {"bye": True}

    def _greet(self) -> tuple[Greeting, Client]:
        found = gateway.greet(self.paths)
        if found is None:
            with contextlib.ExitStack() as listeners:
                sockets = [
                    listeners.enter_context(_listen(host, port)) for port in (443, 80) for host in ("::1", APP.host)
                ]
                nginx = find_nginx(os.environ, self.paths.state / "nginx.json")
                gateway.start(self.paths, nginx, self.templates, sockets, os.environ).communicate()
            found = gateway.greet(self.paths)
        assert found
        greeting, sockets, client = found
        for each in sockets:
            each.close()
        return greeting, client

    def _describe(self, greeting: Greeting) -> Message:
        folder = self.paths.project(Path.cwd())
        routes, upstreams = (Route("/", "web"),), (Upstream("web", (APP,)),)
        site = Site(folder.name, tuple(self.leaves), routes, upstreams, folder / "log.sock", folder / "page.sock")
        facts = {
            "directory": str(Path.cwd()),
            "domains": [leaf.host for leaf in self.leaves],
            "pid": os.getpid(),
            "session": "bench",
            "leaf": {"fullchain": str(self.default.fullchain), "key": str(self.default.key)},
        }
        text = render_site(site, greeting.listen, greeting.nginx.features, self.templates)
        return {"do": "register", "site": text, "facts": facts}


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=511)


if __name__ == "__main__":
    project = Project(int(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(project.join() if line.strip() == "join" else project.leave()), flush=True)
