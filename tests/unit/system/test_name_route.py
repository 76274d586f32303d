from __future__ import annotations

import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from devtls.system.name_route import (
    FILE,
    Kept,
    NameRoute,
    Routed,
    asks_resolved,
    is_listening,
    leads,
    look_at_route,
    parse_file,
    render_file,
)
from devtls.system.root_script import render_script

if TYPE_CHECKING:
    from pathlib import Path

KEPT = Kept((Routed("love.cat", 1000),))


def test_a_file_is_read_to_the_byte() -> None:
    several = Kept((Routed("love.cat", 1000), Routed("love.cat", 1001), Routed("other.test", 1000)), made_folder=True)
    assert parse_file(render_file(KEPT)) == KEPT
    assert parse_file(render_file(several)) == several
    assert render_file(several).endswith("\n[Resolve]\nDNS=127.0.0.1:15353\nDomains=~love.cat ~other.test\n")
    assert parse_file(render_file(KEPT).replace("15353", "53")) is None
    assert parse_file(render_file(KEPT).replace("~love.cat", "~.")) is None
    assert parse_file("") is None


def test_each_user_has_their_own() -> None:
    route = NameRoute(Kept((Routed("love.cat", 1000), Routed("love.cat", 1001), Routed("other.test", 1000))))
    assert route.domains == ("love.cat", "other.test")
    assert (route.domains_of(1000), route.domains_of(1001)) == (("love.cat", "other.test"), ("love.cat",))
    assert (NameRoute().domains, NameRoute().domains_of(1000)) == ((), ())


def test_a_file_of_somebody_else_and_a_link_are_not_ours(tmp_path: Path) -> None:
    file = tmp_path / FILE.name
    assert look_at_route(file) == NameRoute()
    file.write_text(render_file(KEPT))
    assert look_at_route(file) == NameRoute(KEPT)
    (tmp_path / "link").symlink_to(file)
    assert look_at_route(tmp_path / "link") == NameRoute(is_changed=True)
    file.write_text(f"{render_file(KEPT)}DNSSEC=no\n")
    assert look_at_route(file) == NameRoute(is_changed=True)


@pytest.mark.parametrize(
    ("wildcard", "is_led"),
    [("*.love.cat", True), ("*.api.love.cat", True), ("*.glove.cat", False), ("*.cat", False)],
)
def test_a_route_leads_its_domain_and_those_below(wildcard: str, *, is_led: bool) -> None:
    assert leads(("love.cat", "other.test"), wildcard) is is_led


@pytest.mark.parametrize(
    ("resolv", "nsswitch", "is_asked"),
    [
        ("nameserver 127.0.0.53\noptions edns0", "hosts: files dns", True),
        ("nameserver 192.168.0.1\n", "hosts: files dns", False),
        ("# nameserver 127.0.0.53\nnameserver 9.9.9.9\n", "# hosts: resolve\nhosts: files dns", False),
        ("nameserver 9.9.9.9\n", "hosts: mymachines resolve [!UNAVAIL=return] files dns", True),
        ("", "", False),
    ],
)
def test_programs_ask_systemd_resolved_in_two_ways(resolv: str, nsswitch: str, *, is_asked: bool) -> None:
    assert asks_resolved(resolv, nsswitch) is is_asked


