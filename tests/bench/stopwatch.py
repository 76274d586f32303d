"""Runs inside a private machine: starts one program on a terminal, says when it got where, and ends it with Ctrl+C.

Its one argument is JSON: {"argv", "until": WHAT, "log": path}, where WHAT is
    {"exit": true}                             it ended by itself
    {"says": text}                             the text is on its terminal
    {"log": word}                              the log of app.sh and app.py has the word
    {"serves": name, "root": PEM, "port": n}   a verified HTTPS 200 on 127.0.0.1
It prints {"reached": seconds, WORD: seconds of the log, …}, counted from just before the program was started.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pty
import socket
import ssl
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE = 30.0  # s for anything
PAUSE = 0.001  # s between two questions; none at all would take a whole core from the program that is measured


class Terminal(threading.Thread):
    """Reads what a program says, so that it never blocks, and notes when `awaited` was there."""

    def __init__(self, descriptor: int, awaited: bytes) -> None:
        super().__init__(daemon=True)
        self.descriptor = descriptor
        self.awaited = awaited
        self.said = b""
        self.found = threading.Event()
        self.found_at = 0.0

    def run(self) -> None:
        """Read to the end."""
        with contextlib.suppress(OSError):  # EIO: the last process on the terminal is gone
            while chunk := os.read(self.descriptor, 65536):
                self.said += chunk
                if not self.found_at and self.awaited and self.awaited in self.said:
                    self.found_at = time.time()
                    self.found.set()


def measure(argv: list[str], until: dict[str, Any], log: Path) -> dict[str, float]:
    """Run a program to the awaited point; return when that was, and what the log says, from its start."""
    log.unlink(missing_ok=True)
    context = ssl.create_default_context(cafile=until["root"]) if "serves" in until else None
    started = time.time()  # the clock of EPOCHREALTIME; nobody sets it during a run
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)  # noqa: S606 - the program as it is, without a shell
    termios.tcsetwinsize(descriptor, (40, 120))
    terminal = Terminal(descriptor, until.get("says", "").encode())
    terminal.start()
    try:
        reached = _await(until, pid, terminal, context, log)
    finally:
        if "exit" not in until:
            os.write(descriptor, b"\x03")
            os.waitpid(pid, 0)
    return {"reached": reached - started, **{word: at - started for word, at in _read(log).items()}}


def _await(until: dict[str, Any], pid: int, terminal: Terminal, context: ssl.SSLContext | None, log: Path) -> float:
    if "exit" in until:
        _, status = os.waitpid(pid, 0)
        ended = time.time()
        if status != 0:
            raise RuntimeError(f"it ended with {status}: {terminal.said.decode()}")
        return ended
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if "says" in until and terminal.found.wait(PAUSE):
            return terminal.found_at
        if "log" in until and until["log"] in (words := _read(log)):
            return words[until["log"]]
        if context and _serves(until["serves"], until["port"], context):
            return time.time()
        time.sleep(PAUSE)
    raise TimeoutError(f"not within {PATIENCE:.0f} s: {until}; it said: {terminal.said.decode()}")


def _read(log: Path) -> dict[str, float]:
    """The complete lines of the log: when the app was executed, when it listens."""
    text = log.read_text() if log.exists() else ""
    lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return {word: float(at) for word, at in lines}


def _serves(name: str, port: int, context: ssl.SSLContext) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as plain:
            connection = http.client.HTTPSConnection(name, port)
            connection.sock = context.wrap_socket(plain, server_hostname=name)
            connection.request("GET", "/")
            return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    words = json.loads(sys.argv[1])
    print(json.dumps(measure(words["argv"], words["until"], Path(words["log"]))))
