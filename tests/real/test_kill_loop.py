"""kill -9 of any part, round after round: only what was in flight fails, everything is back, nothing is left over.

DEVTLS_TEST_ROUNDS says how many rounds, DEVTLS_TEST_SEED which ones; pytest -rP shows the figures.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import pytest

from tests.real.love_cat import GATEWAY, assert_clean_end, assert_nothing_runs
from tests.real.many import APP, NAMES, NGINX, bring, down, finish, start
from tests.real.running import MOMENT, wait_until
from tests.real.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.real.machine import Machine

ROUNDS = int(os.environ.get("DEVTLS_TEST_ROUNDS", "20"))
SEED = os.environ.get("DEVTLS_TEST_SEED", "love.cat")
HOSTS = ("a.test", "b.test", "c.test")
HELD = 4  # WebSockets of each host
PATHS = {"/": 0.03, "/slow": 0.01}  # s between two requests of one asker
BACK = 10 * MOMENT
MOST_TOLD = 5  # requests that failed, of each kind of kill

# What is killed in a round, at once. A project whose supervisor or guardian is killed is over.
KILLS = (
    ("master",),
    ("worker",),
    ("keeper",),
    ("supervisor",),
    ("guardian",),
    ("app",),
    ("master", "worker"),
    ("master", "keeper"),
    ("keeper", "supervisor"),
    ("guardian", "supervisor"),
)
ENDING = {"supervisor", "guardian"}
KEEPER = " -m devtls.nginx.keeper "
MASTER = "nginx: master process "
GATEWAYS = ("keeper", "master", "worker", "worker")
SHARED = ("master", "worker", "keeper")
PROJECTS = ("guardian", "supervisor", "app")
PASSING = {"retiring", "stranger"}  # old workers may end what they have; who else is there has to go, a little later


@dataclass(frozen=True)
class Actor:
    """A process of ours, and which part it plays: of the gateway for no host."""

    part: str
    host: str
    pid: int
    told: str = ""


@dataclass
class Figures:
    """What one kind of kill has come to, over all of its rounds."""

    rounds: int = 0
    asked: int = 0
    in_flight: int = 0
    failed: int = 0
    others: list[str] = field(default_factory=list)
    pages: int = 0
    bare: int = 0
    lost: int = 0
    back: list[float] = field(default_factory=list)
    quiet: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        """One line of a table."""
        times = [f"{median(each):.2f} s, at most {max(each):.2f} s" for each in (self.back, self.quiet) if each]
        failed = f"{self.failed} of {self.in_flight} in flight failed, {len(self.others)} of {self.asked} others"
        back = f"back after {', quiet after '.join(times)}"
        return (
            f"{self.rounds:4}: {failed}; {self.pages} pages, {self.bare} without, {self.lost} WebSockets lost; {back}"
        )


def part_of(words: str, above: str) -> tuple[str, str]:
    """Which part a process plays, and for which host, by its command line and its parent's."""
    for host in HOSTS:
        if words == f"/usr/bin/python3 -I {APP} {host}":
            return "app", host
        if f" up {host} --app " in words:
            return "supervisor" if above == words else "guardian", host
    part = {
        KEEPER in words: "keeper",
        words.startswith(MASTER): "master",
        words == "nginx: worker process" and above.startswith(MASTER): "worker",
        words == "nginx: worker process is shutting down": "retiring",
    }.get(True, "stranger")
    return part, ""


def look(witness: Witness) -> list[Actor]:
    """Every process of the user."""
    rows = {pid: (parent, words) for pid, parent, words in witness("census")}
    found = []
    for pid, (parent, words) in rows.items():
        above = rows.get(parent, (0, ""))[1]
        found.append(Actor(*part_of(words, above), pid, f"{words}, below {parent} {above}"))
    return found


def is_whole(actors: Sequence[Actor], *hosts: str) -> bool:
    """Whether all are there that should be, each once."""
    wanted = [(part, "") for part in GATEWAYS] + [(part, host) for part in PROJECTS for host in hosts]
    return sorted((each.part, each.host) for each in actors if each.part not in PASSING) == sorted(wanted)


@dataclass(frozen=True)
class Round:
    """One kill: what, of whom, from when until the last of the killed, and who ends with them, was gone."""

    name: str
    parts: tuple[str, ...]
    host: str
    began: float
    gone: float
    before: tuple[Actor, ...]

    @property
    def is_ending(self) -> bool:
        """Whether the project is over."""
        return not ENDING.isdisjoint(self.parts)

    @property
    def untouched(self) -> list[str]:
        """The hosts whose project goes on."""
        return [host for host in HOSTS if not (self.is_ending and host == self.host)]

    def concerns(self, host: str) -> bool:
        """Whether it takes the app of this host away."""
        return host == self.host and not {"app", *ENDING}.isdisjoint(self.parts)


