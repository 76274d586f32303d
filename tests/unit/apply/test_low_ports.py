from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtls.apply.low_ports import lower_ports
from devtls.system.low_ports import Kept, LowPorts
from devtls.system.root_script import Status
from devtls.system.run import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devtls.model import Notice

HIGH, LOW = LowPorts(1024), LowPorts(80, Kept(0, 1024))


class FakeRoot:
    """Says what it did, and is seen to have done it, or not."""

    def __init__(self, said: str, after: LowPorts, status: int = 0) -> None:
        self.said, self.after, self.status = f"devtls: started\n{said}\n", after, status
        self.now = HIGH
        self.asked = 0

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        del stdin, environment, timeout, check
        self.asked += 1
        self.now = self.after
        return Completed(tuple(argv), self.status, self.said.encode(), self.said)

    def lower(self) -> tuple[Notice, ...]:
        return lower_ports(is_interactive=False, asking=lambda _call: None, look=lambda: self.now, run=self, uid=0)


def test_what_root_did_is_read_back_and_not_done_twice() -> None:
    root = FakeRoot("devtls: done lower-ports", LOW)
    assert (root.lower(), root.lower(), root.asked) == ((), (), 1)


def test_a_value_that_did_not_change_is_told_whatever_root_says() -> None:
    ((fact, cure),) = FakeRoot("devtls: done lower-ports", HIGH).lower()
    assert "from 1024 up only" in fact
    assert cure[-1] == "  devtls trust --low-ports"


@pytest.mark.parametrize(
    "status", [Status.NO_PORT_SETTING, Status.PORTS_NOT_OURS, Status.PORTS_NOT_SET, Status.PORTS_NOT_KEPT]
)
def test_why_it_could_not_be_done_is_told_with_its_cure(status: Status) -> None:
    ((fact, cure),) = FakeRoot(f"devtls: failed {status} lower-ports", HIGH).lower()
    assert "exit status" not in fact
    assert cure


def test_a_call_that_ended_early_is_told() -> None:
    ((fact, _cure),) = FakeRoot("", HIGH, Status.REFUSED).lower()
    assert "refused" in fact
