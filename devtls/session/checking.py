"""When a session asks whether it works for a browser, and what it makes of the answers.

At start, at a restart, when a real handshake fails, and while something is red; never periodically: each question
opens a WebSocket, which in a chat is a guest.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from devtls.checks import Domain, Question
from devtls.checks.prober import Prober
from devtls.model import Verdict
from devtls.system.name_route import leads, look_at_route

if TYPE_CHECKING:
    from devtls.model import Check
    from devtls.nginx.access import SeenHandshake
    from devtls.session.certificates import Certificates
    from devtls.session.services import Services
    from devtls.session.setup import Setup
    from devtls.session.voice import Voice
    from devtls.system.loop import Loop, Timer

OWN_AGENT = "devtls-check"  # in the User-Agent of our own probes
WARM_UP = 3.0  # s after which a red answer is told; before that the app may be warming up, and is asked again
ASK_AGAIN = 0.25  # s between those questions
RECHECK = (5.0, 10.0, 20.0, 40.0, 60.0)  # s; a red check is asked again ever more seldom, a green one never
KEPT_PATHS = 8  # WebSocket paths remembered from real traffic


class Owner(Protocol):
    """Who is told what the checks say."""

    def can_be_asked(self) -> bool:
        """Whether all is there that a question is about: the site, and each service."""
        ...

    def names(self) -> tuple[str, ...]:
        """The hosts to ask for, one a domain."""
        ...

    def is_starting(self) -> bool:
        """Whether the outcome of `up` is still open."""
        ...

    def concluded(self, *, is_red: bool, is_news: bool) -> None:
        """The checks are in; `is_news` when a verdict changed."""
        ...


class Checking:
    """The checks of a session, and when they are asked."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a session that meet here
        self, loop: Loop, setup: Setup, services: Services, certificates: Certificates, voice: Voice, owner: Owner
    ) -> None:
        self._loop = loop
        self._setup = setup
        self._services = services
        self._certificates = certificates
        self._voice = voice
        self._owner = owner
        self._prober = Prober(loop, setup.environment)
        self._is_due = False
        self._is_stopped = False
        self._rechecks = 0
        self._recheck: Timer | None = None
        self._since = time.monotonic()
        self._seen_paths: list[str] = []
        self.checks: tuple[Check, ...] = ()

    def warm(self) -> None:
        """Have the prober ready by the time the app is."""
        self._prober.warm()

    def begin(self) -> None:
        """The app starts anew: give it time to warm up before a red answer is told."""
        self._since = time.monotonic()

    def soon(self) -> None:
        """Ask in the next turn of the loop, once there is something to ask about."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._ask)

    def stop(self) -> None:
        """Ask no more."""
        self._is_stopped = True
        self._prober.cool()

    def handshake_seen(self, seen: SeenHandshake) -> None:
        """A real browser's handshake: a failing one is explained the moment it happens, a new path is remembered."""
        if OWN_AGENT in seen.agent or self._owner.is_starting() or self._is_stopped:
            return
        is_new = seen.path not in self._seen_paths
        self._seen_paths = list(dict.fromkeys([seen.path, *self._seen_paths]))[:KEPT_PATHS]
        is_known = any(check.subject.endswith(seen.path) for check in self.checks)
        if seen.status != "101":
            if is_new or not any(check.verdict is Verdict.FAILED for check in self.checks):
                self._voice.tell(f"a WebSocket handshake on {seen.path} was answered {seen.status}")
            self.soon()
        elif is_new and not is_known:
            self.soon()

    def _ask(self) -> None:
        self._is_due = False
        if self._is_stopped or not self._owner.can_be_asked():
            return
        if self._prober.is_busy:
            self._loop.call_later(ASK_AGAIN, self.soon)
        else:
            self._prober.ask(self._question(), self._answered, self._previewed)

    def _question(self) -> Question:
        setup = self._setup
        serials = {leaf.host: leaf.serial for leaf in self._certificates.leaves}
        roots = {name: self._certificates.root_of(name).root for name in self._owner.names() if "*" not in name}
        path = setup.project.websocket_path
        routed = look_at_route().domains
        return Question(
            domains=tuple(Domain(name, root, serials[name]) for name, root in roots.items()),
            port=setup.https_port,
            service=self._services.target_of(path or "/"),
            websocket_path=path,
            seen_paths=tuple(self._seen_paths),
            is_searched=self._services.answers_at("/"),
            site=setup.folder / "site.conf",
            wildcards=tuple(name for name in setup.project.domains if "*" in name and leads(routed, name)),
        )

    def _previewed(self, checks: tuple[Check, ...]) -> None:
        """All is green at the first pong: that is ready, and what comes after it is told if it is red."""
        if self._owner.is_starting() and not self._is_stopped:
            self._conclude(checks, is_red=False)

    def _answered(self, checks: tuple[Check, ...]) -> None:
        if self._is_stopped or not self._owner.can_be_asked():
            return  # a service went down meanwhile, which was told; it is asked again when it is back
        is_red = any(check.verdict is Verdict.FAILED for check in checks)
        if is_red and self._owner.is_starting() and time.monotonic() - self._since < WARM_UP:
            self._loop.call_later(ASK_AGAIN, self.soon)
            return
        self._conclude(checks, is_red=is_red)
        if is_red:
            if self._recheck:
                self._recheck.cancel()
            self._recheck = self._loop.call_later(RECHECK[min(self._rechecks, len(RECHECK) - 1)], self.soon)
            self._rechecks += 1
        else:
            self._rechecks = 0
            self._prober.cool()

    def _conclude(self, checks: tuple[Check, ...], *, is_red: bool) -> None:
        before = {(check.subject, check.verdict) for check in self.checks}
        self.checks = checks
        self._owner.concluded(is_red=is_red, is_news={(check.subject, check.verdict) for check in checks} != before)