class Siege:
    """Three projects that are asked all the time, while their parts are killed."""

    def __init__(self, machine: Machine, witness: Witness, env: dict[str, str]) -> None:
        self.machine = machine
        self.witness = witness
        self.env = env
        self.dice = random.Random(SEED)  # noqa: S311 - which process to kill is no secret
        self.deck: list[tuple[str, ...]] = []
        self.figures: dict[tuple[str, ...], Figures] = defaultdict(Figures)
        for host in HOSTS:
            self.witness("hold", host, HELD)
            for path, pause in PATHS.items():
                self.witness("ask", host, path, pause)

    def play(self, number: int) -> None:
        """One round, after which all is as it was."""
        for host, (alive, _lost) in self.witness("echo", *HOSTS).items():
            self.witness("hold", host, HELD - alive)  # those that live on are held by ever older workers
        played = self.kill(number)
        figures = self.figures[played.parts]
        figures.rounds += 1
        self.wait_until_back(played)
        figures.back.append(time.monotonic() - played.began)
        self.wait_until_quiet(played)
        figures.quiet.append(time.monotonic() - played.began)
        swept = time.monotonic()
        if played.is_ending:
            told = self.witness("get", played.host)
            assert told.startswith("000 "), f"{played.name}: still served: {told}"
        for host, (_alive, lost) in self.witness("echo", *HOSTS).items():
            figures.lost += 0 if played.concerns(host) else lost
        if played.is_ending:
            finish(start(self.machine, played.host, self.env))
            self.wait_until_whole(played)
        answers = self.witness("answers")
        self.judge(played, figures, answers)
        if played.is_ending:
            (app,) = (each.pid for each in played.before if (each.part, each.host) == ("app", played.host))
            late = [answer for _, asked, _, answer in answers if asked > swept]
            assert not [answer for answer in late if f'"pid": {app}}}' in answer], f"{played.name}: the old app"

    def kill(self, number: int) -> Round:
        """Throw the dice, and do it."""
        self.deck = self.deck or self.dice.sample(KILLS, len(KILLS))
        return self.kill_now(number, self.deck.pop(), self.dice.choice(HOSTS))

    def kill_now(self, number: int, parts: tuple[str, ...], host: str, within: float = 0.1) -> Round:
        """Kill one process of each part, where there is any, in a while."""
        time.sleep(self.dice.uniform(0, within))  # at any point of what goes on
        before = tuple(look(self.witness))
        found = [[each.pid for each in before if each.part == part and each.host in {"", host}] for part in parts]
        victims = [self.dice.choice(each) for each in found if each]
        # Without its keeper the master ends its workers; until then they take what comes.
        is_told = "keeper" in parts and "master" not in parts
        watched = [each.pid for each in before if each.part in {"master", "worker"} and is_told]
        name = f"round {number} of seed {SEED}: {' and '.join(parts)}, {host}"
        began, gone = self.witness("kill", victims, watched)
        return Round(name, parts, host, began, gone, before)

    def wait_until_back(self, played: Round) -> None:
        """Until who should be is there and serves, and none else does."""
        old = {each.pid for each in played.before if each.part == "worker"}

        def is_back(seen: list[Actor]) -> bool:
            # A site is out when no worker takes connections that knew it.
            is_out = not played.is_ending or old.isdisjoint(each.pid for each in seen if each.part == "worker")
            return is_out and is_whole(seen, *played.untouched) and self.are_served(seen, *played.untouched)

        self.wait_for(played, is_back)

    def wait_until_whole(self, played: Round, *hosts: str) -> None:
        """Until all is as it was."""
        everybody = hosts or HOSTS
        self.wait_for(played, lambda seen: is_whole(seen, *everybody) and self.are_served(seen, *everybody))
        self.wait_until_quiet(played)

    def wait_until_quiet(self, played: Round) -> None:
        """Until nobody is there who should not be, not even one that nobody waits for."""
        self.wait_for(played, lambda seen: all(each.part != "stranger" for each in seen))

    def are_served(self, seen: Sequence[Actor], *hosts: str) -> bool:
        """Whether each answers, from the app that runs."""
        apps = {each.host: each.pid for each in seen if each.part == "app"}
        told = {host: self.witness("get", host) for host in hosts}
        return all(f'"pid": {apps[host]}}}' in answer for host, answer in told.items())

    def wait_for(self, played: Round, is_so: Callable[[list[Actor]], bool]) -> None:
        """Look until it is so."""
        seen: list[Actor] = []
        end = time.monotonic() + BACK
        while not is_so(seen := look(self.witness)):
            if time.monotonic() > end:
                people = "\n".join(f"{each.part} {each.host}: {each.pid} {each.told}" for each in seen)
                pytest.fail(f"{played.name}: not within {BACK:.0f} s; there is\n{people}\n{self.log()}")

    def log(self) -> str:
        """What keeper, nginx and projects wrote last."""
        return self.machine.run(["sh", "-c", "find .local/state/devtls -name '*.log' | xargs tail -n 25"]).output

    @staticmethod
    def judge(played: Round, figures: Figures, answers: Sequence[tuple[str, float, float, str]]) -> None:
        """Count what failed, and which of it was not in flight."""
        for host, asked, answered, answer in answers:
            if played.concerns(host):
                figures.pages += answer.startswith("503 ")
                figures.bare += answer.startswith("502 ")
                continue
            was_in_flight = asked <= played.gone and answered >= played.began
            figures.asked += 1
            figures.in_flight += was_in_flight
            if not answer.startswith("200 "):
                figures.failed += was_in_flight
                if not was_in_flight:
                    figures.others.append(f"{played.name}: {host} {asked - played.began:+.3f} s: {answer[:120]}")


