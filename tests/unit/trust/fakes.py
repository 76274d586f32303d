"""A runner that answers from a table, and a root that a test can put anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devtls.ca import store as ca
from devtls.errors import DevtlsError
from devtls.system.paths import Paths
from devtls.system.run import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from devtls.model import Authority

OWNER = ca.describe_owner()


def make_authority(place: Path) -> Authority:
    return ca.create_authority(Paths(place, place / "d", place / "s"), ("love.cat",), datetime.now(UTC))


class FakeTools:
    """Asks `answer` what a program says, and keeps what was asked; an answer that is an error is a missing program."""

    def __init__(self, answer: Callable[[tuple[str, ...]], tuple[int, str] | None] = lambda _argv: (0, "")) -> None:
        self.answer = answer
        self.asked: list[tuple[str, ...]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        assert timeout
        assert stdin == b""
        assert not environment or "JAVA_TOOL_OPTIONS" not in environment
        self.asked.append(tuple(argv))
        answered = self.answer(tuple(argv))
        if answered is None or (check and answered[0] != 0):
            raise DevtlsError(f"there is no program {argv[0]}")
        status, said = answered
        return Completed(tuple(argv), status, said.encode(), said)
