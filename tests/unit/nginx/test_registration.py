from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from devtls import __version__
from devtls.nginx.binary import Nginx, stamp_of
from devtls.nginx.gateway import control_socket
from devtls.nginx.protocol import PROTOCOL
from devtls.nginx.registration import Registration
from devtls.system.channel import Link, Message, listen
from devtls.system.files import make_private_directory, try_lock
from devtls.system.loop import Loop
from devtls.system.paths import Paths
from devtls.system.templates import find_templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from devtls.nginx.gateway import Greeting

NGINX = Nginx("/usr/sbin/nginx", (1, 22, 1), frozenset(), stamp_of("/usr/sbin/nginx"))


class FakeKeeper:
    """The other end: it greets, keeps what it hears, and says what it is told to."""

    def __init__(self, loop: Loop, paths: Paths, protocol: int = PROTOCOL, version: str = __version__) -> None:
        self.loop = loop
        self.version = version
        self.protocol = protocol
        self.heard: list[Message] = []
        self.links: list[Link] = []
        self.https = socket.create_server(("127.0.0.1", 0))
        self.server = listen(control_socket(paths))
        loop.watch(self.server.fileno(), self.accept)

    def accept(self) -> None:
        connection, _ = self.server.accept()
        self.links.append(Link(self.loop, connection, lambda message, _: self.heard.append(message), lambda: None))
        nginx = {"path": NGINX.path, "version": NGINX.version, "features": [], "stamp": NGINX.stamp}
        endpoints = {"https": [self.https.getsockname()], "http": []}
        hello = {
            "hello": "devtls-gateway",
            "protocol": self.protocol,
            "version": self.version,
            "pid": 42,
            "nginx": nginx,
        }
        self.links[-1].send({**hello, **endpoints, "sites": []}, [self.https.fileno()])

    def say(self, message: Message) -> None:
        self.links[-1].send(message)

    def die(self) -> None:
        self.loop.unwatch(self.server.fileno())
        self.server.close()
        for link in self.links:
            link.close()
        self.https.close()


