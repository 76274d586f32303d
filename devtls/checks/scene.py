"""One domain of a question, the two ways to its service, and asking several things at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from devtls.checks.websocket import Handshake, probe
from devtls.checks.wire import Deadline, Plain, Secure, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from devtls.checks.observation import Observation
    from devtls.checks.preview import Preview
    from devtls.checks.question import Domain, Question

T = TypeVar("T")
MOST_AT_ONCE = 16
SECOND_LOOK = 3.0  # seconds for the questions that only explain a red answer
# Some servers never answer an upgrade that they do not know: a guess must not hold up the rest for long.
GUESS_PATIENCE = 1.0  # seconds


class Scene(Struct, frozen=True):
    """One domain of a question, and the two ways to its service; `preview` is told what is green at once."""

    question: Question
    domain: Domain
    gateway: Secure
    direct: Plain | None
    preview: Preview
    number: int = 0

    @property
    def authority(self) -> str:
        """What a browser writes into `Host`."""
        return self.question.authority(self.domain)

    @property
    def origin(self) -> str:
        """What a browser writes into `Origin`, and the page's address."""
        return f"https://{self.authority}"

    def deadline(self, seconds: float | None = None) -> Deadline:
        """A deadline from now on: so many seconds, and never more than was asked for."""
        return Deadline(min(seconds or self.question.timeout, self.question.timeout))


def probe_all(scene: Scene, way: Way, handshakes: Iterable[Handshake], *, guess: bool = False) -> list[Observation]:
    """Try all handshakes at the same time; a guess ends with the first pong, and patience is short."""

    def asking(handshake: Handshake) -> Callable[[], Observation]:
        if guess:
            return lambda: probe(way, handshake, scene.deadline(GUESS_PATIENCE), 0.0)
        return lambda: probe(way, handshake, scene.deadline(SECOND_LOOK))

    return together([asking(handshake) for handshake in handshakes])


def together(calls: list[Callable[[], T]]) -> list[T]:
    """Call all at the same time; the results are in their order."""
    if len(calls) < 2:  # noqa: PLR2004 - one alone needs no thread
        return [call() for call in calls]
    with ThreadPoolExecutor(min(len(calls), MOST_AT_ONCE)) as pool:
        return list(pool.map(lambda call: call(), calls))
