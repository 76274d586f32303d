from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from devtls.errors import DevtlsError, NotRunningError
from devtls.model import Endpoint
from devtls.nginx.binary import Nginx, stamp_of
from devtls.nginx.keeper import LARGEST_LOG, LONELY, RELIEF, RESTART_AFTER, Keeper
from devtls.nginx.protocol import Setup, parse_registration, parse_setup, render_setup
from devtls.nginx.sites import COMING, LOOK_EVERY, YIELDING
from devtls.system.channel import Client, Link, Message
from devtls.system.loop import Loop
from devtls.system.name_route import Kept, NameRoute, Routed
from devtls.system.processes import Identity, identify
from devtls.system.templates import find_templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NGINX = Nginx("/usr/sbin/nginx", (1, 22, 1), frozenset({"http2"}), "1:2")
LEAF = {"fullchain": "/data/fullchain.pem", "key": "/data/key.pem"}


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeMaster:
    """An nginx that reads what it is given, refuses what has a word in it, and reloads at once or when told."""

    def __init__(self, folder: Path, died: Callable[[], None]) -> None:
        self.folder = folder
        self.died = died
        self.pid: int | None = None
        self.refused_word = "nonsense"
        self.is_slow = False
        self.tested: list[list[str]] = []
        self.served: list[list[str]] = []
        self.going_live: list[Callable[[], None]] = []
        self.is_stopped = False
        self.is_retired = False
        self.logs = 1

    def test(self, configuration: Path) -> None:
        self.tested.append(read_sites(configuration))
        if any(self.refused_word in site for site in self.tested[-1]):
            raise DevtlsError("nginx: [emerg] unknown directive")

    def reload(self, live: Callable[[], None]) -> None:
        if self.pid is None and any(self.refused_word in site for site in read_sites(self.folder / "live")):
            self.died()
            return
        self.pid = 42
        self.served.append(read_sites(self.folder / "live"))
        if self.is_slow:
            self.going_live.append(live)
        else:
            live()

    def stop(self, stopped: Callable[[], None]) -> None:
        self.is_stopped = True
        stopped()

    def quit(self, stopped: Callable[[], None]) -> None:
        self.is_retired = True
        stopped()

    def reopen_logs(self) -> None:
        self.logs += 1


def read_sites(configuration: Path) -> list[str]:
    return re.findall(r"^# site (.*)$", (configuration / "nginx.conf").read_text("utf-8"), re.MULTILINE)


class Project:
    """A project's end of the connection."""

    def __init__(self, loop: Loop, path: Path) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(path))
        self.heard: list[Message] = []
        self.descriptors: list[int] = []
        self.is_gone = False
        self.link = Link(loop, connection, self.hear, self.note_gone)

    def hear(self, message: Message, descriptors: list[int]) -> None:
        self.heard.append(message)
        self.descriptors += descriptors

    def note_gone(self) -> None:
        self.is_gone = True

    def register(
        self, *domains: str, site: str = "", session: str = "s" * 16, force: bool = False, **facts: Any
    ) -> None:
        known = {"directory": f"/home/dev/{domains[0]}", "domains": list(domains), "pid": 7, "session": session}
        site = f"# site {site or domains[0]}"
        self.link.send({"do": "register", "site": site, "force": force, "facts": {**known, "leaf": LEAF, **facts}})


