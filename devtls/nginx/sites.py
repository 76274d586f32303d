"""Who is served what: the registrations of the projects, and their changes, all that have come meanwhile at once."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.nginx.owners import count_orphans
from devtls.nginx.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from devtls.nginx.master import Master
    from devtls.nginx.protocol import Registration, Setup
    from devtls.system.channel import Link, Message
    from devtls.system.loop import Loop

LOOK_EVERY = 0.05  # s between looks who of a killed keeper's projects is still there
COMING = 5.0  # s that the projects of another keeper have to come over
YIELDING = 1.0  # s that a project has to register what a forced one leaves it


class Visitor(Struct, eq=False):
    """A connection, and the registration that lives as long as it does."""

    link: Link | None = None
    registration: Registration | None = None
    said_goodbye: bool = False

    @property
    def domains(self) -> tuple[str, ...]:
        """What is served for it."""
        return self.registration.domains if self.registration else ()

    def say(self, message: Message) -> None:
        """Tell it, if it is still there."""
        if self.link:
            self.link.send(message)

    def refuse(self, why: str, message: str, **facts: object) -> None:
        """Tell it that what it asked for is not done."""
        self.say({"is": "refused", "why": why, "message": message, **facts})


Change = tuple[Visitor, "Registration | None"]
Served = dict[Visitor, "Registration | None"]


class Owner(Protocol):
    """Who is told how it stands."""

    def sites_are_live(self) -> None:
        """What is registered is served."""
        ...

    def is_lonely(self) -> None:
        """Nobody is served, and somebody may yet come in."""
        ...

    def nobody_left(self) -> None:
        """The last project is out."""
        ...


class Sites:
    """The sites of all projects, as nginx serves them or is about to.

    Args:
        master: the nginx that serves them.
        setup: of the keeper; those who come from a predecessor, or were served by a killed one, are waited for.
    """

    def __init__(self, loop: Loop, setup: Setup, master: Master, owner: Owner) -> None:
        self._loop = loop
        self.master = master
        self._owner = owner
        self._staging = Staging(setup)
        self._awaiting: list[Callable[[], None]] = []
        self._untested: tuple[Served, list[Visitor], list[Visitor]] | None = None  # what a first start was given
        self._one_by_one = 0  # changes to be tried alone, since nginx refused them together
        # Until they are there, connections wait in the kernel: served earlier, some would be told that nobody is.
        self._expected = setup.expected or count_orphans(setup.folder)
        if self._expected:
            loop.call_later(COMING, self._expect_no_more)
        if self._expected and not setup.expected:
            loop.call_later(LOOK_EVERY, lambda: self._expect_the_living(setup.folder))
        self.visitors: list[Visitor] = []
        self.changes: deque[Change] = deque()
        self.insisting: dict[Visitor, Registration] = {}  # forced registrations, while others have their domains
        self.is_busy = False
        self.is_closed = False

    def registrations(self) -> list[Registration]:
        """Of all that are served, or are about to be."""
        return [visitor.registration for visitor in self.visitors if visitor.registration]

    def _expect_the_living(self, folder: Path) -> None:
        """One that was served may have been about to end."""
        if self._expected:
            self._expected = min(self._expected, count_orphans(folder))
            self._next()
            self._loop.call_later(LOOK_EVERY, lambda: self._expect_the_living(folder))

    def _expect_no_more(self) -> None:
        """Apply what has come, though not all came that were expected."""
        self._expected = 0
        self._next()

    def serve_again(self) -> None:
        """Start nginx with what was live when it died."""
        self.is_busy = True
        self.master.reload(self._live)

    def clear(self) -> None:
        """Leave nothing on the disk."""
        self._staging.clear()

    def change(self, visitor: Visitor, registration: Registration | None) -> None:
        """Serve this registration from now on, or none."""
        if registration is None and self._is_last(visitor):
            self._owner.nobody_left()  # whatever is on its way, nobody waits for it
            return
        self.changes.append((visitor, registration))
        self.changes.extend(self.insisting.items())
        self._loop.call_soon(self._next)  # what came in the same breath is one reload

    def _is_last(self, visitor: Visitor) -> bool:
        """Whether nobody else has a site, or asks for one."""
        others = [other for other in self.visitors if other is not visitor]
        return (
            visitor.registration is not None
            and (visitor.link is None or visitor.said_goodbye)
            and not any(other.registration for other in others)
            and not any(wanted for _, wanted in (*self.changes, *self.insisting.items()))
        )

    def _next(self) -> None:
        """Apply the changes of the sites that have come, unless some are on their way."""
        is_held_up = self.is_busy or self.is_closed or len(self.changes) < self._expected
        if is_held_up or not self.changes:
            return
        self._expected = 0
        served = self.registrations()
        before = {visitor: visitor.registration for visitor in self.visitors}
        added, gone = self._take()
        if not self.registrations():
            self._none_left(gone, was_empty=not served)
        elif self.registrations() == served:
            self._served(added, gone)
            self._next()
        else:
            self._apply(before, added, gone)

    def _take(self) -> tuple[list[Visitor], list[Visitor]]:
        """Note what each change wants; return who has a new site, and who has none any more."""
        added: dict[Visitor, None] = {}
        gone: dict[Visitor, None] = {}
        while self.changes:
            visitor, wanted = self.changes.popleft()
            if wanted is None or visitor.link is None:  # the latter left while it waited
                self.insisting.pop(visitor, None)
                visitor.registration = None
                gone[visitor] = None
                added.pop(visitor, None)
                if visitor.link is None and visitor in self.visitors:
                    self.visitors.remove(visitor)
            elif owners := self._owners_of(wanted, visitor):
                self._contest(visitor, wanted, owners)
            else:
                self.insisting.pop(visitor, None)
                visitor.registration = wanted
                added[visitor] = None
            if self._one_by_one:
                self._one_by_one -= 1
                break
        return list(added), list(gone)

    def _owners_of(self, wanted: Registration, visitor: Visitor) -> list[tuple[Visitor, list[str]]]:
        """Who has which of these domains."""
        others = [other for other in self.visitors if other is not visitor and other.registration]
        shared = [(other, [each for each in wanted.domains if each in other.domains]) for other in others]
        return [(other, domains) for other, domains in shared if domains]

    def _contest(self, visitor: Visitor, wanted: Registration, owners: list[tuple[Visitor, list[str]]]) -> None:
        """Two want the same domain: it stays with who has it, unless the other one insists."""
        if not wanted.is_forced:
            owner, (domain, *_) = owners[0]
            facts = owner.registration.facts if owner.registration else {}
            visitor.refuse("domain", f"{domain} is served already", domain=domain, owner=facts)
            return
        if visitor in self.insisting:
            return  # the owners have been told
        self.insisting[visitor] = wanted
        for owner, domains in owners:
            owner.say({"is": "taken", "domains": domains, "by": wanted.facts})
        self._loop.call_later(YIELDING, lambda: self._wait_no_longer(visitor))

    def _wait_no_longer(self, visitor: Visitor) -> None:
        """Who does not answer is not served any more."""
        wanted = self.insisting.get(visitor)
        if wanted:
            self.changes.extend((owner, None) for owner, _domains in self._owners_of(wanted, visitor))
            self.changes.append((visitor, wanted))
            self._next()

    def _apply(self, before: Served, added: list[Visitor], gone: list[Visitor]) -> None:
        """Serve what is wanted now; one project's bad site never takes another's down."""
        folder = None
        try:
            folder = self._staging.stage(self.registrations())
            if self.master.pid is None and not any(
                before.values()
            ):  # a first start reads it anyway: a thousand domains take it half a second
                self._untested = (before, added, gone)
            else:
                self.master.test(folder)
            self._staging.swap(folder)
        except (DevtlsError, OSError, ValueError) as error:  # the last: text that no file can hold
            if folder:
                self._staging.discard(folder)
            self._undo(before, added, gone, error)
            return
        self.is_busy = True
        self._awaiting.append(lambda: self._served(added, gone))
        self.master.reload(self._live)

    def start_failed(self) -> bool:
        """Whether nginx ended at its start because it refuses what it was given; who is to blame is told then."""
        untested, self._untested = self._untested, None
        if untested is None:
            return False
        try:
            self.master.test(self._staging.live)
        except DevtlsError as error:
            self.is_busy = False
            self._awaiting.clear()
            self._staging.clear()
            self._undo(*untested, error)
            return True
        return False

    def _undo(
        self,
        before: Served,
        added: list[Visitor],
        gone: list[Visitor],
        error: Exception,
    ) -> None:
        """It is refused, or the disk is full: who is to blame is found by trying one after the other."""
        if not added:
            sys.stderr.write(f"a site that is gone stays until the next change: {error}\n")
            self._say_bye(gone)
        elif len(added) == 1 and not gone:
            line = self._staging.line_of(added[0].registration)
            added[0].registration = before.get(added[0])
            added[0].refuse("config", str(error), line=line)
        else:
            again: list[Change] = [(visitor, None) for visitor in gone]
            again += [(visitor, visitor.registration) for visitor in added]
            for visitor in added:
                visitor.registration = before.get(visitor)
            self.changes.extendleft(reversed(again))
            self._one_by_one = len(again)
        self._loop.call_soon(self._next)

    def _live(self) -> None:
        """What was swapped in is served, whatever died meanwhile."""
        self.is_busy = False
        self._untested = None
        awaiting, self._awaiting = self._awaiting, []
        for then in awaiting:
            then()
        self._owner.sites_are_live()
        self._next()

    def _served(self, added: Iterable[Visitor], gone: Iterable[Visitor]) -> None:
        for visitor in added:
            visitor.say({"is": "registered"})
        self._say_bye(gone)

    def _say_bye(self, gone: Iterable[Visitor]) -> None:
        for visitor in gone:
            if visitor.link and visitor.said_goodbye:
                visitor.link.send({"is": "bye", "last": False})
                visitor.link.close()

    def _none_left(self, gone: list[Visitor], *, was_empty: bool) -> None:
        """The last one is out, or the one who started us will not come in; else wait for another."""
        others = [other for other in self.visitors if other.link and other not in gone]
        is_leaving = any(visitor.said_goodbye for visitor in gone)
        if not (self.changes or self.insisting) and (not was_empty or (is_leaving and not others)):
            self._owner.nobody_left()
            return
        self._say_bye(gone)
        self._owner.is_lonely()
        self._next()
