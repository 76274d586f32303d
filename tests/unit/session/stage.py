"""What the parts of a session are tested with: a setup, a clock, a voice that remembers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtls.model import Authority, Endpoint, External, Leaf, Project, Route, Service
from devtls.nginx.binary import Nginx
from devtls.report import Style
from devtls.session.setup import Setup
from devtls.system.files import make_private_directory
from devtls.system.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterable

UNTIL = datetime(2030, 1, 2, tzinfo=UTC)
API = Endpoint("127.0.0.1", 9000)


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeScreen:
    """A screen that always has room."""

    def has_room(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open."""


class FakeVoice:
    """Remembers what was said (session.voice.Voice)."""

    def __init__(self) -> None:
        self.style = Style()
        self.screen = FakeScreen()
        self.said: list[str] = []
        self.passed: list[tuple[str, bytes]] = []

    def pass_on(self, name: str, lines: bytes) -> None:
        self.passed.append((name, lines))

    def tell(self, text: str) -> None:
        self.said.append(text)

    def say(self, lines: Iterable[str]) -> None:
        self.said += lines


def make_setup(folder: Path, **changes: Any) -> Setup:
    """love.cat, with a service "web" at / and a foreign one at /api."""
    paths = Paths(folder, folder / "data", folder / "state")
    services = (Service("web", ("node", "app.js"), 3000, folder, {"MODE": "test"}),)
    routes = (Route("/", "web"), Route("/api", External(API)))
    project = Project(folder, ("love.cat",), services, routes, websocket_path=changes.pop("websocket_path", None))
    make_private_directory(paths.project(folder))
    facts: dict[str, Any] = {
        "project": project,
        "hosts": ("love.cat", "love.cat.localhost"),
        "names": ("love.cat",),
        "leaves": (Leaf("love.cat", Path("f.pem"), Path("k.pem"), 7, UNTIL),),
        "authorities": (Authority("00000001", ("love.cat",), Path("ca"), "", UNTIL),),
        "paths": paths,
        "nginx": Nginx("/usr/sbin/nginx", (1, 22, 1), frozenset()),
        "templates": Path("templates"),
        "environment": {"PATH": "/usr/bin", "PORT": "80"},
        "sockets": (),
        "https_port": 443,
        "start_lock": None,
        "session": "0123456789abcdef",
        "style": Style(),
        "screen": 1,
        "document": None,
        "columns": None,
        "since": 0.0,
        **changes,
    }
    return Setup(**facts)