class Stage:
    """A keeper on a loop, with an nginx that is not one."""

    def __init__(self, folder: Path, expected: int = 0) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint(*self.listener.getsockname())
        https = ((self.endpoint, self.listener.fileno()),)
        setup = Setup(folder, folder / "gateway.sock", find_templates({}), NGINX, https, (), expected=expected)
        self.keeper = Keeper(self.loop, setup)
        self.master = FakeMaster(folder, self.keeper._master_died)
        self.keeper.master = self.keeper.sites.master = self.master  # type: ignore[assignment] # it does what is asked of one
        self.keeper.open()
        self.projects: list[Project] = []

    def visit(self) -> Project:
        project = Project(self.loop, self.keeper.setup.control)
        self.projects.append(project)
        self.until(lambda: project.heard)
        return project

    def visit_and_register(self, *domains: str) -> Project:
        project = self.visit()
        project.register(*domains)
        self.until(lambda: {"is": "registered"} in project.heard)
        return project

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(1000):
            if condition():
                return
            self.loop.turn(0.01)
        pytest.fail("waited in vain")

    def lose_master(self) -> None:
        """Its binary is still the one that was asked what it can do."""
        self.keeper.setup = replace(self.keeper.setup, nginx=replace(NGINX, stamp=stamp_of(NGINX.path)))
        self.keeper._master_died()

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.loop.turn(0)

    def close(self) -> None:
        for project in self.projects:
            project.link.close()
            for descriptor in project.descriptors:
                os.close(descriptor)
        for visitor in tuple(self.keeper.sites.visitors):
            if visitor.link:
                visitor.link.close()
        self.keeper.end()
        self.listener.close()
        self.loop.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def test_a_visitor_is_told_everything_and_given_the_sockets(stage: Stage) -> None:
    stage.visit_and_register("love.cat")
    (hello,) = (visitor := stage.visit()).heard
    assert list(hello) == ["hello", "protocol", "version", "pid", "nginx", "https", "http", "sites"]
    assert (hello["hello"], hello["protocol"], hello["pid"]) == ("devtls-gateway", 1, os.getpid())
    assert hello["nginx"] == {"path": NGINX.path, "version": [1, 22, 1], "features": ["http2"], "stamp": "1:2"}
    assert hello["sites"] == [{"directory": "/home/dev/love.cat", "domains": ["love.cat"], "pid": 7}]
    assert hello["https"] == [[stage.endpoint.host, stage.endpoint.port]]
    (descriptor,) = visitor.descriptors
    assert os.path.sameopenfile(descriptor, stage.listener.fileno())


def test_a_site_is_read_by_nginx_before_it_is_served(stage: Stage) -> None:
    stage.visit_and_register("love.cat")
    assert (stage.master.tested, stage.master.served) == ([], [["love.cat"]])  # a first start reads it anyway
    stage.visit_and_register("purr.cat")
    assert stage.master.tested == stage.master.served[1:] == [["love.cat", "purr.cat"]]


def test_projects_are_served_together_each_as_long_as_its_connection(stage: Stage) -> None:
    first = stage.visit_and_register("love.cat")
    stage.visit_and_register("purr.cat")
    assert stage.master.served[-1] == ["love.cat", "purr.cat"]
    first.link.close()
    stage.until(lambda: len(stage.master.served) == 3)
    assert stage.master.served[-1] == ["purr.cat"]
    assert not stage.keeper.ending


def test_a_duplicate_domain_is_refused_with_its_owner_and_disturbs_nobody(stage: Stage) -> None:
    stage.visit_and_register("love.cat", "www.love.cat")
    second = stage.visit()
    second.register("purr.cat", "www.love.cat")
    stage.until(lambda: len(second.heard) == 2)
    refused = second.heard[1]
    assert (refused["is"], refused["why"], refused["domain"]) == ("refused", "domain", "www.love.cat")
    assert refused["owner"] == {"directory": "/home/dev/love.cat", "domains": ["love.cat", "www.love.cat"], "pid": 7}
    assert stage.master.served == [["love.cat"]]


def test_a_domain_is_free_again_once_its_project_is_gone(stage: Stage) -> None:
    stage.visit_and_register("purr.cat")
    first = stage.visit_and_register("love.cat")
    first.link.close()
    stage.until(lambda: len(stage.keeper.sites.visitors) == 1)
    stage.visit_and_register("love.cat")


