"""What the real tests use, installed where all users can read it: the built wheel, the drivers, the example."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3"  # one that every user may run, unlike one in somebody's home


@dataclass(frozen=True, slots=True)
class Installed:
    """Where things are.

    Attributes:
        devtls: the program, from the wheel with the extra nginx; the source tree is not importable there.
        python: an interpreter with playwright and websockets, for the drivers of the browsers.
        drivers: the folder of the drivers' source.
        example: examples/love-cat with its node_modules.
    """

    directory: Path

    @property
    def devtls(self) -> Path:
        return self.directory / "devtls/bin/devtls"

    @property
    def python(self) -> Path:
        return self.directory / "drivers/bin/python"

    @property
    def example(self) -> Path:
        return self.directory / "love-cat"


def install(directory: Path) -> Installed:
    """Build the wheel and install everything into `directory`, versions and hashes as in requirements.lock."""
    installed = Installed(directory)
    directory.chmod(0o755)
    _run([sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory / "wheel")])
    (wheel,) = (directory / "wheel").glob("*.whl")
    make_environment(installed.devtls.parents[1], f"{wheel}[nginx]")
    make_environment(installed.python.parents[1], "playwright", "websockets")
    if not (ROOT / "examples/love-cat/node_modules").is_dir():
        pytest.fail("the example's packages are missing: cd examples/love-cat && npm ci")
    shutil.copytree(ROOT / "examples/love-cat", installed.example)
    shutil.copy(Path(__file__).with_name("browsers.py"), directory)
    _run(["chmod", "-R", "a+rX", str(directory)])
    return installed


def make_environment(place: Path, *requirements: str) -> None:
    _run(["uv", "venv", "--quiet", "--python", PYTHON, str(place)])
    python = str(place / "bin/python")
    _run(["uv", "pip", "install", "--quiet", "--python", python, "--constraints", "requirements.lock", *requirements])


def _run(argv: Sequence[str]) -> None:
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": beside, "UV_LINK_MODE": "copy", "UV_SYSTEM_CERTS": "1"}
    ended = subprocess.run(argv, cwd=ROOT, env=environment, umask=0o022, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        pytest.fail(f"{' '.join(argv)} failed:\n{ended.stdout}{ended.stderr}")
