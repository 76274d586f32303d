"""A running project: its services, its place in the gateway, its checks and its control socket, composed on one loop.

This is what the supervisor process runs; `devtls up` comes here once the plan is applied.
"""

from __future__ import annotations

import contextlib
import enum
import gc
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from devtls import hosts, report
from devtls.errors import DevtlsError
from devtls.model import authority_of, is_local
from devtls.nginx.gateway import gateway_pids
from devtls.session.services import Services
from devtls.session.setup import LEFTOVER_GRACE, words_of
from devtls.session.voice import Voice
from devtls.system import files, processes
from devtls.system.loop import Loop
from devtls.system.processes import SESSION_MARKER
from devtls.system.root import HOSTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtls.model import Service
    from devtls.session.certificates import Certificates
    from devtls.session.checking import Checking
    from devtls.session.pages import Pages
    from devtls.session.place import Place
    from devtls.session.setup import Setup
    from devtls.supervise.control import ControlServer

SCHEMA = "devtls.status/1"
GOODBYE = 5.0  # s that the gateway may take to let us go; TERM ends nginx in 0.1 s
TWICE = 0.3  # s within which a second SIGINT is the first one's echo: npm and others pass it on
WAITING = 2.0  # s between two words about who keeps the end waiting
LAST_LINES = 20  # of a service that failed


class Outcome(enum.StrEnum):
    """What `up` came to."""

    STARTING = "starting"
    READY = "ready"  # every check is green
    RED = "red"  # served, and a check fails
    FAILED = "failed"  # a service did not become ready, or cannot be served
    STOPPING = "stopping"