def test_a_site_that_nginx_refuses_takes_nobody_down(stage: Stage) -> None:
    stage.visit_and_register("love.cat")
    second = stage.visit()
    second.register("purr.cat", site="nonsense")
    stage.until(lambda: len(second.heard) == 2)
    refused = second.heard[1]
    assert (refused["why"], refused["message"]) == ("config", "nginx: [emerg] unknown directive")
    assert refused["line"] > 1
    assert stage.master.served == [["love.cat"]]
    (live,) = (stage.keeper.setup.folder / "conf").iterdir()
    assert live == (stage.keeper.setup.folder / "live").resolve()


def test_a_project_whose_new_site_is_refused_is_served_as_before(stage: Stage) -> None:
    project = stage.visit_and_register("love.cat")
    project.register("love.cat", site="nonsense")
    stage.until(lambda: project.heard[-1]["is"] == "refused")
    stage.visit_and_register("purr.cat")
    assert stage.master.served[-1] == ["love.cat", "purr.cat"]


def test_a_project_may_describe_its_site_anew(stage: Stage) -> None:
    project = stage.visit_and_register("love.cat")
    project.register("love.cat", site="moved")
    stage.until(lambda: len(stage.master.served) == 2)
    assert stage.master.served[-1] == ["moved"]
    assert len(stage.keeper.sites.visitors) == 1


def test_changes_wait_for_the_one_that_is_on_its_way(stage: Stage) -> None:
    stage.master.is_slow = True
    first, second = stage.visit(), stage.visit()
    first.register("love.cat")
    stage.until(lambda: stage.master.going_live)
    second.register("purr.cat")
    stage.until(lambda: stage.keeper.sites.changes)
    assert stage.master.served == [["love.cat"]]
    stage.master.going_live.pop()()
    stage.until(lambda: {"is": "registered"} in first.heard)
    assert stage.master.served == [["love.cat"], ["love.cat", "purr.cat"]]
    assert {"is": "registered"} not in second.heard


def test_who_leaves_while_it_waits_is_not_served(stage: Stage) -> None:
    stage.master.is_slow = True
    first, second = stage.visit(), stage.visit()
    first.register("love.cat")
    stage.until(lambda: stage.master.going_live)
    second.register("purr.cat")
    stage.until(lambda: stage.keeper.sites.changes)
    second.link.close()
    stage.until(lambda: len(stage.keeper.sites.changes) == 2)
    stage.master.going_live.pop()()
    assert (stage.master.served, len(stage.keeper.sites.visitors)) == ([["love.cat"]], 1)


def test_a_goodbye_is_answered_once_the_site_is_gone(stage: Stage) -> None:
    first = stage.visit_and_register("love.cat")
    stage.visit_and_register("purr.cat")
    stage.master.is_slow = True
    first.link.send({"do": "goodbye"})
    stage.until(lambda: stage.master.going_live)
    assert stage.master.served[-1] == ["purr.cat"]
    assert first.heard[-1] == {"is": "registered"}
    stage.master.going_live.pop()()
    stage.until(lambda: first.is_gone)
    assert first.heard[-1] == {"is": "bye", "last": False}
    assert not stage.keeper.ending


def test_the_last_one_out_ends_nginx_and_is_told(stage: Stage) -> None:
    project = stage.visit_and_register("love.cat")
    project.link.send({"do": "goodbye"})
    stage.until(lambda: project.is_gone)
    assert project.heard[-1] == {"is": "bye", "last": True}
    assert stage.master.is_stopped
    assert [path.name for path in stage.keeper.setup.folder.iterdir()] == []


def test_the_last_one_out_ends_nginx_even_when_it_was_killed(stage: Stage) -> None:
    project = stage.visit_and_register("love.cat")
    project.link.close()
    stage.until(lambda: stage.master.is_stopped)
    assert not stage.keeper.setup.control.exists()


def test_the_last_one_out_ends_nginx_even_while_it_reloads(stage: Stage) -> None:
    stage.master.is_slow = True
    project = stage.visit()
    project.register("love.cat")
    stage.until(lambda: bool(stage.master.going_live))
    project.link.send({"do": "goodbye"})
    stage.until(lambda: stage.master.is_stopped)