class Stage:
    """A registration, and its owner, who notes what it is told."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.paths = Paths(folder, folder / "data", folder / "state")
        make_private_directory(self.paths.gateway)
        self.told: list[tuple[str, Any]] = []
        self.has_nothing_left = False
        self.keepers: list[FakeKeeper] = []
        self.own = socket.create_server(("127.0.0.1", 0))
        self.registration = Registration(
            self.loop,
            self,
            paths=self.paths,
            nginx=NGINX,
            templates=find_templates({}),
            environment=os.environ,
            sockets=[self.own],
        )

    def describe_site(self, greeting: Greeting) -> Message | None:
        if self.has_nothing_left:
            return None
        return {"do": "register", "port": greeting.listen.https[0].port}

    def site_is_taken(self, domains: Sequence[str], by: Message) -> None:
        self.told.append(("taken", (list(domains), by)))

    def gateway_is_replaced(self, why: str) -> None:
        self.told.append(("replaced", why))

    def site_is_live(self, greeting: Greeting) -> None:
        self.told.append(("live", greeting.pid))

    def site_is_refused(self, answer: Message) -> None:
        self.told.append(("refused", answer["why"]))

    def gateway_is_gone(self, fact: str) -> None:
        self.told.append(("no gateway", fact))

    def site_is_gone(self, *, is_last: bool) -> None:
        self.told.append(("gone", is_last))

    def keep(self, protocol: int = PROTOCOL, version: str = __version__) -> FakeKeeper:
        self.keepers.append(FakeKeeper(self.loop, self.paths, protocol, version))
        return self.keepers[-1]

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(3000):
            if condition():
                return
            self.loop.turn(0.01)
        pytest.fail(f"waited in vain: {self.told}")

    def close(self) -> None:
        for keeper in self.keepers:
            keeper.die()
        self.registration.goodbye()
        if self.registration._link:
            self.registration._link.close()
        self.registration.close()
        self.own.close()
        self.loop.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def live(stage: Stage) -> FakeKeeper:
    """Register, and be told that the site is live."""
    keeper = stage.keep()
    stage.registration.open()
    stage.until(lambda: keeper.heard)
    keeper.say({"is": "registered"})
    stage.until(lambda: stage.told == [("live", 42)])
    return keeper


def test_the_site_is_described_for_the_gateway_that_is_there(stage: Stage) -> None:
    keeper = live(stage)
    assert keeper.heard == [{"do": "register", "port": keeper.https.getsockname()[1]}]


def test_the_gateways_own_sockets_are_kept_instead_of_those_it_came_with(stage: Stage) -> None:
    keeper = live(stage)
    assert stage.own.fileno() == -1
    (kept,) = stage.registration._sockets
    assert kept.getsockname() == keeper.https.getsockname()


def test_a_site_is_live_when_the_last_of_its_descriptions_is(stage: Stage) -> None:
    keeper = live(stage)
    stage.registration.update()
    stage.registration.update()
    stage.until(lambda: len(keeper.heard) == 3)
    keeper.say({"is": "registered"})
    keeper.say({"is": "refused", "why": "marker"})
    stage.until(lambda: ("refused", "marker") in stage.told)
    assert stage.told.count(("live", 42)) == 1
    stage.registration.update()
    keeper.say({"is": "registered"})
    stage.until(lambda: stage.told.count(("live", 42)) == 2)


def test_nothing_is_described_to_nobody(stage: Stage) -> None:
    stage.registration.update()
    assert stage.told == []


def test_a_refusal_is_passed_on(stage: Stage) -> None:
    keeper = stage.keep()
    stage.registration.open()
    stage.until(lambda: keeper.heard)
    keeper.say({"is": "refused", "why": "domain"})
    stage.until(lambda: stage.told)
    assert stage.told == [("refused", "domain")]


def test_a_gateway_of_another_protocol_is_told(stage: Stage) -> None:
    keeper = stage.keep(protocol=99)
    stage.registration.open()
    stage.until(lambda: stage.told)
    ((what, fact),) = stage.told
    assert what == "no gateway"
    assert "speaks another protocol" in fact
    assert keeper.heard == []


@pytest.mark.parametrize("is_last", [True, False])
def test_a_goodbye_is_told_once_the_keeper_has_said_bye(stage: Stage, is_last: bool) -> None:
    keeper = live(stage)
    stage.registration.goodbye()
    stage.until(lambda: {"do": "goodbye"} in keeper.heard)
    assert stage.told == [("live", 42)]
    keeper.say({"is": "bye", "last": is_last})
    stage.until(lambda: len(stage.told) == 2)
    assert stage.told[-1] == ("gone", is_last)
    keeper.die()
    stage.keepers.clear()
    stage.loop.turn(0)
    assert len(stage.told) == 2


def test_a_keeper_that_dies_during_the_goodbye_is_a_goodbye(stage: Stage) -> None:
    keeper = live(stage)
    stage.registration.goodbye()
    keeper.die()
    stage.keepers.clear()
    stage.until(lambda: len(stage.told) == 2)
    assert stage.told[-1] == ("gone", False)


def test_a_goodbye_to_nobody_is_told_at_once(stage: Stage) -> None:
    stage.registration.goodbye()
    assert stage.told == [("gone", False)]


def test_a_keeper_that_is_lost_is_found_again(stage: Stage) -> None:
    first = live(stage)
    first.die()
    stage.keepers.clear()
    second = stage.keep()
    stage.until(lambda: second.heard)
    second.say({"is": "registered"})
    stage.until(lambda: stage.told == [("live", 42)] * 2)


def test_without_a_keeper_one_is_started_on_the_sockets_that_are_held(stage: Stage) -> None:
    stage.registration.open()
    stage.until(lambda: ("refused", "message") in stage.told)  # a real one, that does not know our site
    assert stage.registration.greeting
    assert stage.registration.greeting.listen.https[0].port == stage.registration._sockets[0].getsockname()[1]
    stage.registration.goodbye()
    stage.until(lambda: ("gone", True) in stage.told)  # nobody else was there


def test_a_keeper_that_is_being_started_is_told_goodbye_once_it_listens(stage: Stage) -> None:
    stage.registration.open()
    stage.registration.goodbye()
    assert stage.told == []
    stage.until(lambda: stage.told)
    assert stage.told == [("gone", True)]


def test_a_keeper_that_cannot_start_is_told_with_what_it_said(stage: Stage) -> None:
    (stage.paths.gateway / "temp").write_text("in the way", "utf-8")
    stage.registration.open()
    stage.until(lambda: stage.told)
    ((what, fact),) = stage.told
    assert what == "no gateway"
    assert fact.startswith("the gateway does not start: ")


def test_a_keeper_that_is_just_ending_is_waited_for(stage: Stage) -> None:
    lock = try_lock(stage.paths.gateway / "lock")
    assert lock is not None
    stage.registration.open()
    stage.until(lambda: stage.registration._attempts == 2)
    keeper = stage.keep()
    stage.until(lambda: keeper.heard)
    os.close(lock)
    assert stage.told == []


def test_a_domain_that_was_taken_is_told_and_the_rest_is_described_again(stage: Stage) -> None:
    keeper = live(stage)
    keeper.say({"is": "taken", "domains": ["love.cat"], "by": {"pid": 7}})
    stage.until(lambda: len(keeper.heard) == 2)
    assert stage.told[-1] == ("taken", (["love.cat"], {"pid": 7}))
    assert keeper.heard[-1]["do"] == "register"


def test_who_has_nothing_left_to_serve_withdraws(stage: Stage) -> None:
    keeper = live(stage)
    stage.has_nothing_left = True
    keeper.say({"is": "taken", "domains": ["love.cat"], "by": {"pid": 7}})
    stage.until(lambda: {"do": "withdraw"} in keeper.heard)


def test_a_successor_that_is_on_its_way_is_waited_for(stage: Stage) -> None:
    first = live(stage)
    first.say({"is": "moved"})
    stage.until(lambda: stage.registration._link is None)
    first.die()
    stage.keepers.clear()
    stage.loop.turn(0.05)
    second = stage.keep()
    stage.until(lambda: second.heard)
    assert stage.told == [("live", 42), ("replaced", "another project found it outdated")]
    assert stage.registration._attempts == 0


def test_an_outdated_keeper_is_asked_to_hand_over_and_its_successor_comes(stage: Stage) -> None:
    keeper = stage.keep(version="0.0.1")
    stage.registration.open()
    stage.until(lambda: {"do": "hand-over"} in keeper.heard)
    assert stage.told == [("replaced", "it is of devtls 0.0.1")]
    keeper.say({"is": "moved"})
    keeper.die()
    stage.keepers.clear()
    stage.until(lambda: ("refused", "message") in stage.told)  # a real one, that does not know our site
    assert stage.registration.greeting
    assert stage.registration.greeting.version == __version__
    stage.until(lambda: stage.registration._successor is None)
    stage.registration.goodbye()
    stage.until(lambda: ("gone", True) in stage.told)


def test_a_goodbye_while_somebody_elses_keeper_is_waited_for_is_told(stage: Stage) -> None:
    lock = try_lock(stage.paths.gateway / "lock")
    assert lock is not None
    stage.registration.open()
    stage.until(lambda: stage.registration._patient_until)
    stage.registration.goodbye()
    stage.until(lambda: stage.told)
    assert stage.told == [("gone", False)]
    os.close(lock)
