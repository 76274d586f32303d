"""What a session says: lines of devtls itself, in order with the lines of the services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.supervise.output import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from devtls.report import Style
    from devtls.session.setup import Setup

COLOURS = (36, 35, 34, 33, 32)  # SGR colours of the services' prefixes, in turn
QUIET = 90  # of devtls' own


class Voice:
    """The screen of a session."""

    def __init__(self, setup: Setup) -> None:
        self.style: Style = setup.style
        names = [service.name for service in setup.project.services]
        self._colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
        width = max(map(len, ["devtls", *names]))
        self.screen = Screen(setup.screen, width=width, colours=self._colour_of)
        self.heard: Callable[[str, bytes], None] = lambda _name, _lines: None

    def pass_on(self, name: str, lines: bytes) -> None:
        """Whole lines that a service printed, for the screen and for whoever follows."""
        self.screen.write(name, lines)
        self.heard(name, lines)

    def tell(self, text: str) -> None:
        """One line of devtls itself, among the services' lines."""
        self.screen.write("devtls", self._encode(text))

    def say(self, lines: Iterable[str]) -> None:
        """Lines without a prefix."""
        for line in lines:
            self.screen.write("", self._encode(line))

    def _encode(self, line: str) -> bytes:
        return self.style.spell(line).encode() + b"\n"

    def _colour_of(self, name: str) -> bytes:
        return b"\x1b[%dm" % self._colours.get(name, QUIET) if self.style.colours else b""
