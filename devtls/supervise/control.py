"""The control socket of a project: other commands ask the running `up` through it.

JSON lines. Asked {"do": ...}: "status" → a status document; "wait" → a status document once the outcome is known;
"restart" with "service" → {"is": "restarting"} or {"is": "refused", "message"}; "stop" → {"is": "stopped", ...}, then
the end; "follow" → {"event": "line", "service", "text"} until either side hangs up.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from devtls.system import channel

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from devtls.system.channel import Link, Message
    from devtls.system.loop import Loop


class Controlled(Protocol):
    """What can be asked of a running project."""

    def status(self) -> dict[str, Any]:
        """The status document (schema devtls.status/1)."""
        ...

    def is_settled(self) -> bool:
        """Whether the outcome of `up` is known: ready, red or failed."""
        ...

    def restart(self, service: str) -> str:
        """Restart a service; return why not, or nothing."""
        ...

    def stop(self, reason: str) -> None:
        """Begin to stop everything."""
        ...


class ControlServer:
    """Serves the socket at `path`; the caller holds the project's lock, which makes the path ours."""

    def __init__(self, loop: Loop, path: Path, controlled: Controlled) -> None:
        self._loop = loop
        self._path = path
        self._controlled = controlled
        self._server: socket.socket = channel.listen(path)
        self._links: list[Link] = []
        self._waiting: list[Link] = []
        self._stopping: list[Link] = []
        self._following: list[Link] = []
        loop.watch(self._server.fileno(), self._accept)

    def settled(self) -> None:
        """Answer those who wait for the outcome."""
        waiting, self._waiting = self._waiting, []
        for link in waiting:
            link.send(self._controlled.status())

    def line(self, service: str, text: bytes) -> None:
        """Pass whole lines on to those who follow."""
        for link in tuple(self._following):
            link.send({"event": "line", "service": service, "text": text.decode("utf-8", "replace")})

    def stopped(self, facts: Message) -> None:
        """Answer those who asked for the end, and hang up on everybody."""
        self._loop.unwatch(self._server.fileno())
        self._server.close()
        self._path.unlink(missing_ok=True)
        for link in (*self._stopping, *self._waiting):
            link.send({"is": "stopped", **facts})
        for link in tuple(self._links):
            link.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._server.accept()
        except OSError:
            return  # gone again before we looked
        if not channel.is_friend(connection):
            connection.close()
            return
        link: Link = channel.Link(
            self._loop,
            connection,
            lambda message, descriptors: self._received(link, message, descriptors),
            lambda: self._left(link),
        )
        self._links.append(link)

    def _left(self, link: Link) -> None:
        for group in (self._links, self._waiting, self._stopping, self._following):
            if link in group:
                group.remove(link)

    def _received(self, link: Link, message: Message, descriptors: list[int]) -> None:
        for descriptor in descriptors:  # nobody has reason to send us any
            os.close(descriptor)
        match message.get("do"):
            case "status":
                link.send(self._controlled.status())
            case "wait" if self._controlled.is_settled():
                link.send(self._controlled.status())
            case "wait":
                self._waiting.append(link)
            case "follow":
                self._following.append(link)
            case "restart":
                refused = self._controlled.restart(str(message.get("service", "")))
                link.send({"is": "refused", "message": refused} if refused else {"is": "restarting"})
            case "stop":
                self._stopping.append(link)
                self._controlled.stop("down")
            case other:
                link.send({"is": "refused", "message": f"{other!r} is not understood"})
