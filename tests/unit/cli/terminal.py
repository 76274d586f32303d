"""A user's terminal for tests: words typed in a folder, and a session that answers them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devtls.cli import main
from devtls.system.channel import Client, listen, send_with_descriptors
from devtls.system.files import make_private_directory
from devtls.system.paths import find_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pytest

    from devtls.system.channel import Message


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document that was printed."""
        (line,) = self.out.splitlines()
        return json.loads(line)


class Terminal:
    """Types words, in this process, in a folder of its own and for a user who never ran devtls."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> None:
        self.folder = folder / "shop"
        self.folder.mkdir()
        self._patch = patch
        self._captured = captured
        for name in ("SUDO_UID", "FORCE_COLOR", "NO_COLOR", "DEVTLS_NGINX", "DEVTLS_TEMPLATES"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder / "s"))
        patch.setenv("XDG_DATA_HOME", str(folder / "d"))
        patch.chdir(self.folder)
        self.paths = find_paths(os.environ)
        self.project = self.paths.project(self.folder)

    def type(self, *words: str) -> Said:
        """Run `devtls WORDS…`."""
        self._patch.setattr(sys, "argv", ["devtls", *words])
        code: Any = 0
        try:
            main()
        except SystemExit as ending:
            code = ending.code
        out, err = self._captured.readouterr()
        return Said(int(code or 0), out, err)

    @contextlib.contextmanager
    def session(self, answers: Mapping[str, Sequence[Message]], folder: Path | None = None) -> Iterator[list[Message]]:
        """A running session: to each "do" it sends the answers there are for it, then hangs up if there are none."""
        path = self.paths.control(folder or self.folder)
        make_private_directory(path.parent)
        heard: list[Message] = []
        server = listen(path)
        server.setblocking(True)
        thread = threading.Thread(target=_serve, args=(server, answers, heard))
        thread.start()
        try:
            yield heard
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            server.close()


def _serve(server: socket.socket, answers: Mapping[str, Sequence[Message]], heard: list[Message]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with Client(connection) as asker:
            while (received := asker.receive()) is not None:
                heard.append(received[0])
                wanted = answers.get(received[0]["do"])
                if wanted is None:
                    break
                for message in wanted:
                    send_with_descriptors(connection, message)
                if received[0]["do"] == "follow":
                    break


def status(**changes: Any) -> Message:
    """A status document, as a session gives it."""
    service = {
        "name": "web",
        "state": "ready",
        "url": "https://love.cat",
        "argv": ["true"],
        "pid": 42,
        "port": 3000,
        "endpoint": "127.0.0.1:3000",
        "uptime": 61.0,
        "restarts": 0,
        "last_exit": None,
        "log": "/nowhere/web.log",
    }
    check = {
        "subject": "https://love.cat",
        "verdict": "passed",
        "fact": "200 · 4 ms",
        "layer": "",
        "code": "",
        "cure": [],
        "evidence": [],
    }
    return {
        "schema": "devtls.status/1",
        "directory": "/home/dev/shop",
        "state": "ready",
        "error": "",
        "last_lines": [],
        "exit_code": 0,
        "pid": 41,
        "urls": ["https://love.cat"],
        "asked": {
            "domains": ["love.cat"],
            "services": {"web": ["true"]},
            "routes": {"/": "web"},
            "headers": [],
            "prod_like": False,
            "websocket_path": None,
            "https_port": None,
            "app_port": None,
            "ports": {},
            "settings": [],
        },
        "gateway": {"pid": 40, "nginx": "nginx 1.22.1", "https_port": 443},
        "services": [service],
        "hints": [],
        "checks": [check],
        **changes,
    }