class Session:
    """One `up`, from the first service started to `0 processes left`."""

    _control: ControlServer
    _certificates: Certificates
    _pages: Pages
    _place: Place
    _checking: Checking

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.loop = Loop()
        self.outcome = Outcome.STARTING
        self.exit_code = 0
        self.error = ""
        self._last_lines: tuple[str, ...] = ()
        self._voice = Voice(setup)
        self._services = Services(self.loop, setup, self._voice, self)
        self._stopping_since = 0.0
        self._is_open = False
        self._was_up = False
        self._is_taken = False
        self._is_leaving = False
        self._is_over = False

    def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        try:
            self._open()
        except (DevtlsError, OSError) as error:
            return self._failed_to_open(error)
        gc.enable()
        while not self._is_over:
            try:
                self.loop.run()
            except DevtlsError as error:  # raised in a call of the loop: a full disk, a path that nginx cannot say
                self._give_up(str(error), error.exit_code, error.cure)
        self._voice.screen.close()
        return self.exit_code

    def _failed_to_open(self, error: DevtlsError | OSError) -> int:
        """There is nothing to serve with, such as room for a log: end what was started, and say why."""
        self._services.kill_now()
        processes.end(self._survivors, LEFTOVER_GRACE)
        told = error if isinstance(error, DevtlsError) else DevtlsError(f"it cannot be started: {error}")
        self._voice.say(report.render_error(told, self.setup.style))
        self._voice.screen.close()
        return told.exit_code

    def _open(self) -> None:
        """The services first: everything else is imported and made ready while they start."""
        files.make_private_directory(self.setup.folder / "logs")
        self._services.start()
        from devtls.session.certificates import Certificates
        from devtls.session.checking import Checking
        from devtls.session.pages import Pages
        from devtls.session.place import Place
        from devtls.supervise.control import ControlServer
        from devtls.supervise.reaper import Reaper

        self._certificates = Certificates(self.loop, self.setup, self._voice, self)
        self._checking = Checking(self.loop, self.setup, self._services, self._certificates, self._voice, self)
        self._pages = Pages(self.loop, self.setup, self._services)
        seen = self._checking.handshake_seen
        self._place = Place(self.loop, self.setup, self._services, self._certificates, self._voice, self, seen)
        self._control = ControlServer(self.loop, self.setup.control_socket, self)
        self._voice.heard = self._control.line
        self._is_open = True
        self._place.open()
        self._checking.warm()
        self._certificates.watch()
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            self.loop.on_signal(number, self._stopper(number, code))
        self.loop.on_signal(signal.SIGWINCH, self._services.resize)
        Reaper(self.loop)

    # supervise.control.Controlled: what can be asked of a running project

    def status(self) -> dict[str, Any]:
        """The status document of this project."""
        setup = self.setup
        return {
            "schema": SCHEMA,
            "directory": str(setup.project.directory),
            "state": str(self._state()),
            "error": self.error,
            "exit_code": self._verdict(),
            "pid": os.getpid(),
            "urls": [f"https://{authority_of(host, setup.https_port)}" for host in setup.names],
            "asked": words_of(setup.project),
            "gateway": {
                "pid": self._place.keeper_pid,
                "nginx": setup.nginx.name,
                "https_port": setup.https_port,
            },
            "services": self._services.facts(),
            "last_lines": list(self._last_lines),
            "hints": list(setup.closing_words),
            "checks": [report.check_facts(check) for check in self._checking.checks],
        }

    def is_settled(self) -> bool:
        """Whether the outcome of `up` is known."""
        return self.outcome is not Outcome.STARTING

    def restart(self, service: str) -> str:
        """Restart a service, or all of them for an empty name; return why not, or nothing."""
        if service and not self._services.named(service):
            return f"there is no service {service!r}; there is {', '.join(self._services.runners)}"
        if self.outcome is Outcome.STOPPING:
            return "it is stopping"
        self.outcome = Outcome.STARTING
        self._checking.begin()
        self._services.restart(service)
        return ""

    def stop(self, reason: str) -> None:
        """Begin to stop everything; asked again, kill."""
        now = self.loop.clock()
        if self.outcome is Outcome.STOPPING:
            if now - self._stopping_since > TWICE:
                self._services.kill_now()
            return
        self.outcome = Outcome.STOPPING
        self._stopping_since = now
        self._checking.stop()
        self._voice.tell("Stopping… Ctrl+C again to kill" if reason == "SIGINT" else f"Stopping ({reason})…")
        self._services.stop()
        self.loop.call_later(WAITING, self._tell_who_remains)
        self.services_ended()

    # session.services.Owner

    def is_starting(self) -> bool:
        """Whether the outcome of `up` is still open."""
        return self.outcome is Outcome.STARTING

    def services_moved(self) -> None:
        """The gateway has to know."""
        self._place.update()

    def service_listens(self) -> None:
        """Ask whether it works."""
        self._checking.soon()

    def service_failed(self, service: Service, fact: str, exit_code: int, cure: tuple[str, ...] = ()) -> None:
        """A service that never became ready ends `up`; one that did keeps its place, so that it can be mended."""
        if self.outcome is Outcome.STOPPING:
            return
        if not self._is_open:  # it failed while it was being started; the rest has to be there to end
            self.loop.call_soon(lambda: self.service_failed(service, fact, exit_code, cure))
            return
        if self._was_up:
            self._voice.tell(f"{fact}; `devtls restart {service.name}` starts it again")
            self.outcome = Outcome.RED
            self._control.settled()
            return
        lines = self._services.runners[service.name].tail.last(LAST_LINES)
        if lines:
            printed = ["  " + line.decode("utf-8", "replace").rstrip("\n") for line in lines]
            self._last_lines = (f"The last lines of {service.name}:", *printed)
            self._voice.say(self._last_lines)
        self._give_up(fact, exit_code, cure)

    def services_ended(self) -> None:
        """Once no service has a process left, leave the gateway."""
        if self.outcome is Outcome.STOPPING and not self._is_leaving and self._services.is_empty():
            self._is_leaving = True
            self.loop.call_later(GOODBYE, self._end)
            self._place.leave(self._end)

    # session.certificates.Owner

    def certificates_renewed(self) -> None:
        """The gateway has to read them; that drops no connection."""
        if self.outcome is not Outcome.STOPPING:
            self._place.update()

    # session.place.Owner

    def place_is_live(self) -> None:
        """Ask whether it works."""
        self._checking.soon()

    def place_is_refused(self, fact: str, exit_code: int) -> None:
        """Without the gateway there is nothing to serve."""
        self._give_up(fact, exit_code)

    def place_is_taken(self, fact: str) -> None:
        """It stays up, so that nothing of it is lost; who it is for is told."""
        self._voice.tell(fact)
        if self.outcome is not Outcome.STOPPING:
            self._is_taken = True
            self.outcome = Outcome.RED
            self._control.settled()

    # session.checking.Owner

    def names(self) -> tuple[str, ...]:
        """What browsers are told, less what another project took."""
        return tuple(name for name in self.setup.names if name in self._place.hosts)

    def can_be_asked(self) -> bool:
        """Whether the site is served and each service is there."""
        return self._place.is_live and self._services.is_complete()

    def concluded(self, *, is_red: bool, is_news: bool) -> None:
        """Say what the checks found, when it is new."""
        is_first = self.is_starting()
        self.outcome = Outcome.RED if is_red else Outcome.READY
        if not is_news and not is_first:
            return
        self._voice.say(report.render_checks(self._checking.checks, self.setup.style))
        if is_red:
            self._voice.say(["Served, but not as it should be; it stays up and is checked again. Ctrl+C to stop."])
        elif is_first:
            took = report.render_seconds(time.monotonic() - self.setup.since)
            self._voice.say([*self.setup.closing_words, f"Ready in {took}. Ctrl+C to stop."])
        else:
            self._voice.say(["All checks pass."])
        if is_first:
            self._settle()

    def _settle(self) -> None:
        """Tell whoever waits what `up` came to; the document is for the first time only."""
        was_up, self._was_up = self._was_up, True
        if self.setup.document is not None and not was_up:
            with contextlib.suppress(OSError):  # whoever waited is gone
                os.write(self.setup.document, json.dumps(self.status()).encode() + b"\n")
        self._control.settled()

    def _verdict(self) -> int:
        """The exit code of a command that waited for us."""
        if self.outcome is Outcome.FAILED:
            return self.exit_code
        return 0 if self._state() is Outcome.READY else 1

    def _state(self) -> Outcome:
        """The outcome, unless a service is down at the moment."""
        is_down = self.outcome is Outcome.READY and (self._is_taken or not self._services.is_complete())
        return Outcome.RED if is_down else self.outcome

    # The end

    def _stopper(self, number: signal.Signals, code: int) -> Callable[[], None]:
        def stop() -> None:
            if self.outcome is not Outcome.STOPPING:
                self.exit_code = code
            if self.outcome is not Outcome.STOPPING or number is signal.SIGINT:
                self.stop(number.name)

        return stop

    def _give_up(self, fact: str, exit_code: int, cure: tuple[str, ...] = ()) -> None:
        if self.outcome is Outcome.STOPPING:
            return
        self._voice.say(report.render_error(DevtlsError(fact, *cure), self.setup.style))
        self.error = fact
        self.exit_code = exit_code
        self.outcome = Outcome.FAILED
        self._settle()
        self.stop("failed")

    def _tell_who_remains(self) -> None:
        if not self._is_leaving:
            self._services.tell_who_remains()
            self.loop.call_later(WAITING, self._tell_who_remains)

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._checking.stop()
        self._place.close()
        self._pages.close()
        processes.end(self._survivors, LEFTOVER_GRACE)
        left = len(self._survivors())
        took = self.loop.clock() - self._stopping_since
        here = self._still_here()
        self._voice.say(report.render_stopped(took, left, here))
        self._control.stopped({"seconds": round(took, 3), "left": left, "still_here": here})
        self.loop.stop()

    def _still_here(self) -> list[str]:
        """The domains that may be real ones elsewhere, and that the hosts file goes on sending to this machine."""
        block = hosts.names_in_block(files.read_or_none(HOSTS) or b"")
        return [domain for domain in self.setup.project.domains if domain in block and not is_local(domain)]

    def _survivors(self) -> tuple[processes.Identity, ...]:
        spared = gateway_pids(self.setup.paths)
        marker = (SESSION_MARKER, self.setup.session)
        return processes.survivors(marker, self._services.recorded(), excluding=spared)
