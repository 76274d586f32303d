"""What the gateway and its peers are put under: wrk, h2load, and WebSockets in ping-pong; each for a second."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

from tests.bench.place import PYTHON

if TYPE_CHECKING:
    from tests.bench.place import Place

# More connections than cores keep both workers busy. nginx ends a connection after 1,000 requests, h2load does not open
# another: up to 32,000 requests in a second, there are enough.
WRK = ("wrk", "--threads", "1", "--connections", "32", "--duration", "1s")
H2LOAD = ("h2load", "--clients", "32", "--max-concurrent-streams", "4", "--duration", "1")
WEBSOCKETS = 32
MISSING = "there is no {}: apt-get install wrk nghttp2-client"


def why_not() -> str:
    """Which program of the load is missing; nothing when all are there."""
    return next((MISSING.format(program) for program in ("wrk", "h2load") if not shutil.which(program)), "")


def wrk(place: Place, host: str, port: int) -> float:
    """Answers a second over HTTP/1.1."""
    return parse_wrk(place.run([*WRK, f"https://{host}:{port}/"]))


def h2load(place: Place, host: str, port: int) -> float:
    """Answers a second over HTTP/2."""
    return parse_h2load(place.run([*H2LOAD, f"https://{host}:{port}/"]))


def websockets(place: Place, host: str, port: int) -> float:
    """Round trips of a message a second over wss."""
    argv = [PYTHON, "-I", str(place.directory / "wss.py"), host, str(port), "/chat", str(WEBSOCKETS), "1"]
    return float(json.loads(place.run(argv))["rate"])


def parse_wrk(said: str) -> float:
    """The answers other than errors, by the time that wrk took, which is a little more than it was told."""
    done, seconds = _numbers(r"(\d+) requests in ([\d.]+)s", said)
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    return (done - failed) / seconds


def parse_h2load(said: str) -> float:
    """The answers other than errors, by the second that h2load was told."""
    (done,) = _numbers(r"status codes: (\d+) 2xx", said)
    return done


def _numbers(pattern: str, said: str) -> list[float]:
    found = re.search(pattern, said)
    if not found:
        raise RuntimeError(f"no {pattern} in what it said: {said}")
    return [float(group) for group in found.groups()]