def test_a_socket_that_was_left_behind_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert not is_listening(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        assert is_listening(path)
    assert not is_listening(path)


# Answers as systemctl does for one service: `active` is there while it runs, `refusing` while it takes nothing in.
SYSTEMCTL = """#!/bin/sh
echo "$*" >> {folder}/told
case $1 in is-active) [ -f {folder}/active ] ;; *) [ ! -f {folder}/refusing ] ;; esac
"""


class Stage:
    """The settings somewhere else, and a systemctl that notes what it is told by root's own script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "systemd"
        self.file = self.settings / "resolved.conf.d" / FILE.name
        self.settings.mkdir()
        (folder / "bin").mkdir()
        (folder / "run").mkdir()
        (folder / "active").touch()
        program = folder / "bin" / "systemctl"
        program.write_text(SYSTEMCTL.format(folder=folder))
        program.chmod(0o755)

    def run(self, *words: str) -> str:
        """What root says of it."""
        script = render_script({"route"}).replace(str(FILE), str(self.file)).replace("/run", str(self.folder / "run"))
        script = script.replace("PATH=/usr/sbin", f"PATH={self.folder}/bin:/usr/sbin")
        argv = ["/bin/sh", "-c", script, "devtls", "route", *words]
        ended = subprocess.run(argv, capture_output=True, text=True, check=False, env={}, input="")
        return ended.stdout.removeprefix("devtls: started\n").strip() or str(ended.returncode)

    def route(self, uid: int, *domains: str) -> str:
        return self.run(str(uid), str(len(domains)), *domains)

    def look(self) -> NameRoute:
        """What devtls sees of it."""
        return look_at_route(self.file)

    @property
    def reloads(self) -> int:
        told = self.folder / "told"
        return told.read_text().count("reload-or-restart systemd-resolved\n") if told.exists() else 0


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_what_root_writes_is_what_is_read(stage: Stage) -> None:
    assert stage.route(1000, "love.cat") == "devtls: done route"
    kept = Kept((Routed("love.cat", 1000),), made_folder=True)
    assert (stage.file.read_text(), stage.look()) == (render_file(kept), NameRoute(kept))
    assert stage.file.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in stage.file.parent.iterdir()] == [FILE.name]
    assert stage.reloads == 1


def test_several_domains_of_several_users_are_kept_and_each_takes_back_their_own(stage: Stage) -> None:
    stage.route(1000, "other.test", "love.cat")
    stage.route(1001, "love.cat", "a-b.test")
    stage.route(10, "a.test")
    kept = stage.look().kept
    assert kept is not None
    assert stage.file.read_text() == render_file(kept)
    assert stage.look().domains == ("a-b.test", "a.test", "love.cat", "other.test")
    stage.route(1000, "other.test")
    assert stage.look().domains_of(1001) == ("a-b.test", "love.cat")
    stage.route(1001)
    stage.route(10)
    assert stage.look().domains == ("other.test",)
    assert stage.route(1000) == "devtls: done route"
    assert list(stage.settings.iterdir()) == []


def test_asking_twice_changes_nothing(stage: Stage) -> None:
    stage.route(1000, "love.cat")
    before = stage.file.stat()
    assert stage.route(1000, "love.cat") == "devtls: done route"
    assert (stage.file.stat().st_ino, stage.reloads) == (before.st_ino, 1)
    stage.route(1000)
    assert (stage.route(1000), stage.reloads) == ("devtls: done route", 2)


def test_a_folder_that_was_there_stays(stage: Stage) -> None:
    stage.file.parent.mkdir()
    stage.route(1000, "love.cat")
    stage.route(1000)
    assert list(stage.settings.iterdir()) == [stage.file.parent]


@pytest.mark.parametrize("text", ["", "[Resolve]\nDNS=9.9.9.9\n", f"{render_file(KEPT)}DNSSEC=no\n"])
def test_a_file_that_is_not_as_devtls_wrote_it_is_never_touched(stage: Stage, text: str) -> None:
    stage.file.parent.mkdir()
    stage.file.write_text(text)
    assert stage.route(1000, "love.cat") == stage.route(1000) == "devtls: failed 71 route"
    assert (stage.file.read_text(), stage.reloads) == (text, 0)


def test_a_link_is_not_followed(stage: Stage, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(render_file(KEPT))
    stage.file.parent.mkdir()
    stage.file.symlink_to(elsewhere)
    assert stage.route(1000) == "devtls: failed 71 route"
    stage.file.unlink()
    stage.file.symlink_to(tmp_path / "nowhere")
    assert stage.route(1000, "love.cat") == "devtls: failed 71 route"
    assert not (tmp_path / "nowhere").exists()


def test_without_systemd_resolved_nothing_is_routed_and_everything_can_be_taken_back(stage: Stage) -> None:
    stage.route(1000, "love.cat")
    (stage.folder / "active").unlink()
    assert stage.route(1001, "love.cat") == "devtls: failed 70 route"
    assert stage.route(1000) == "devtls: done route"
    assert list(stage.settings.iterdir()) == []


def test_settings_that_are_not_taken_in_are_as_they_were(stage: Stage) -> None:
    (stage.folder / "refusing").touch()
    assert stage.route(1000, "love.cat") == "devtls: failed 73 route"
    assert list(stage.settings.iterdir()) == []
    (stage.folder / "refusing").unlink()
    stage.route(1000, "love.cat")
    before = stage.file.read_text()
    (stage.folder / "refusing").touch()
    assert stage.route(1000, "other.test") == stage.route(1000) == "devtls: failed 73 route"
    assert stage.file.read_text() == before


@pytest.mark.parametrize(
    "words",
    [
        ("1000", "1", "."),
        ("1000", "1", "~."),
        ("1000", "1", ""),
        ("1000", "1"),
        ("1000", "1", "cat"),
        ("1000", "1", "love.cat "),
        ("1000", "1", "love..cat"),
        ("1000", "1", "*.love.cat"),
        ("1000", "1", "Love.cat"),
        ("1000", "1", "love.cat\nDNS=9.9.9.9"),
        ("1000", "1", f"{'a.' * 126}test"),
        ("1000", "2", "love.cat"),
        ("1000", "1", "love.cat", "other.test"),
        ("1000", "-1"),
        ("1000", "x", "love.cat"),
        ("dev", "1", "love.cat"),
    ],
)
def test_root_takes_plain_domains_only(stage: Stage, words: tuple[str, ...]) -> None:
    assert stage.run(*words) == "41"
    assert list(stage.settings.iterdir()) == []


def test_a_route_is_not_asked_for_in_the_name_of_another_user(stage: Stage) -> None:
    script = render_script({"route"}).replace("/run", str(stage.folder / "run"))
    argv = ["/bin/sh", "-c", script, "devtls", "route", "1001", "1", "love.cat"]
    ended = subprocess.run(argv, capture_output=True, check=False, env={"SUDO_UID": "1000"}, input=b"")
    assert ended.returncode == 41


def test_two_edits_at_once_are_one_after_the_other(stage: Stage) -> None:
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda uid: stage.route(uid, f"n{uid}.test"), range(1000, 1008)))
    assert set(said) == {"devtls: done route"}
    assert stage.look().domains == tuple(f"n{uid}.test" for uid in range(1000, 1008))
