"""What is green at the first pong, told before the moment of listening that follows.

A page and its WebSocket are proved for a person once the pong is there; whether the server hangs up in the next
quarter of a second is asked as well, and told if it does, but nobody should wait for it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devtls.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtls.model import Check


@dataclass(slots=True)
class Sight:
    """One domain, as far as it has been seen: its page, and each endpoint that is asked, in order."""

    page: Check | None = None
    endpoints: dict[str, Check | None] = field(default_factory=dict)
    is_complete: bool = False

    @property
    def checks(self) -> tuple[Check, ...] | None:
        """All of them, once they are there."""
        asked = (self.page, *self.endpoints.values())
        seen = tuple(check for check in asked if check)
        return seen if self.is_complete and len(seen) == len(asked) else None


class Preview:
    """Collects from several threads, and tells once, when everything is there and nothing of it is red."""

    def __init__(self, domains: int, tell: Callable[[tuple[Check, ...]], None]) -> None:
        self._sights = [Sight() for _ in range(domains)]
        self._tell: Callable[[tuple[Check, ...]], None] | None = tell
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Something is not as it should be before any page is asked: nothing is told before the end."""
        with self._lock:
            self._tell = None

    def expect(self, domain: int, urls: tuple[str, ...]) -> None:
        """These endpoints of a domain are asked, and no others."""
        with self._lock:
            self._sights[domain].endpoints = {url: self._sights[domain].endpoints.get(url) for url in urls}
            self._sights[domain].is_complete = True
        self._look()

    def page(self, domain: int, check: Check) -> None:
        """The page of a domain answered."""
        with self._lock:
            self._sights[domain].page = check
        self._look()

    def pong(self, domain: int, url: str, check: Check) -> None:
        """An endpoint of a domain sent its pong."""
        with self._lock:
            self._sights[domain].endpoints[url] = check
        self._look()

    def _look(self) -> None:
        with self._lock:
            parts = [sight.checks for sight in self._sights]
            checks = tuple(check for part in parts if part for check in part)
            is_green = None not in parts and all(check.verdict is Verdict.PASSED for check in checks)
            tell, self._tell = (self._tell, None) if is_green else (None, self._tell)
        if tell:
            tell(checks)
