"""What a client of many connections sees, and who kills there: a driver that runs inside a machine, and its other end.

The driver reads lines of JSON, [what, arguments], and answers each with one. Standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.real.machine import Machine

PATIENCE = 20.0  # s for any one answer
CHUNK = 16384
PAUSE = 0.02  # s between two chunks of an upload
SHORT = 0.001  # s between two looks for a process
HANDSHAKE = (
    "GET /chat HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Client:
    """Connects as a browser does: by name, over TLS that the system's store vouches for."""

    def __init__(self) -> None:
        self.context = ssl.create_default_context()

    def connect(self, host: str) -> ssl.SSLSocket:
        plain = socket.create_connection((host, 443), PATIENCE)
        try:
            return self.context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def get(self, host: str, path: str) -> str:
        """Status and body of a page, over a connection of its own."""
        with self.connect(host) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = b"".join(iter(lambda: connection.recv(CHUNK), b"")).partition(b"\r\n\r\n")
        if not body:
            raise ConnectionError("the answer ended before its body")
        return f"{head.split()[1].decode()} {body.decode()}"


class Sockets:
    """WebSockets of one host, each of which should echo."""

    def __init__(self, client: Client, host: str) -> None:
        self.client = client
        self.host = host
        self.open: list[ssl.SSLSocket] = []

    def add(self, count: int) -> int:
        for _ in range(count):
            connection = self.client.connect(self.host)
            connection.sendall(HANDSHAKE.format(host=self.host).encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += read(connection, 1)
            assert head.startswith(b"HTTP/1.1 101 "), head
            self.open.append(connection)
        return len(self.open)

    def echo(self) -> list[int]:
        """How many said back what they were told, and how many are lost; these are forgotten."""
        word = os.urandom(4).hex().encode()
        frame = b"\x81" + bytes([0x80 | len(word)]) + bytes(4) + word
        asked = [each for each in self.open if is_done(each.sendall, frame)]
        alive = [each for each in asked if is_done(expect, each, b"\x81" + bytes([len(word)]) + word)]
        lost = [each for each in self.open if each not in set(alive)]
        self.open = alive
        for each in lost:
            each.close()
        return [len(alive), len(lost)]

    def close(self) -> None:
        for each in self.open:
            each.close()
        self.open = []


class Upload:
    """A body on its way, chunk after chunk, until it is told to end."""

    def __init__(self, client: Client, host: str) -> None:
        self.connection = client.connect(host)
        self.seen, self.size, self.error = hashlib.sha256(), 0, ""
        self.is_enough = threading.Event()
        head = f"POST /upload HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        self.connection.sendall(head.encode())
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        try:
            while not self.is_enough.wait(PAUSE):
                chunk = os.urandom(CHUNK)
                self.connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                self.seen.update(chunk)
                self.size += len(chunk)
            self.connection.sendall(b"0\r\n\r\n")
        except OSError as error:
            self.error = repr(error)

    def end(self) -> dict[str, Any]:
        """What was sent, and what the app says has come."""
        self.is_enough.set()
        self.thread.join()
        told = b"" if self.error else b"".join(iter(lambda: self.connection.recv(CHUNK), b""))
        self.connection.close()
        came = json.loads(told.partition(b"\r\n\r\n")[2] or b"{}")
        return {"sent": {"size": self.size, "sha256": self.seen.hexdigest()}, "came": came, "error": self.error}


class Stream:
    """Events, which are numbered; each is awaited."""

    def __init__(self, client: Client, host: str) -> None:
        self.connection = client.connect(host)
        self.connection.sendall(f"GET /events HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        self.next, self.error = 0, ""
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        try:
            for line in self.connection.makefile("rb"):
                if line.startswith(b"data: "):
                    assert int(line[6:]) == self.next, line
                    self.next += 1
            self.error = "it ended"
        except (OSError, AssertionError) as error:
            self.error = repr(error)


class Asker:
    """Asks a host for a page again and again, each time over a new connection, and notes how it went."""

    def __init__(self, client: Client, host: str, path: str, pause: float, asked: list[list[Any]]) -> None:
        self.client, self.host, self.path, self.pause, self.asked = client, host, path, pause, asked
        self.count = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                told = self.client.get(self.host, self.path)
            except OSError as error:
                told = f"000 {error!r}"
            self.asked.append([self.host, began, time.monotonic(), told])
            self.count += 1
            time.sleep(self.pause)


class Driver:
    """Does what it is told; each method is a word of the protocol."""

    def __init__(self) -> None:
        self.client = Client()
        self.sockets: dict[str, Sockets] = {}
        self.uploads: dict[str, Upload] = {}
        self.streams: dict[str, Stream] = {}
        self.askers: list[Asker] = []
        self.asked: list[list[Any]] = []

    def hold(self, host: str, count: int) -> int:
        """Open so many more WebSockets."""
        return self.sockets.setdefault(host, Sockets(self.client, host)).add(count)

    def echo(self, *hosts: str) -> dict[str, list[int]]:
        return {host: self.sockets[host].echo() for host in hosts}

    def let_go(self, host: str) -> None:
        self.sockets[host].close()

    def upload(self, host: str) -> None:
        self.uploads[host] = Upload(self.client, host)

    def uploaded(self, host: str) -> dict[str, Any]:
        return self.uploads.pop(host).end()

    def stream(self, host: str) -> None:
        self.streams[host] = Stream(self.client, host)

    def streamed(self, host: str) -> list[Any]:
        return [self.streams[host].next, self.streams[host].error]

    def ask(self, host: str, path: str, pause: float) -> None:
        """Begin to ask, and go on for ever."""
        self.askers.append(Asker(self.client, host, path, pause, self.asked))

    def answers(self) -> list[list[Any]]:
        """What was asked since the last time, once it is answered: [host, begun, ended, status and body]."""
        before = [each.count for each in self.askers]
        while any(each.count == count for each, count in zip(self.askers, before, strict=True)):
            time.sleep(SHORT)
        told = self.asked[:]
        del self.asked[: len(told)]
        return told

    def get(self, host: str, path: str = "/") -> str:
        try:
            return self.client.get(host, path)
        except OSError as error:
            return f"000 {error!r}"

    def kill(self, victims: list[int], watched: list[int]) -> list[float]:
        """Kill -9; when that was, and when the last of those watched, which are to follow, was gone."""
        began = time.monotonic()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        while any(lives(pid) for pid in [*victims, *watched]) and time.monotonic() < began + PATIENCE:
            time.sleep(SHORT)
        return [began, time.monotonic()]

    def census(self) -> list[list[Any]]:
        """Every process of ours but this one: [pid, parent, command line]; "defunct" when nobody waits for it."""
        pids = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
        return [told for pid in pids if pid != os.getpid() and (told := describe(pid))]


def describe(pid: int) -> list[Any] | None:
    place = Path(f"/proc/{pid}")
    try:
        if place.stat().st_uid != os.getuid():
            return None
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        words = (place / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return None
    return [pid, int(fields[1]), "defunct" if fields[0] == "Z" else words]


def lives(pid: int) -> bool:
    told = describe(pid)
    return told is not None and told[2] != "defunct"


def read(connection: ssl.SSLSocket, size: int) -> bytes:
    """Exactly so many bytes."""
    got = b""
    while len(got) < size:
        chunk = connection.recv(size - len(got))
        if not chunk:
            raise ConnectionError("it ended")
        got += chunk
    return got


def expect(connection: ssl.SSLSocket, text: bytes) -> None:
    if read(connection, len(text)) != text:
        raise ConnectionError("it says something else")


def is_done(call: Any, *arguments: Any) -> bool:
    try:
        call(*arguments)
    except OSError:
        return False
    return True


def drive() -> None:
    """Answer line after line; runs inside the machine."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    driver = Driver()
    for line in sys.stdin:
        what, arguments = json.loads(line)
        print(json.dumps(getattr(driver, what)(*arguments)), flush=True)


class Witness:
    """The driver from outside."""

    def __init__(self, machine: Machine, user: str = "dev") -> None:
        place = f"{machine.home(user)}/witness.py"
        machine.write(place, Path(__file__).read_text("utf-8"), user=user)
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        self._process = subprocess.Popen(
            [*machine.enter, *become, "/usr/bin/python3", "-I", place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, what: str, *arguments: object) -> Any:
        """Have it do a word of Driver, and return what that returns."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([what, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the witness is gone"
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and every connection that it has."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()
        self._process.wait(PATIENCE)


if __name__ == "__main__":
    drive()
