from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from devtls import block, hosts
from devtls.block import Edit, Entry
from devtls.checks.resolution import Resolver
from devtls.model import Verdict
from devtls.nginx.gateway import control_socket
from devtls.nginx.protocol import PROTOCOL
from devtls.system.channel import listen, send_with_descriptors
from devtls.system.files import make_private_directory
from devtls.system.paths import Paths
from devtls.system.root_script import Status
from devtls.system.run import Completed
from devtls.system.windows import HOSTS as WINDOWS_HOSTS
from devtls.system.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

OWN = b"127.0.0.1 localhost\n10.1.2.3 db.internal\n"
SHOP = {"shop.test": "/home/dev/shop", "shop.test.localhost": "/home/dev/shop"}
LOVE = {"love.cat": "/home/dev/love", "love.cat.localhost": "/home/dev/love"}


def file_with(*names: str, ipv6: bool = True) -> bytes:
    return hosts.render(OWN, names, ipv6=ipv6)


def here(_name: str) -> tuple[str, ...]:
    return ("::1", "127.0.0.1")


# What the block should hold


def test_sync_holds_what_running_projects_need_and_nothing_else() -> None:
    synced = block.synced(file_with("old.cat", *SHOP), {**SHOP, **LOVE}, ipv6=True)
    assert hosts.names_in_block(synced) == (*SHOP, *LOVE)
    assert hosts.remove(synced) == OWN


def test_a_wildcard_serves_the_names_below_it_and_is_no_line() -> None:
    served = {"*.love.cat": "/home/dev/love", "*.love.cat.localhost": "/home/dev/love"}
    data = file_with("api.love.cat", "a.b.love.cat", "love.cat")
    assert hosts.names_in_block(block.synced(data, served, ipv6=True)) == ("api.love.cat", "a.b.love.cat")
    assert [each.name for each in block.find_entries(data, served, here)] == [
        "api.love.cat",
        "a.b.love.cat",
        "love.cat",
    ]
    assert block.folder_of("cat", served) == ""


def test_sync_without_a_project_leaves_no_block() -> None:
    assert block.synced(file_with("old.cat"), {}, ipv6=True) == OWN


def test_a_second_sync_changes_no_byte() -> None:
    once = block.synced(file_with("old.cat", *LOVE), {**SHOP, **LOVE}, ipv6=True)
    assert block.synced(once, {**SHOP, **LOVE}, ipv6=True) == once


def test_sync_says_both_addresses_where_both_are_served() -> None:
    assert block.synced(file_with(*SHOP, ipv6=False), SHOP, ipv6=True) == file_with(*SHOP, ipv6=True)


def test_sync_adds_nothing_for_a_name_that_a_line_of_the_users_own_leads_here() -> None:
    own = OWN + b"127.0.0.1 love.cat love.cat.localhost\n"
    assert block.synced(own, LOVE, ipv6=True) == own


def test_names_that_may_be_anothers_users_stay_where_that_user_runs_devtls() -> None:
    synced = block.synced(file_with("theirs.cat"), SHOP, ipv6=True, keeps_unserved=True)
    assert hosts.names_in_block(synced) == ("theirs.cat", *SHOP)


def test_clean_takes_out_these_names_or_the_block() -> None:
    data = file_with(*SHOP, *LOVE)
    assert hosts.names_in_block(block.cleaned(data, tuple(LOVE))) == tuple(SHOP)
    assert block.cleaned(data, ()) == OWN


def test_a_domain_goes_with_the_localhost_name_that_came_with_it() -> None:
    assert block.with_localhost(["love.cat"]) == ("love.cat", "love.cat.localhost")
    assert block.with_localhost(["a.localhost"]) == ("a.localhost",)
    assert block.clean_cure(["love.cat", "love.cat.localhost", "a.localhost"])[1] == (
        "  devtls hosts clean love.cat a.localhost"
    )


# What is told


def test_names_of_the_block_and_of_running_projects_are_found_each_once() -> None:
    entries = block.find_entries(file_with("old.cat", "shop.test"), SHOP, here)
    assert [(each.name, each.is_ours, each.directory) for each in entries] == [
        ("old.cat", True, ""),
        ("shop.test", True, "/home/dev/shop"),
        ("shop.test.localhost", False, "/home/dev/shop"),
    ]


