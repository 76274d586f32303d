"""What the tests of the main job share: the example inside a machine, `up` in it, and what must be left afterwards."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.real.running import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.real.machine import Machine
    from tests.real.running import Completed, Running

UP = ("devtls", "up", "love.cat", "--app", "node app.js")
READY = r"^Ready in [0-9.]+ s\. Ctrl\+C to stop\.$"
# Whatever `up` comes to, it says one of these.
OVER = r"^(Ready in |Served, but |stopped in )"
PAGE = r"^(✓|\+) https://love\.cat +200 in \d+ ms (·|-) certificate valid until \d{4}-\d\d-\d\d$"
CHAT = r"^(✓|\+) wss://love\.cat/chat +101 (·|-) ping \d+ ms$"
LAST = r"^(?:\^C)?stopped in [0-9.]+ s, 0 processes left$"
GATEWAY = {"127.0.0.1:443", "[::1]:443", "127.0.0.1:80", "[::1]:80"}

# An app of a few lines; what it is told is in its arguments: the address it listens on, and "PORT" or a number.
SMALL_APP = """
import http.server, os, socket, sys
host, port = sys.argv[1], int(os.environ["PORT"] if sys.argv[2] == "PORT" else sys.argv[2])
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{' '.join(sys.argv[3:])} {self.path} {os.environ.get('PORT')} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = Server((host, port), Page)
print("listening", flush=True)
server.serve_forever()
"""


def bring_example(machine: Machine, user: str = "dev", folder: str = "love-cat") -> str:
    """Copy the example into the user's home; return where it is."""
    place = f"{machine.home(user)}/{folder}"
    machine.copy(machine.installed.example, place, user=user)
    return place


def bring_small_app(machine: Machine, folder: str, user: str = "dev") -> str:
    """Make a project of one file, small.py; return where it is."""
    place = f"{machine.home(user)}/{folder}"
    machine.write(f"{place}/small.py", SMALL_APP, user=user)
    return place


def small_app(host: str = "127.0.0.1", port: str = "PORT", *words: str) -> str:
    """What `--app` says to run it."""
    return " ".join(["/usr/bin/python3 -I small.py", host, port, *words])


def up(machine: Machine, place: str, *words: str, user: str = "dev", env: Mapping[str, str] | None = None) -> Running:
    """Type `devtls up` on a terminal; without words, what serves the example."""
    argv = ["devtls", "up", *words] if words else [*UP]
    return machine.start(argv, user=user, cwd=place, env=env, terminal=True)


def devtls(
    machine: Machine, place: str, *words: str, user: str = "dev", env: Mapping[str, str] | None = None
) -> Completed:
    """Run a command of devtls to its end, without a terminal."""
    return machine.run(["devtls", *words], user=user, cwd=place, env=env)


def stop(running: Running) -> str:
    """Press Ctrl+C; return what it said, once it ended as it should."""
    running.press_control_c()
    assert running.wait() == 130, running.output
    assert_clean_end(running.output)
    return running.output


def assert_clean_end(output: str) -> None:
    """The last line proves that nothing is left."""
    last = output.rstrip("\n").rpartition("\n")[2].removeprefix("^C")  # the terminal's echo
    assert re.fullmatch(r"stopped in [0-9.]+ s, 0 processes left", last), output


def assert_nothing_runs(machine: Machine) -> None:
    """No process, no listener; browsers that were closed may take a moment."""
    wait_until(lambda: not machine.processes(), f"no process left, but there is {machine.processes()}")
    assert machine.listening() == set()


def page_of(machine: Machine, url: str, user: str = "dev", *words: str) -> str:
    """What curl, which trusts the system's store, gets; its error when it gets nothing."""
    return machine.run(["curl", "-sS", "--max-time", "20", *words, url], user=user).output


def status_of(machine: Machine, place: str, user: str = "dev") -> dict[str, Any]:
    """The one project in `ps --json`."""
    document = json.loads(devtls(machine, place, "ps", "--json", user=user).stdout)
    assert document["schema"] == "devtls.ps/1"
    (status,) = document["projects"]
    assert isinstance(status, dict)
    return status


def block_in(hosts: str) -> list[str]:
    """The lines of devtls' block."""
    lines = hosts.splitlines()
    return lines[lines.index("# devtls: begin") : lines.index("# devtls: end") + 1]
