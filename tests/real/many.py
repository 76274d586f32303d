"""Projects of the app with many connections, each served in the background from a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.real.love_cat import assert_clean_end

if TYPE_CHECKING:
    from tests.real.machine import Machine
    from tests.real.running import Running

NGINX: tuple[dict[str, str], ...] = ({"DEVTLS_NGINX": "/usr/sbin/nginx"}, {})
NAMES = ("nginx 1.22", "nginx 1.31")
APP = "many_app.py"


def bring(machine: Machine, host: str) -> None:
    """Make the project that serves this host."""
    machine.write(f"/home/dev/{host}/{APP}", Path(__file__).with_name(APP).read_text("utf-8"))


def start(machine: Machine, host: str, env: dict[str, str]) -> Running:
    """Type `devtls up -d` in its folder."""
    app = f"/usr/bin/python3 -I {APP} {host}"
    return machine.start(["devtls", "up", host, "--app", app, "-d"], cwd=f"/home/dev/{host}", env=env)


def finish(*started: Running) -> None:
    """Wait until each is ready."""
    for each in started:
        assert each.wait() == 0, each.output
        each.close()


def down(machine: Machine, host: str) -> None:
    """Type `devtls down` there: no process is left."""
    ended = machine.run(["devtls", "down"], cwd=f"/home/dev/{host}", check=True)
    (last,) = [line for line in ended.stdout.splitlines() if line.startswith("stopped in ")]
    assert_clean_end(last)