@pytest.mark.parametrize(
    ("is_ours", "directory", "addresses", "verdict", "fact"),
    [
        (True, "/shop", ("::1", "127.0.0.1"), Verdict.PASSED, "served by /shop · leads to ::1 and 127.0.0.1"),
        (True, "", ("127.0.0.1",), Verdict.NOTED, "no project of yours serves it · leads to 127.0.0.1"),
        (True, "/shop", ("10.0.0.1",), Verdict.FAILED, "leads to 10.0.0.1"),
        (True, "/shop", (), Verdict.FAILED, "does not lead anywhere"),
        (True, "", ("10.0.0.1",), Verdict.FAILED, "no project of yours serves it"),
        (False, "/shop", (), Verdict.NOTED, "served by /shop · not in /etc/hosts"),
        (False, "/shop", ("127.0.0.1",), Verdict.PASSED, "leads to 127.0.0.1"),
    ],
)
def test_a_name_is_judged_by_who_serves_it_and_where_it_leads(
    is_ours: bool, directory: str, addresses: tuple[str, ...], verdict: Verdict, fact: str
) -> None:
    check = block.judge(Entry("love.cat", is_ours, directory, addresses), Resolver("127.0.0.1 love.cat # devtls\n"))
    assert (check.verdict, fact in check.fact) == (verdict, True), check.fact


def test_what_is_missing_or_elsewhere_says_what_to_do() -> None:
    missing = block.judge(Entry("love.cat", False, "/shop", ()), Resolver(""))
    assert missing.cure[-1] == "  devtls hosts sync"
    elsewhere = block.judge(Entry("love.cat", True, "/shop", ("10.9.9.9",)), Resolver("10.9.9.9 love.cat\n"))
    assert "10.9.9.9 love.cat" in " ".join((elsewhere.fact, *elsewhere.cure, *elsewhere.evidence))


def test_of_a_list_only_names_that_may_be_real_ones_are_told_aloud() -> None:
    entries = [Entry("old.test", True, "", ()), Entry("love.cat", True, "/shop", ())]
    assert block.unserved_notice(entries) is None
    told = block.unserved_notice([*entries, Entry("old.cat", True, "", ())])
    assert told is not None
    assert (told[0].endswith(": old.cat"), told[1][-1]) == (True, "  devtls hosts clean old.test old.cat")


def test_an_unserved_name_that_may_be_a_real_one_is_told_with_its_cure_in_one_check() -> None:
    check = block.judge_block(["love.cat", "love.cat.localhost", "shop.test"], SHOP)
    assert check.verdict is Verdict.NOTED
    assert check.fact.endswith("no project of yours serves love.cat, love.cat.localhost")
    assert check.cure[-1] == "  devtls hosts clean love.cat"


@pytest.mark.parametrize("names", [["old.test", "love.cat.localhost"], ["love.cat"]])
def test_names_that_are_nobodys_or_served_are_fine(names: list[str]) -> None:
    assert block.judge_block(names, {"love.cat": "/home/dev/love"}).verdict is Verdict.PASSED


# Who serves


@contextlib.contextmanager
def keeper(paths: Paths) -> Iterator[None]:
    """Says its hello to each who comes, and closes its end."""
    make_private_directory(paths.gateway)
    server = listen(control_socket(paths))
    server.setblocking(True)
    hello = {
        "hello": "devtls-gateway",
        "protocol": PROTOCOL,
        "version": "0.1.0",
        "pid": 42,
        "nginx": {"path": "/usr/sbin/nginx", "version": [1, 22, 1], "features": []},
        "https": [["127.0.0.1", 443]],
        "http": [],
        "sites": [{"directory": "/home/dev/shop", "domains": list(SHOP), "pid": 7}],
    }

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, socket.socket() as sent:
                    send_with_descriptors(connection, hello, [sent.fileno()])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.close()


def test_the_gateway_tells_who_serves_each_name(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path / "data", tmp_path / "state")
    assert block.served_names(paths) == {}
    with keeper(paths):
        assert block.served_names(paths) == SHOP


# The edits


class Machine:
    """A hosts file, and a root that edits it as it is told, or ends with a status, or is not to be had."""

    def __init__(self, data: bytes, *statuses: int) -> None:
        self.data = data
        self.statuses = list(statuses)
        self.asked = 0

    def read(self) -> bytes:
        return self.data

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        del environment, timeout, check
        self.asked += 1
        status = self.statuses.pop(0) if self.statuses else 0
        if status == Status.CHANGED_MEANWHILE:
            self.data = b"# somebody was here\n" + self.data
        elif status == 0:
            self.data = stdin
        said = "devtls: started\n" + ("devtls: done hosts\n" if status == 0 else "")
        return Completed(tuple(argv), status, said.encode(), said)

    def edit(self, change: block.Change, *, uid: int = 0) -> Edit:
        return block.edit_here(
            change, is_interactive=False, asking=lambda _call: None, read=self.read, run=self, uid=uid
        )