def test_a_site_that_cannot_be_taken_out_holds_up_nobody(stage: Stage) -> None:
    stage.visit_and_register("love.cat")
    other = stage.visit_and_register("shop.test")
    stage.master.refused_word = "love.cat"  # as when its certificate was deleted meanwhile
    other.link.send({"do": "goodbye"})
    stage.until(lambda: other.is_gone)
    assert other.heard[-1] == {"is": "bye", "last": False}
    assert len(stage.master.served) == 2


def test_who_says_goodbye_without_a_site_gets_one_too(stage: Stage) -> None:
    stage.visit_and_register("love.cat")
    visitor = stage.visit()
    visitor.link.send({"do": "goodbye"})
    stage.until(lambda: visitor.is_gone)
    assert visitor.heard[-1] == {"is": "bye", "last": False}
    assert len(stage.master.served) == 1


def test_a_keeper_whose_only_visitor_will_not_come_in_ends(stage: Stage) -> None:
    visitor = stage.visit()
    visitor.link.send({"do": "goodbye"})
    stage.until(lambda: visitor.is_gone)
    assert visitor.heard[-1] == {"is": "bye", "last": True}
    assert stage.keeper.ending


def test_a_session_that_drops_without_a_goodbye_has_its_processes_ended(stage: Stage) -> None:
    stage.visit_and_register("love.cat")
    session = secrets.token_hex(8)
    program = [sys.executable, "-c", "print(flush=True); input()"]
    environment = {**os.environ, "DEVTLS_SESSION": session}
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as left:
        assert left.stdout
        left.stdout.readline()  # its environment is its own by now
        project = stage.visit()
        project.register("purr.cat", session=session)
        stage.until(lambda: {"is": "registered"} in project.heard)
        project.link.close()
        stage.until(lambda: left.poll() is not None)
        assert left.returncode == -15


@pytest.mark.parametrize(
    "message",
    [
        {"do": "register"},
        {"do": "register", "site": "", "facts": None},
        {"do": "register", "site": "", "facts": []},
        {"do": "dance"},
        {},
    ],
)
def test_what_is_not_understood_is_refused_and_the_connection_stays(stage: Stage, message: Message) -> None:
    project = stage.visit()
    project.link.send(message)
    stage.until(lambda: len(project.heard) == 2)
    assert (project.heard[1]["is"], project.heard[1]["why"]) == ("refused", "message")
    project.register("love.cat")
    stage.until(lambda: {"is": "registered"} in project.heard)


def test_sockets_that_nobody_asked_for_are_closed(stage: Stage) -> None:
    project = stage.visit()
    reader, writer = os.pipe()
    project.link.send({"do": "dance"}, [writer])
    os.close(writer)
    stage.until(lambda: len(project.heard) == 2)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_keeper_that_nobody_visits_ends(stage: Stage) -> None:
    stage.pass_time(LONELY)
    assert stage.keeper.ending


def test_a_keeper_that_somebody_may_yet_register_with_stays(stage: Stage) -> None:
    visitor = stage.visit()
    stage.pass_time(LONELY)
    assert not stage.keeper.ending
    visitor.link.close()
    stage.until(lambda: not stage.keeper.sites.visitors)
    stage.pass_time(LONELY)
    assert stage.keeper.ending


def test_an_nginx_that_dies_is_started_again(stage: Stage) -> None:
    stage.visit_and_register("love.cat")
    stage.master.pid = None
    stage.lose_master()
    assert len(stage.master.served) == 1
    stage.pass_time(RESTART_AFTER)
    assert stage.master.served == [["love.cat"]] * 2


def test_an_nginx_that_dies_when_nobody_is_served_stays_dead(stage: Stage) -> None:
    stage.lose_master()
    stage.pass_time(RESTART_AFTER)
    assert stage.master.served == []


def test_only_the_live_configuration_is_kept(stage: Stage) -> None:
    for name in ("love.cat", "purr.cat", "meow.cat"):
        stage.visit_and_register(name)
    folder = stage.keeper.setup.folder
    assert list((folder / "conf").iterdir()) == [(folder / "live").resolve()]
    assert (folder / "live").resolve().stat().st_mode & 0o777 == 0o700


