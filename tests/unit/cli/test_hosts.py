from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtls.block import Edit, Entry
from devtls.cli.hosts import edit_facts, list_facts, render_edit
from devtls.report import Style
from devtls.system.files import try_lock

if TYPE_CHECKING:
    from tests.unit.cli.terminal import Terminal

FILE = "/etc/hosts"


@pytest.mark.parametrize(
    ("edit", "dry_run", "words"),
    [
        (Edit(FILE, names=("love.cat",)), False, [("already", "as it was")]),
        (Edit(FILE), True, [("already", "as it was")]),
        (Edit(FILE, added=("a.test", "b.test"), is_changed=True), False, [("now", "a.test, b.test")]),
        (Edit(FILE, added=("a.test",), is_changed=True), True, [("would", "a.test")]),
        (Edit(FILE, removed=("old.cat",), is_changed=True), False, [("gone", "old.cat")]),
        (Edit(FILE, removed=("old.cat",), is_changed=True), True, [("would", "without old.cat")]),
        (Edit(FILE, ("a.test",), ("b.test",), is_changed=True), False, [("now", "a.test"), ("gone", "b.test")]),
        (Edit(FILE, names=("a.test",), is_changed=True), False, [("now", "the block in order")]),
        (Edit(FILE, left=("it is as it was", ())), False, []),
    ],
)
def test_an_edit_is_told_in_a_word_for_what_came_and_one_for_what_went(
    edit: Edit, dry_run: bool, words: list[tuple[str, str]]
) -> None:
    lines = render_edit(edit, "as it was", Style(), dry_run=dry_run)
    assert [(line.split()[0], line.split(maxsplit=2)[2]) for line in lines] == words
    assert all(FILE in line for line in lines)


def test_the_json_of_an_edit_has_these_keys() -> None:
    edit = Edit(FILE, ("a.test",), ("b.test",), ("a.test",), is_changed=True)
    assert edit_facts(edit) == {
        "file": FILE,
        "already": False,
        "added": ["a.test"],
        "removed": ["b.test"],
        "names": ["a.test"],
        "left": [],
    }
    left = edit_facts(Edit(FILE, names=("b.test",), left=("why", ("do this",))))
    assert (left["already"], left["left"]) == (False, [{"fact": "why", "cure": ["do this"]}])


def test_the_json_of_the_list_has_these_keys() -> None:
    entries = [Entry("love.cat", True, "/shop", ("127.0.0.1",)), Entry("old.cat", True, "", ("10.0.0.1",))]
    assert list_facts(entries, ["love.cat"], [("a fact", ("a cure",))]) == {
        "schema": "devtls.hosts/1",
        "names": [
            {
                "name": "love.cat",
                "in_hosts_file": True,
                "directory": "/shop",
                "addresses": ["127.0.0.1"],
                "leads_here": True,
            },
            {
                "name": "old.cat",
                "in_hosts_file": True,
                "directory": None,
                "addresses": ["10.0.0.1"],
                "leads_here": False,
            },
        ],
        "routed": ["love.cat"],
        "notices": [{"fact": "a fact", "cure": ["a cure"]}],
    }


def test_the_group_alone_is_answered_with_its_help_and_2(terminal: Terminal) -> None:
    said = terminal.type("hosts")
    assert said.code == 2
    assert all(f"  {verb} " in said.out for verb in ("list", "sync", "clean", "route"))


@pytest.mark.parametrize("verb", ["list", "sync", "clean", "route"])
def test_each_verb_explains_itself(terminal: Terminal, verb: str) -> None:
    said = terminal.type("hosts", verb, "-h")
    assert (said.code, "--json" in said.out, "Ends with 0" in said.out) == (0, True, True)


def test_what_is_no_host_name_is_exit_2(terminal: Terminal) -> None:
    said = terminal.type("hosts", "clean", "love cat")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("devtls: 'love cat' is not a host name")


def test_a_name_that_is_not_there_is_out_already(terminal: Terminal) -> None:
    said = terminal.type("hosts", "clean", "never.was.here.test", "--json")
    assert said.code == 0
    (file,) = said.document["files"]
    assert (file["file"], file["already"], file["removed"]) == (FILE, True, [])
    assert terminal.type("hosts", "clean", "Nöwhere.test").out.endswith("  without Nöwhere.test\n")


def test_nothing_is_synced_while_an_up_is_on_its_way(terminal: Terminal) -> None:
    assert try_lock(terminal.project / "lock") is not None
    said = terminal.type("hosts", "sync")
    assert (said.code, said.out) == (4, "")
    assert said.err.splitlines()[-1] == "    devtls hosts sync"


def test_without_a_wildcard_there_is_nothing_to_route(terminal: Terminal) -> None:
    said = terminal.type("hosts", "route")
    assert (said.code, said.out) == (1, "")
    assert "no project of yours serves a wildcard" in said.err


@pytest.mark.parametrize(
    ("domain", "fact"),
    [
        ("never.was.here.cat", "may be a real site, and no project of yours has served it"),
        ("*.shop.localhost", "systemd-resolved leads shop.localhost and all below it here by itself"),
    ],
)
def test_what_is_not_yours_is_not_routed(terminal: Terminal, domain: str, fact: str) -> None:
    said = terminal.type("hosts", "route", domain)
    assert (said.code, said.out, fact in said.err) == (1, "", True)


def test_a_route_that_is_not_there_is_gone_already(terminal: Terminal) -> None:
    said = terminal.type("hosts", "route", "--remove", "love.test", "--json")
    (file,) = said.document["files"]
    assert (said.code, file["already"], file["names"]) == (0, True, [])