@pytest.mark.timeout(120 + 10 * ROUNDS)
@pytest.mark.parametrize("env", NGINX, ids=NAMES)
def test_whatever_part_is_killed_only_what_was_in_flight_fails_and_everything_is_back(
    machine: Machine, env: dict[str, str]
) -> None:
    for host in HOSTS:
        bring(machine, host)
        finish(start(machine, host, env))
    with Witness(machine) as witness:
        siege = Siege(machine, witness, env)
        try:
            for number in range(ROUNDS):
                siege.play(number)
        finally:
            for parts, figures in sorted(siege.figures.items()):
                print(f"{' and '.join(parts):24}{figures}", *figures.others[:MOST_TOLD], sep="\n  ")
        assert machine.listening() >= GATEWAY
        for host in HOSTS:
            down(machine, host)
        wait_until(lambda: look(witness) == [], "nobody is left, though WebSockets are held")
    assert_nothing_runs(machine)
    assert {parts: len(figures.others) for parts, figures in siege.figures.items() if figures.others} == {}


@pytest.mark.timeout(120 + 10 * ROUNDS)
@pytest.mark.parametrize("env", NGINX, ids=NAMES)
def test_a_project_comes_and_goes_though_the_gateway_is_killed_meanwhile(machine: Machine, env: dict[str, str]) -> None:
    last = HOSTS[-1]
    for host in HOSTS:
        bring(machine, host)
        finish(start(machine, host, env))
    with Witness(machine) as witness:
        siege = Siege(machine, witness, env)
        for number in range(ROUNDS // 2):
            part = siege.dice.choice(SHARED)
            going = machine.start(["devtls", "down"], cwd=f"/home/dev/{last}")
            played = siege.kill_now(number, (part,), last, within=0.5)
            finish(going)
            assert_clean_end(going.output)
            siege.wait_until_whole(played, *HOSTS[:-1])
            assert witness("get", last).startswith("000 "), f"{played.name}: still served"
            coming = start(machine, last, env)
            played = siege.kill_now(number, (part,), last, within=1.0)
            finish(coming)
            siege.wait_until_whole(played)
        for host in HOSTS:
            down(machine, host)
    assert_nothing_runs(machine)


@pytest.mark.parametrize("env", NGINX, ids=NAMES)
def test_a_project_that_comes_while_the_others_bring_a_killed_gateway_back_waits_for_it(
    machine: Machine, env: dict[str, str]
) -> None:
    first, second, _ = HOSTS
    for host in (first, second):
        bring(machine, host)
    finish(start(machine, first, env))
    with Witness(machine) as witness:
        before = {each.part: each.pid for each in look(witness)}
        machine.kill(before["supervisor"], "STOP")  # it has the ports, and takes its time
        witness("kill", [before["keeper"]], [before["master"]])
        coming = start(machine, second, env)
        until = time.monotonic() + MOMENT
        wait_until(lambda: coming.output != "" or time.monotonic() > until, "time enough to give up too early")
        machine.kill(before["supervisor"], "CONT")
        finish(coming)
        wait_until(lambda: is_whole(look(witness), first, second), "both are up")
        assert [witness("get", host)[:4] for host in (first, second)] == ["200 ", "200 "]
        for host in (first, second):
            down(machine, host)
    assert_nothing_runs(machine)
