from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.system.door import MOST_CALLS, ask_root, done_line
from devtls.system.root import (
    Bind,
    EditHosts,
    InstallRoot,
    LowerPorts,
    Operation,
    RemoveRoot,
    RestorePorts,
    RootCall,
    RootDone,
    RootFailed,
    RouteNames,
)
from devtls.system.root_script import Status
from devtls.system.run import Completed
from devtls.trust.debian import DEBIAN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OLD, NEW = b"127.0.0.1 localhost\n", b"127.0.0.1 localhost\n127.0.0.1 love.cat # devtls\n"


class FakeRoot:
    """Ends each call with the next of these statuses, and remembers what it was given."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.stdin: list[bytes] = []

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
        self.stdin.append(stdin)
        return Completed(tuple(argv), self.statuses.pop(0), b"devtls: started\ndevtls: done hosts\n", "")


def test_nothing_to_do_asks_nobody() -> None:
    told: list[RootCall] = []
    assert ask_root(list, is_interactive=False, asking=told.append, run=FakeRoot(), uid=0) == RootDone((), (), "")
    assert told == []


def test_what_is_asked_is_worked_out_again_when_the_hosts_file_changed_meanwhile() -> None:
    looks = [EditHosts(OLD, NEW), EditHosts(b"# somebody was here\n" + OLD, b"# somebody was here\n" + NEW)]
    fake, told = FakeRoot(Status.CHANGED_MEANWHILE, 0), list[RootCall]()
    result = ask_root(lambda: [looks.pop(0)], is_interactive=False, asking=told.append, run=fake, uid=0)
    assert isinstance(result, RootDone)
    assert (result.done, len(told)) == (("hosts",), 2)
    assert fake.stdin == [NEW, b"# somebody was here\n" + NEW]


def test_a_file_that_never_comes_to_rest_is_given_up() -> None:
    fake = FakeRoot(*[Status.CHANGED_MEANWHILE] * MOST_CALLS)
    result = ask_root(lambda: [EditHosts(OLD, NEW)], is_interactive=False, asking=lambda _call: None, run=fake, uid=0)
    assert isinstance(result, RootFailed)
    assert "being changed all the time" in result.fact
    assert fake.statuses == []


def test_what_root_says_of_each_operation_is_known(tmp_path: Path) -> None:
    operations: list[Operation] = [
        EditHosts(OLD, NEW),
        InstallRoot("devtls-1a2b3c4d", b"", DEBIAN.anchors),
        RemoveRoot("devtls-1a2b3c4d", DEBIAN.anchors),
        LowerPorts(),
        RestorePorts(1024),
        RouteNames(("love.cat",)),
        Bind((), tmp_path),
    ]
    assert [done_line(each) for each in operations] == [
        "hosts",
        "install devtls-1a2b3c4d",
        "remove devtls-1a2b3c4d",
        "lower-ports",
        "restore-ports",
        "route",
        "bind",
    ]
