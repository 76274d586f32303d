"""A project joins while another one has a thousand open WebSockets: how many are dropped, and how long it takes."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING

from tests.bench.figures import interleave
from tests.bench.place import DOMAIN, PYTHON, USER
from tests.bench.serving import BY_HAND_PORT, begin, by_hand, serve, write_by_hand
from tests.bench.table import Against, Amount, AtMost
from tests.real.running import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.place import Place
    from tests.real.running import Running

WEBSOCKETS = 1000
ROUNDS = 5
PATIENCE = 60.0  # s
FOLDER = "/root/other"  # of the project that joins
CONFIG = "/root/.local/state/devtls/gateway/live/nginx.conf"


def measure(place: Place) -> list[Against | Amount]:
    """Both sides get new WebSockets in each round, or the workers that retire would have none."""
    alive: list[int] = []
    with serve(place), joining(place, 1) as project:
        alone = as_by_hand(place.machine.read(CONFIG))
        ask(project, "join")
        both = as_by_hand(place.machine.read(CONFIG))
        ask(project, "leave")

        def ours() -> float:
            with _websockets(place, 443, alive):
                seconds = ask(project, "join")["seconds"]
            ask(project, "leave")
            return float(seconds)

        with by_hand(place, alone) as nginx:

            def theirs() -> float:
                with _websockets(place, BY_HAND_PORT, []):
                    write_by_hand(place, both)
                    seconds = begin(place, str(nginx.pid))["seconds"]
                write_by_hand(place, alone)
                begin(place, str(nginx.pid))
                return seconds

            pairs = interleave(ROUNDS, ours, theirs)
    dropped = WEBSOCKETS * len(alive) - sum(alive)
    what, asked = f"a project joins beside {WEBSOCKETS} WebSockets", f"of {WEBSOCKETS * len(alive)} asked for an echo"
    return [
        Amount(what, dropped, asked, "dropped", 0),
        Against(f"{what}: live", pairs, "nginx -s reload", AtMost(1.5)),
    ]


@contextlib.contextmanager
def joining(place: Place, count: int) -> Iterator[Running]:
    """The project that joins and leaves (register.py), with its certificates."""
    place.run(["mkdir", "-p", FOLDER])
    argv = [place.python, "-P", str(place.directory / "register.py"), str(count)]
    running = place.machine.start(argv, user=USER, cwd=FOLDER)
    try:
        running.wait_for("^ready$", PATIENCE)
        yield running
    finally:
        running.send_signal("KILL")
        running.wait()


def ask(running: Running, word: str) -> dict[str, float]:
    """Say a word to a program that answers with a line of JSON; return that."""
    before = len(_answers(running))
    running.write(f"{word}\n")
    wait_until(lambda: len(_answers(running)) > before or not running.is_running(), word, PATIENCE)
    if not running.is_running():
        raise RuntimeError(running.output)
    return dict(json.loads(_answers(running)[-1]))


def _answers(running: Running) -> list[str]:
    return [line for line in running.output.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]


def as_by_hand(text: str) -> str:
    """The gateway's configuration as it would be for an nginx that binds by itself, beside the gateway."""
    text = re.sub(r"(listen \S+):443\b", rf"\1:{BY_HAND_PORT}", text)
    text = re.sub(r"(listen \S+):80\b", r"\1:8480", text)
    return text.replace("pid nginx.pid;\n", "")


@contextlib.contextmanager
def _websockets(place: Place, port: int, alive: list[int]) -> Iterator[None]:
    """Hold them open; afterwards count on how many an echo still comes."""
    argv = [PYTHON, "-I", str(place.directory / "wss.py"), DOMAIN, str(port), "/chat", str(WEBSOCKETS), "hold"]
    running = place.machine.start(argv, user=USER)
    try:
        running.wait_for("^open$", PATIENCE)
        yield
        running.write("\n")
        alive.append(int(running.wait_for(r"^alive (\d+)$", PATIENCE)[1]))
    finally:
        running.send_signal("KILL")
        running.wait()