def test_an_edit_tells_what_came_and_went() -> None:
    machine = Machine(file_with("old.cat", *SHOP))
    edit = machine.edit(lambda data: block.synced(data, {**SHOP, **LOVE}, ipv6=True))
    assert edit == Edit("/etc/hosts", tuple(LOVE), ("old.cat",), (*SHOP, *LOVE), is_changed=True)
    assert hosts.remove(machine.data) == OWN


def test_an_edit_that_is_made_already_asks_nobody() -> None:
    machine = Machine(file_with(*SHOP))
    edit = machine.edit(lambda data: block.synced(data, SHOP, ipv6=True))
    assert (edit, machine.asked) == (Edit("/etc/hosts", names=tuple(SHOP)), 0)


def test_an_edit_is_worked_out_again_when_the_file_changed_meanwhile() -> None:
    machine = Machine(file_with("old.cat"), Status.CHANGED_MEANWHILE)
    edit = machine.edit(lambda data: block.cleaned(data, ()))
    assert (edit.removed, edit.left, machine.asked) == (("old.cat",), None, 2)
    assert machine.data == b"# somebody was here\n" + OWN


def test_what_root_cannot_do_is_told_and_nothing_came_or_went() -> None:
    machine = Machine(file_with("old.cat"), Status.LINK)
    edit = machine.edit(lambda data: block.cleaned(data, ()))
    assert edit.left is not None
    assert "is a link" in edit.left[0]
    assert (edit.removed, edit.names, edit.is_changed) == ((), ("old.cat",), False)


def test_without_a_root_the_edit_is_told_for_somebody_who_is() -> None:
    machine = Machine(file_with("old.cat"), 1, 1)
    edit = block.edit_here(
        lambda data: block.cleaned(data, ()),
        is_interactive=False,
        asking=lambda _call: None,
        read=machine.read,
        run=lambda argv, **_words: Completed(tuple(argv), 1, b"", "a password is required"),
        uid=1000,
    )
    assert edit.left is not None
    fact, cure = edit.left
    assert fact.startswith("/etc/hosts is as it was: ")
    assert "  - 127.0.0.1 old.cat # devtls" in cure


# The second file


@pytest.fixture
def windows(tmp_path: Path) -> Windows:
    (tmp_path / "hosts").write_bytes(b"# Microsoft\r\n")
    return Windows(tmp_path / "powershell.exe", tmp_path / "hosts")


def test_the_file_of_windows_is_edited_in_its_own_way(windows: Windows) -> None:
    edit = block.edit_windows(
        lambda data: block.synced(data, LOVE, ipv6=False),
        windows,
        is_interactive=False,
        asking=lambda _call: None,
        run=lambda argv, **_words: Completed(tuple(argv), 0, b"", ""),
    )
    assert (edit.file, edit.names, edit.is_changed) == (WINDOWS_HOSTS, (), False)
    assert edit.left is not None
    assert "  + 127.0.0.1 love.cat # devtls" in edit.left[1]


def test_a_windows_without_a_hosts_file_has_an_empty_one(windows: Windows) -> None:
    windows.hosts.unlink()
    edit = block.edit_windows(hosts.remove, windows, is_interactive=True, asking=lambda _call: None)
    assert edit == Edit(WINDOWS_HOSTS)


def test_a_file_of_windows_that_cannot_be_read_is_told(windows: Windows) -> None:
    windows.hosts.unlink()
    windows.hosts.mkdir()
    edit = block.edit_windows(hosts.remove, windows, is_interactive=True, asking=lambda _call: None)
    assert edit.left is not None
    assert "cannot be read" in edit.left[0]


def test_people_in_wsl_are_told_which_names_their_browsers_do_not_find(windows: Windows) -> None:
    told = block.windows_hosts_notice(LOVE, windows)
    assert told is not None
    assert told[0] == "browsers of Windows do not find love.cat"
    assert told[1][-1] == "  devtls hosts sync"
    windows.hosts.write_bytes(hosts.render(b"", ["love.cat"], ipv6=False))
    assert block.windows_hosts_notice(LOVE, windows) is None


def test_nobody_else_is_told_of_windows(windows: Windows) -> None:
    assert block.windows_hosts_notice(LOVE, None) is None
    assert block.windows_hosts_notice(["a.localhost", "love.cat.localhost", "*.love.cat"], windows) is None
