"""The pages of a session: what a browser gets from us while a service cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.model import foreign_of, pools_of
from devtls.pages.down import Down, clean_line, render_down
from devtls.pages.server import PageServer
from devtls.session.services import UP
from devtls.supervise import state as states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.model import Service
    from devtls.pages.down import Request
    from devtls.session.services import Services
    from devtls.session.setup import Setup
    from devtls.supervise.state import State
    from devtls.system.loop import Loop

LAST_LINES = 20  # of a service, shown on its page
UPSTREAM = "x-devtls-upstream"  # the header by which nginx says whom it could not reach: the number of the upstream


class Pages:
    """Answers for the services of a session."""

    def __init__(self, loop: Loop, setup: Setup, services: Services) -> None:
        self._setup = setup
        self._services = services
        self._server = PageServer(loop, setup.page_socket, self._answer)

    def close(self) -> None:
        """Answer no more."""
        self._server.close()

    def _answer(self, request: Request) -> bytes:
        return render_down(self._describe(request.headers.get(UPSTREAM, "")), request, self._setup.templates)

    def _describe(self, upstream: str) -> Down:
        project = self._setup.project
        pools = list(pools_of(project.services).values())
        foreign = foreign_of(project)
        number = int(upstream) if upstream.isdecimal() else 0
        if number < len(pools):
            return self._describe_service(self._worst_of(pools[number]))
        target = foreign[(number - len(pools)) % len(foreign)]
        route = next(route for route in project.routes if route.target == target)
        fact = f"nothing answers on {target.address}, where {route.host}{route.prefix} is sent"
        return Down(str(target.address), "unreachable", fact, ("Start what should listen there.",))

    def _worst_of(self, replicas: Sequence[Service]) -> str:
        """The replica to tell of: one that is down, if any is."""
        down = (each for each in replicas if not isinstance(self._services.runners[each.name].state, UP))
        return next(down, replicas[0]).name

    def _describe_service(self, name: str) -> Down:
        runner = self._services.runners[name]
        state, fact, cure = describe_state(name, runner.state, self._services.last_exit(name), runner.service.port)
        return Down(name, state, fact, cure, tuple(map(clean_line, runner.tail.last(LAST_LINES))))


def describe_state(  # noqa: PLR0911 - one line for each state
    name: str, state: State, last_exit: str, port: int
) -> tuple[str, str, tuple[str, ...]]:
    """Return a service's state in a word of the pages, the fact, and what to do."""
    again = ("Mend it, then:", f"  devtls restart {name}")
    match state:
        case states.Pending() | states.Starting():
            return "starting", f"{name} does not listen on port {port} yet", ()
        case states.Ready() | states.Daemonized():
            return "unreachable", f"{name} listens, and hung up before it answered", ()
        case states.Degraded(detail=detail):
            return "unreachable", f"{name} runs, and does not answer: {detail}", ()
        case states.Stopping(then_start=then_start):
            word = "restarting" if then_start else "stopped"
            return word, f"{name} is being ended" + (", and is started again then" if then_start else ""), ()
        case states.Stopped():
            return "stopped", f"{name} was stopped", ("Start it:", f"  devtls restart {name}")
        case states.Exited():
            return "ended", f"{name} {last_exit}", again
        case states.Backoff():
            return "crashed", f"{name} {last_exit}; it is started again", ()
        case states.Failed(reason):
            return "crashed", f"{name} {last_exit}: {reason}", again
        case states.Blocked(owner):
            return "blocked", f"port {port}, which {name} should have, is taken by {owner}", again