def registration(**facts: Any) -> Message:
    known = {"directory": "/home/dev/shop", "domains": ["love.cat"], "pid": 7, "session": "abc", "leaf": LEAF}
    return {"do": "register", "site": "server {}", "facts": {**known, **facts}}


def test_a_registration_is_read() -> None:
    found = parse_registration(registration())
    assert (found.site, found.directory, found.domains) == ("server {}", "/home/dev/shop", ("love.cat",))
    assert (found.pid, found.session) == (7, "abc")
    assert (found.leaf.fullchain, found.leaf.key) == (Path("/data/fullchain.pem"), Path("/data/key.pem"))
    assert not found.is_forced


@pytest.mark.parametrize(
    "facts",
    [
        {"domains": []},
        {"domains": [7]},
        {"domains": None},
        {"pid": "7"},
        {"pid": None},
        {"session": None},
        {"directory": 7},
        {"leaf": None},
        {"leaf": "x"},
        {"leaf": {"fullchain": "x"}},
        {"leaf": {"fullchain": 1, "key": 2}},
    ],
)
def test_what_is_no_registration_is_an_error(facts: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        parse_registration(registration(**facts))


@pytest.mark.parametrize("predecessor", [None, Identity(7, 42)])
def test_a_setup_travels_as_one_document(predecessor: Identity | None) -> None:
    https = ((Endpoint("127.0.0.1", 443), 3), (Endpoint("::1", 443), 4))
    http = ((Endpoint("127.0.0.1", 80), 5),)
    folder = Path("/state/gateway")
    setup = Setup(folder, folder / "gateway.sock", Path("/templates"), NGINX, https, http, predecessor, 3)
    assert parse_setup(render_setup(setup)) == setup
    assert setup.descriptors == (3, 4, 5)
    assert setup.listen.http == (Endpoint("127.0.0.1", 80),)


def test_what_comes_at_once_is_one_reload(stage: Stage) -> None:
    projects = [stage.visit() for _ in range(5)]
    for number, project in enumerate(projects):
        project.register(f"shop{number}.cat")
    stage.until(lambda: all({"is": "registered"} in project.heard for project in projects))
    assert sum(map(len, stage.master.served)) < 5 * 6 / 2
    assert len(stage.master.served[-1]) == 5


def test_of_those_that_come_at_once_only_the_bad_one_is_refused(stage: Stage) -> None:
    stage.master.is_slow = True
    first = stage.visit()
    first.register("love.cat")
    stage.until(lambda: stage.master.going_live)
    good, bad, other = (stage.visit() for _ in range(3))
    good.register("good.cat")
    bad.register("bad.cat", site="nonsense")
    other.register("other.cat")
    stage.until(lambda: len(stage.keeper.sites.changes) == 3)
    stage.master.is_slow = False
    stage.master.going_live.pop()()
    stage.until(lambda: {"is": "registered"} in other.heard)
    assert {"is": "registered"} in good.heard
    assert bad.heard[-1]["why"] == "config"
    assert stage.master.served[-1] == ["love.cat", "good.cat", "other.cat"]


def test_who_is_forced_in_has_the_domain_once_its_owner_yields(stage: Stage) -> None:
    owner = stage.visit_and_register("love.cat", "www.love.cat")
    taker = stage.visit()
    taker.register("love.cat", site="taker", force=True)
    stage.until(lambda: owner.heard[-1]["is"] == "taken")
    assert owner.heard[-1]["domains"] == ["love.cat"]
    assert owner.heard[-1]["by"]["directory"] == "/home/dev/love.cat"
    assert {"is": "registered"} not in taker.heard
    owner.register("www.love.cat")
    stage.until(lambda: {"is": "registered"} in taker.heard)
    assert stage.master.served[-1] == ["www.love.cat", "taker"]
    assert stage.keeper.sites.insisting == {}


def test_an_owner_that_does_not_answer_is_not_served_any_more(stage: Stage) -> None:
    owner = stage.visit_and_register("love.cat")
    taker = stage.visit()
    taker.register("love.cat", site="taker", force=True)
    stage.until(lambda: owner.heard[-1]["is"] == "taken")
    stage.pass_time(YIELDING)
    stage.until(lambda: {"is": "registered"} in taker.heard)
    assert stage.master.served[-1] == ["taker"]


def test_an_owner_that_has_nothing_left_withdraws_and_may_stay(stage: Stage) -> None:
    owner = stage.visit_and_register("love.cat")
    taker = stage.visit()
    taker.register("love.cat", site="taker", force=True)
    stage.until(lambda: owner.heard[-1]["is"] == "taken")
    owner.link.send({"do": "withdraw"})
    stage.until(lambda: {"is": "registered"} in taker.heard)
    assert stage.master.served[-1] == ["taker"]
    assert not stage.keeper.ending
    assert not owner.is_gone


def test_a_wildcard_and_an_exact_name_of_two_projects_are_no_conflict(stage: Stage) -> None:
    stage.visit_and_register("love.cat", "*.love.cat")
    stage.visit_and_register("shop.love.cat")
    assert stage.master.served[-1] == ["love.cat", "shop.love.cat"]


def test_a_predecessor_frees_the_way_tells_everybody_and_serves_on(stage: Stage) -> None:
    project = stage.visit_and_register("love.cat")
    asker = stage.visit()
    asker.link.send({"do": "hand-over"})
    stage.until(lambda: {"is": "moved"} in project.heard and {"is": "moved"} in asker.heard)
    with pytest.raises(NotRunningError):
        Client.connect(stage.keeper.setup.control)
    project.link.close()
    stage.loop.turn(0)
    assert not stage.master.is_stopped
    assert not stage.master.is_retired
    stage.keeper.retire()
    assert stage.master.is_retired


def test_a_predecessor_that_its_successor_never_relieves_lets_go_by_itself(stage: Stage) -> None:
    stage.visit_and_register("love.cat").link.send({"do": "hand-over"})
    stage.until(lambda: stage.keeper.is_predecessor)
    stage.pass_time(RELIEF)
    assert stage.master.is_retired


def assert_two_are_waited_for(stage: Stage) -> None:
    """Nothing is served before the second has come."""
    first = stage.visit()
    first.register("love.cat")
    stage.until(lambda: stage.keeper.sites.changes)
    stage.loop.turn(0)
    assert stage.master.served == []
    stage.visit_and_register("purr.cat")
    assert stage.master.served == [["love.cat", "purr.cat"]]
    stage.close()


def test_a_successor_serves_once_all_have_come_over(tmp_path: Path) -> None:
    assert_two_are_waited_for(Stage(tmp_path, expected=2))


def test_a_successor_waits_five_seconds_for_those_who_do_not_come(tmp_path: Path) -> None:
    stage = Stage(tmp_path, expected=2)
    first = stage.visit()
    first.register("love.cat")
    stage.until(lambda: stage.keeper.sites.changes)
    stage.pass_time(COMING)
    stage.until(lambda: {"is": "registered"} in first.heard)
    stage.close()


def test_an_nginx_that_was_upgraded_is_not_started_with_what_the_old_one_could(stage: Stage) -> None:
    stage.visit_and_register("love.cat")
    stage.master.pid = None
    stage.keeper._master_died()  # the stamp is of no file that there is
    assert stage.keeper.ending


def test_a_log_that_has_grown_is_put_aside(stage: Stage) -> None:
    log = stage.keeper.setup.folder / "gateway.log"
    with log.open("wb") as file:
        file.truncate(LARGEST_LOG + 1)
    stage.visit_and_register("love.cat")
    assert (stage.master.logs, log.exists(), log.with_suffix(".log.1").exists()) == (2, False, True)


def test_names_that_nobody_serves_are_answered_with_those_that_are(stage: Stage) -> None:
    stage.visit_and_register("love.cat")
    stage.visit_and_register("purr.cat")
    live = stage.keeper.setup.folder / "live"
    facts = json.loads((live / "unknown.json").read_text("utf-8"))
    port = stage.endpoint.port
    assert [each["urls"] for each in facts["projects"]] == [[f"https://love.cat:{port}"], [f"https://purr.cat:{port}"]]


def test_after_a_keeper_was_killed_all_that_it_served_are_waited_for(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    me = identify(os.getpid())
    assert me
    (live / "owners.json").write_text(json.dumps([[me.pid, me.started], [me.pid, 1], [me.pid, me.started]]), "utf-8")
    stage = Stage(tmp_path)
    live.rename(tmp_path / "gone")
    assert_two_are_waited_for(stage)


def test_who_was_served_and_ends_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    program = [sys.executable, "-c", "input()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE) as ending:
        owners = [identify(os.getpid()), identify(ending.pid)]
        (live / "owners.json").write_text(json.dumps([[each.pid, each.started] for each in owners if each]), "utf-8")
        stage = Stage(tmp_path)
        first = stage.visit()
        first.register("love.cat")
        stage.until(lambda: stage.keeper.sites.changes)
    live.rename(tmp_path / "before")
    live.symlink_to(tmp_path / "before")  # a keeper swaps links
    stage.pass_time(LOOK_EVERY)
    stage.until(lambda: {"is": "registered"} in first.heard)
    stage.close()


class FakeResponder:
    """Notes what it is to answer for."""

    def __init__(self) -> None:
        self.wildcards: tuple[str, ...] = ()
        self.is_closed = False

    def serve(self, wildcards: Sequence[str]) -> None:
        self.wildcards = tuple(wildcards)

    def close(self) -> None:
        self.is_closed = True


def give_responder(stage: Stage, *routed: str) -> FakeResponder:
    """Have systemd-resolved ask for the names below these domains."""
    responder = FakeResponder()
    stage.keeper.responder = responder  # type: ignore[assignment] # it does what is asked of one
    stage.keeper.routed = routed
    return responder


def test_wildcards_are_answered_for_as_long_as_they_are_served(stage: Stage) -> None:
    responder = give_responder(stage, "love.cat")
    stage.visit_and_register("other.test", "*.other.test")
    assert not responder.wildcards  # nobody is told to ask for it
    project = stage.visit_and_register("love.cat", "*.love.cat")
    assert list(responder.wildcards) == ["*.other.test", "*.love.cat"]
    project.link.close()
    stage.until(lambda: not responder.wildcards)
    stage.keeper.end()
    assert responder.is_closed


def test_a_route_that_comes_later_is_looked_at_when_told(stage: Stage) -> None:
    responder = give_responder(stage)
    project = stage.visit_and_register("*.love.cat")
    route = NameRoute(Kept((Routed("love.cat", 1000),)))
    for found, wildcards in ((route, ("*.love.cat",)), (NameRoute(), ())):
        stage.keeper.look = lambda found=found: found  # type: ignore[misc] # as many values, so many looks
        project.heard.clear()
        project.link.send({"do": "look"})
        stage.until(lambda: {"is": "looked"} in project.heard)
        assert responder.wildcards == wildcards


def test_a_successor_finds_the_port_of_the_names_free(stage: Stage) -> None:
    responder = give_responder(stage, "love.cat")
    project = stage.visit_and_register("*.love.cat")
    project.link.send({"do": "hand-over"})
    stage.until(lambda: {"is": "moved"} in project.heard)
    assert responder.is_closed


def test_a_first_site_that_nginx_does_not_start_with_is_refused_in_its_words(stage: Stage) -> None:
    first = stage.visit()
    first.register("love.cat", site="nonsense")
    stage.until(lambda: len(first.heard) == 2)
    assert (first.heard[1]["why"], first.heard[1]["message"]) == ("config", "nginx: [emerg] unknown directive")
    assert stage.master.served == []
    stage.visit_and_register("purr.cat")
    assert stage.master.served == [["purr.cat"]]
