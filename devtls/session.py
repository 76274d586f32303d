"""A running project: its services, its place in the gateway, its checks and its control socket, composed on one loop.

This is what the supervisor process runs; `devtls up` comes here once the plan is applied.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import secrets
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devtls import report
from devtls.checks import Domain, Question
from devtls.checks.liveness import find_http
from devtls.checks.prober import Prober
from devtls.model import Endpoint, Verdict
from devtls.nginx.access import AccessLog
from devtls.nginx.registration import Registration
from devtls.nginx.render import Site, authority_of, render_site
from devtls.supervise import state as states
from devtls.supervise.control import ControlServer
from devtls.supervise.output import LogFile, Screen
from devtls.supervise.reaper import Reaper
from devtls.supervise.service import SESSION_MARKER, ServiceRunner
from devtls.system import files, processes
from devtls.system.loop import Loop

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from devtls.model import Authority, Check, Leaf, Project, Service
    from devtls.nginx.access import SeenHandshake
    from devtls.nginx.binary import Nginx
    from devtls.nginx.gateway import Greeting
    from devtls.report import Style
    from devtls.supervise.state import State
    from devtls.system.channel import Message
    from devtls.system.paths import Paths

SCHEMA = "devtls.status/1"
OWN_AGENT = "devtls-check"  # in the User-Agent of our own probes
WARM_UP = 3.0  # s after which a red answer is told; before that the app may be warming up, and is asked again
ASK_AGAIN = 0.25  # s between those questions
RECHECK = (5.0, 10.0, 20.0, 40.0, 60.0)  # s; a red check is asked again ever more seldom, a green one never
GOODBYE = 5.0  # s that the gateway may take to let us go; TERM ends nginx in 0.1 s
TWICE = 0.3  # s within which a second SIGINT is the first one's echo: npm and others pass it on
LEFTOVER_GRACE = 1.0  # s between TERM and KILL for what a killed session left behind
LAST_LINES = 20  # of a service that failed
KEPT_PATHS = 8  # WebSocket paths remembered from real traffic
VITE_HOST = "__VITE_ADDITIONAL_SERVER_ALLOWED_HOSTS"  # without it Vite answers 403 to any name but localhost
UP = (states.Ready, states.Degraded, states.Daemonized)
COLOURS = (36, 35, 34, 33, 32, 31)  # SGR colours of the services' prefixes, in turn


class Outcome(enum.StrEnum):
    """What `up` came to."""

    STARTING = "starting"
    READY = "ready"  # every check is green
    RED = "red"  # served, and a check fails
    FAILED = "failed"  # a service did not become ready, or cannot be served
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Setup:
    """What a session is started with, all of it found or made before.

    Attributes:
        hosts: every host served, the domains first; each has a leaf, and an authority that covers it.
        sockets: the gateway's listening sockets, https first; bound for it or duplicated from it.
        start_lock: the descriptor that keeps other `up`s from starting a gateway meanwhile; closed once ours is there.
        session: unique; marks every process that it starts.
        screen: the descriptor for people; document: the one for the status document in JSON, or None.
        columns: of the terminal; None when there is none.
        since: time.monotonic() of the command's start.
        closing_words: lines told before Ready.
    """

    project: Project
    hosts: tuple[str, ...]
    leaves: tuple[Leaf, ...]
    authorities: tuple[Authority, ...]
    paths: Paths
    nginx: Nginx
    templates: Path
    environment: Mapping[str, str]
    sockets: Sequence[socket.socket]
    https_port: int
    start_lock: int | None
    session: str
    style: Style
    screen: int
    document: int | None
    columns: int | None
    since: float
    closing_words: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The state of this project."""
        return self.paths.project(self.project.directory)

    @property
    def log_socket(self) -> Path:
        """Where nginx tells of handshakes."""
        return self.paths.socket(self.folder, "log.sock")


def control_path(paths: Paths, directory: Path) -> Path:
    """Where the session of a project listens."""
    return paths.socket(paths.project(directory), "control.sock")


def begin_session(paths: Paths, directory: Path) -> str:
    """Return a new session's name; what a killed one left behind is ended first. The project's lock must be held."""
    record = paths.project(directory) / "session"
    before = (files.read_or_none(record) or b"").decode("ascii", "replace").strip()
    if before:
        processes.end(lambda: processes.find_marked(SESSION_MARKER, before), LEFTOVER_GRACE)
    session = secrets.token_hex(8)
    files.write_atomically(record, session.encode())
    return session


def words_of(project: Project) -> dict[str, Any]:
    """What was asked for, for comparing with what another `up` in the same folder asks for."""
    return {
        "domains": list(project.domains),
        "services": {service.name: list(service.argv) for service in project.services},
        "routes": {route.prefix: str(route.target) for route in project.routes},
    }


@dataclass(slots=True)
class Session:
    """One `up`, from the first service started to `0 processes left`."""

    setup: Setup
    loop: Loop = field(default_factory=Loop)
    outcome: Outcome = Outcome.STARTING
    exit_code: int = 0
    checks: tuple[Check, ...] = ()
    error: str = ""
    _runners: dict[str, ServiceRunner] = field(default_factory=dict)
    _endpoints: dict[str, Endpoint] = field(default_factory=dict)
    _is_live: bool = False
    _is_check_due: bool = False
    _rechecks: int = 0
    _started_at: float = 0.0
    _seen_paths: list[str] = field(default_factory=list)
    _stopping_since: float = 0.0
    _is_leaving: bool = False
    _is_last: bool = False
    _gateway_pid: int | None = None
    _lock: int | None = None
    _screen: Screen = field(init=False)
    _control: ControlServer = field(init=False)
    _registration: Registration = field(init=False)
    _prober: Prober = field(init=False)
    _access_log: AccessLog = field(init=False)

    def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        self._open()
        self.loop.run()
        self._screen.close()
        return self.exit_code

    def _open(self) -> None:
        """The services first: everything else can be made ready while they start."""
        setup = self.setup
        self._started_at = time.monotonic()
        self._lock = setup.start_lock
        width = max(len("devtls"), *(len(service.name) for service in setup.project.services))
        self._screen = Screen(setup.screen, width=width, colours=self._colour_of)
        files.make_private_directory(setup.folder / "logs")
        self._prober = Prober(self.loop, setup.environment)
        for service in setup.project.services:
            self._runners[service.name] = self._make_runner(service)
        for runner in self._runners.values():
            runner.start()
        self._control = ControlServer(self.loop, control_path(setup.paths, setup.project.directory), self)
        self._access_log = AccessLog(self.loop, setup.log_socket, self._on_handshake)
        self._registration = Registration(
            self.loop,
            self,
            paths=setup.paths,
            nginx=setup.nginx,
            templates=setup.templates,
            environment=setup.environment,
            sockets=setup.sockets,
        )
        self._registration.open()
        self._prober.warm()
        self._watch_signals()

    def _watch_signals(self) -> None:
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            self.loop.on_signal(number, self._stopper(number, code))
        self.loop.on_signal(signal.SIGWINCH, self._resize)
        Reaper(self.loop)

    def _make_runner(self, service: Service) -> ServiceRunner:
        setup = self.setup
        return ServiceRunner(
            self.loop,
            service,
            environment=self._environment_of(service),
            session=setup.session,
            listener=self,
            log=LogFile(setup.folder / "logs" / f"{service.name}.log"),
            columns=setup.columns,
            has_colours=setup.style.colours,
            start_timeout=setup.project.start_timeout,
            may_read=self._screen.has_room,
        )

    def _environment_of(self, service: Service) -> dict[str, str]:
        """The user's environment, then what tells the app where it lives, then what the user said for this service."""
        given = self.setup.environment
        return {
            VITE_HOST: self.setup.project.domains[0],
            **given,
            "PORT": str(service.port),
            "HOST": "127.0.0.1",
            "DEVTLS_URL": self._url(self.setup.project.domains[0]),
            **service.environment,
        }

    # What can be asked of a running project: supervise.control.Controlled

    def status(self) -> dict[str, Any]:
        """The status document of this project."""
        now = self.loop.clock()
        return {
            "schema": SCHEMA,
            "directory": str(self.setup.project.directory),
            "state": str(self.outcome),
            "error": self.error,
            "exit_code": self._verdict(),
            "pid": os.getpid(),
            "urls": [self._url(host) for host in self.setup.project.domains],
            "asked": words_of(self.setup.project),
            "gateway": {"pid": self._gateway_pid, "nginx": self.setup.nginx.name, "https_port": self.setup.https_port},
            "services": [self._service_facts(runner, now) for runner in self._runners.values()],
            "checks": [report.check_facts(check) for check in self.checks],
        }

    def is_settled(self) -> bool:
        """Whether the outcome of `up` is known."""
        return self.outcome is not Outcome.STARTING

    def restart(self, service: str) -> str:
        """Restart a service, or all of them for an empty name; return why not, or nothing."""
        if service and service not in self._runners:
            return f"there is no service {service!r}; there is {', '.join(self._runners)}"
        if self.outcome is Outcome.STOPPING:
            return "it is stopping"
        self.outcome = Outcome.STARTING
        self._started_at = time.monotonic()
        for name in [service] if service else list(self._runners):
            self._endpoints.pop(name, None)
            self._runners[name].restart()
        return ""

    def stop(self, reason: str) -> None:
        """Begin to stop everything; asked again, kill."""
        now = self.loop.clock()
        if self.outcome is Outcome.STOPPING:
            if now - self._stopping_since > TWICE:
                for runner in self._runners.values():
                    runner.kill_now()
            return
        self.outcome = Outcome.STOPPING
        self._stopping_since = now
        self._prober.cool()
        self._tell("Stopping… Ctrl+C again to kill" if reason == "SIGINT" else f"Stopping ({reason})…")
        for runner in self._runners.values():
            runner.stop()
        self.loop.call_later(2.0, self._tell_who_remains)
        self._leave_when_empty()

    # What services do: supervise.service.Listener

    def on_output(self, service: Service, lines: bytes) -> None:
        """Whole lines that a service printed."""
        self._screen.write(service.name, lines)
        self._control.line(service.name, lines)

    def on_state(self, service: Service, now: State) -> None:
        """A service changed."""
        is_starting = self.outcome is Outcome.STARTING and service.name not in self._endpoints
        match now:
            case states.Exited() | states.Backoff(attempt=1, was_ready=False) if is_starting:
                self._fail(service, f"{service.name} ended before it listened: {self._last_exit(service)}")
            case states.Exited():
                self._tell(f"{service.name} ended: {self._last_exit(service)}")
            case states.Backoff():
                self._endpoints.pop(service.name, None)
                self._tell(f"{service.name} ended: {self._last_exit(service)}; it is started again")
            case states.Failed(reason):
                self._fail(service, f"{service.name}: {reason}")
            case states.Blocked(owner):
                self._fail(service, f"{service.name} cannot have port {service.port}: {owner}", exit_code=4)
            case states.Degraded(detail=detail):
                self._tell(f"{service.name} does not answer: {detail}")
            case _:
                pass
        self._leave_when_empty()

    def on_listening(self, service: Service, endpoint: Endpoint) -> None:
        """A service listens, where it was told to or elsewhere."""
        moved = endpoint != self._endpoint_of(service)
        is_back = service.name not in self._endpoints and self.is_settled()
        self._endpoints[service.name] = endpoint
        if endpoint.port != service.port:
            self._tell(f"{service.name} was given PORT={service.port} and listens on {endpoint}: followed there")
        if moved:
            self._is_live = False
            self._registration.update()
        if is_back:
            self._tell(f"{service.name} is back")
        self._check_soon()

    def on_candidates(self, service: Service, endpoints: tuple[Endpoint, ...]) -> None:
        """A service listens elsewhere than it was told; an HTTP answer decides where."""

        def found(answering: tuple[Endpoint, ...]) -> None:
            if len(answering) > 1:
                self._tell(f"{service.name} answers on {', '.join(map(str, answering))}: the first is taken")
            if answering:
                self._runners[service.name].adopt(answering[0])

        find_http(self.loop, endpoints, found)

    # What the gateway does: nginx.registration.Owner

    def describe_site(self, greeting: Greeting) -> Message:
        """The register message: the site as this gateway's nginx understands it."""
        setup = self.setup
        text = render_site(self._site(), greeting.listen, greeting.nginx.features, setup.templates)
        files.write_atomically(setup.folder / "site.conf", text.encode())
        facts = {
            "directory": str(setup.project.directory),
            "domains": list(setup.hosts),
            "pid": os.getpid(),
            "session": setup.session,
            "spare": {"fullchain": str(setup.leaves[0].fullchain), "key": str(setup.leaves[0].key)},
        }
        return {"do": "register", "site": text, "facts": facts}

    def site_is_live(self, greeting: Greeting) -> None:
        """The gateway serves us."""
        if self._gateway_pid is None:
            fact = f"{greeting.nginx.name} serves {', '.join(self.setup.hosts)}"
            self._print(report.render_done("gateway", fact, self.setup.style))
        elif self._gateway_pid != greeting.pid:
            self._tell(f"the gateway was gone and is back, pid {greeting.pid}")
        self._gateway_pid = greeting.pid
        self._unlock()
        self._is_live = True
        self._check_soon()

    def site_is_refused(self, answer: Message) -> None:
        """Another project has the domain, or nginx refuses what we rendered."""
        owner = answer.get("owner")
        if owner:
            place = f"{owner['directory']} (pid {owner['pid']})"
            self._give_up(f"{answer['domain']} is served already, by the project in {place}", 4)
        else:
            self._give_up(f"nginx refuses the configuration of this project: {answer.get('message', '')}", 1)

    def gateway_is_gone(self, fact: str) -> None:
        """No gateway can be had."""
        self._give_up(f"{fact}; its log is {self.setup.paths.gateway / 'gateway.log'}", 1)

    def site_is_gone(self, *, is_last: bool) -> None:
        """We are out of the gateway."""
        self._is_last = is_last
        self._end_after_keeper()

    def _site(self) -> Site:
        upstreams = [(name, self._endpoint_of(runner.service)) for name, runner in self._runners.items()]
        routes = []
        for route in self.setup.project.routes:
            if isinstance(route.target, Endpoint):
                upstreams.append((route.prefix, route.target))
            routes.append((route.prefix, route.target if isinstance(route.target, str) else route.prefix))
        log_socket = self.setup.log_socket
        return Site(self.setup.folder.name, self.setup.leaves, tuple(routes), tuple(upstreams), log_socket)

    # Checks

    def _check_soon(self) -> None:
        """Ask in the next turn, once all that the question is about is there."""
        if not self._is_check_due:
            self._is_check_due = True
            self.loop.call_soon(self._check)

    def _check(self) -> None:
        self._is_check_due = False
        is_complete = self._is_live and len(self._endpoints) == len(self._runners)
        if self.outcome is Outcome.STOPPING or not is_complete:
            return
        if self._prober.is_busy:
            self.loop.call_later(ASK_AGAIN, self._check_soon)
        else:
            self._prober.ask(self._question(), self._answered, self._previewed)

    def _question(self) -> Question:
        setup = self.setup
        serials = {leaf.host: leaf.serial for leaf in setup.leaves}
        roots = {name: next(ca.root for ca in setup.authorities if ca.covers(name)) for name in setup.project.domains}
        path = setup.project.websocket_path
        return Question(
            domains=tuple(Domain(name, root, serials[name]) for name, root in roots.items()),
            port=self.setup.https_port,
            service=self._target_of(path or "/"),
            websocket_path=path,
            seen_paths=tuple(self._seen_paths),
            site=setup.folder / "site.conf",
        )

    def _target_of(self, path: str) -> Endpoint:
        """Where the gateway sends a path: the longest prefix wins."""
        routes = [r for r in self.setup.project.routes if f"{path}/".startswith(f"{r.prefix.rstrip('/')}/")]
        target = max(routes, key=lambda route: len(route.prefix)).target
        return target if isinstance(target, Endpoint) else self._endpoints[target]

    def _previewed(self, checks: tuple[Check, ...]) -> None:
        """All is green at the first pong: that is ready, and what comes after it is told if it is red."""
        if self.outcome is Outcome.STARTING:
            self._conclude(checks, Outcome.READY)

    def _answered(self, checks: tuple[Check, ...]) -> None:
        if self.outcome is Outcome.STOPPING:
            return
        is_red = any(check.verdict is Verdict.FAILED for check in checks)
        if is_red and not self.is_settled() and time.monotonic() - self._started_at < WARM_UP:
            self.loop.call_later(ASK_AGAIN, self._check_soon)
            return
        self._conclude(checks, Outcome.RED if is_red else Outcome.READY)
        if is_red:
            self.loop.call_later(RECHECK[min(self._rechecks, len(RECHECK) - 1)], self._check_soon)
            self._rechecks += 1
        else:
            self._rechecks = 0
            self._prober.cool()

    def _conclude(self, checks: tuple[Check, ...], outcome: Outcome) -> None:
        """Take note, and tell what is new."""
        is_first = not self.is_settled()
        is_news = is_first or {(c.subject, c.verdict) for c in checks} != {(c.subject, c.verdict) for c in self.checks}
        self.checks = checks
        self.outcome = outcome
        if is_news:
            self._report(is_first=is_first)

    def _report(self, *, is_first: bool) -> None:
        for line in report.render_checks(self.checks, self.setup.style):
            self._print(line)
        took = report.render_seconds(time.monotonic() - self.setup.since)
        if self.outcome is Outcome.RED:
            self._print("Served, but not as it should be; it stays up and is checked again. Ctrl+C to stop.")
        elif is_first:
            for line in self.setup.closing_words:
                self._print(line)
            self._print(f"Ready in {took}. Ctrl+C to stop.")
        else:
            self._print("All checks pass.")
        if is_first:
            self._settle()

    def _settle(self) -> None:
        """Tell whoever waits what `up` came to."""
        if self.setup.document is not None:
            with contextlib.suppress(OSError):  # whoever waited is gone
                os.write(self.setup.document, json.dumps(self.status()).encode() + b"\n")
        self._control.settled()

    def _on_handshake(self, seen: SeenHandshake) -> None:
        """A real browser's handshake: a failing one is explained the moment it happens, a new path is remembered."""
        if OWN_AGENT in seen.agent or not self.is_settled() or self.outcome is Outcome.STOPPING:
            return
        is_new = seen.path not in self._seen_paths
        self._seen_paths = list(dict.fromkeys([seen.path, *self._seen_paths]))[:KEPT_PATHS]
        if seen.status != "101":
            if is_new or self.outcome is Outcome.READY:
                self._tell(f"a WebSocket handshake on {seen.path} was answered {seen.status}")
            self._check_soon()
        elif is_new and not any(check.subject.endswith(seen.path) for check in self.checks):
            self._check_soon()

    # The end

    def _stopper(self, number: signal.Signals, code: int) -> Callable[[], None]:
        def stop() -> None:
            if self.outcome is not Outcome.STOPPING:
                self.exit_code = code
            if self.outcome is not Outcome.STOPPING or number is signal.SIGINT:
                self.stop(number.name)

        return stop

    def _fail(self, service: Service, fact: str, exit_code: int = 1) -> None:
        """A service that never became ready ends `up`; one that did keeps its place, so that it can be mended."""
        if self.outcome is Outcome.STOPPING:
            return
        self._endpoints.pop(service.name, None)
        if self.is_settled():
            self._tell(f"{fact}; `devtls restart {service.name}` starts it again")
            return
        lines = self._runners[service.name].tail.last(LAST_LINES)
        if lines:
            self._print(f"The last lines of {service.name}:")
            for line in lines:
                self._print("  " + line.decode("utf-8", "replace").rstrip("\n"))
        self._give_up(fact, exit_code)

    def _give_up(self, fact: str, exit_code: int) -> None:
        if self.outcome is Outcome.STOPPING:
            return
        self._print(f"{self.setup.style.bad('devtls:')} {fact}")
        self.error = fact
        self.exit_code = exit_code
        self.outcome = Outcome.FAILED
        self._settle()
        self.stop("failed")

    def _tell_who_remains(self) -> None:
        """Every two seconds, who keeps us waiting."""
        for runner in self._runners.values():
            for identity in runner.waiting_for:
                name = processes.describe(identity.pid)
                self._tell(f"waiting for {runner.service.name} (pid {identity.pid}, {name})")
        if not self._is_leaving:
            self.loop.call_later(2.0, self._tell_who_remains)

    def _leave_when_empty(self) -> None:
        """Once no service has a process left, leave the gateway."""
        if self.outcome is not Outcome.STOPPING or self._is_leaving:
            return
        if all(isinstance(runner.state, states.Stopped | states.Pending) for runner in self._runners.values()):
            self._is_leaving = True
            self.loop.call_later(GOODBYE, self._end)
            self._registration.goodbye()

    def _end_after_keeper(self) -> None:
        """The last project out sees the keeper end."""
        if self._is_last and self._gateway_pid and processes.identify(self._gateway_pid):
            self.loop.call_later(0.002, self._end_after_keeper)
        else:
            self._end()

    def _end(self) -> None:
        self._unlock()
        self._prober.cool()
        self._registration.close()
        self._access_log.close()
        spared = [self._gateway_pid] if self._gateway_pid else []
        left = processes.survivors((SESSION_MARKER, self.setup.session), excluding=spared)
        took = self.loop.clock() - self._stopping_since
        self._print(f"stopped in {report.render_seconds(took)}, {len(left)} processes left")
        self._control.stopped({"seconds": round(took, 3), "left": len(left)})
        self.loop.stop()

    # Small things

    def _verdict(self) -> int:
        """The exit code of a command that waited for us."""
        if self.outcome is Outcome.FAILED:
            return self.exit_code
        return 0 if self.outcome is Outcome.READY else 1

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _endpoint_of(self, service: Service) -> Endpoint:
        """Where it listens, or will: an app on its way is expected where it was told."""
        return self._endpoints.get(service.name, Endpoint("127.0.0.1", service.port))

    def _url(self, host: str) -> str:
        return f"https://{authority_of(host, self.setup.https_port)}"

    def _last_exit(self, service: Service) -> str:
        code = self._runners[service.name].last_exit
        return states.describe_exit(code) if code is not None else "it was never started"

    def _service_facts(self, runner: ServiceRunner, now: float) -> dict[str, Any]:
        state = runner.state
        endpoint = self._endpoints.get(runner.service.name)
        return {
            "name": runner.service.name,
            "state": type(state).__name__.lower(),
            "argv": list(runner.service.argv),
            "pid": runner.pid,
            "port": endpoint.port if endpoint else runner.service.port,
            "endpoint": str(endpoint) if endpoint else None,
            "uptime": round(now - state.since, 3) if isinstance(state, UP) else None,
            "restarts": runner.restarts,
            "last_exit": runner.last_exit,
            "log": str(self.setup.folder / "logs" / f"{runner.service.name}.log"),
        }

    def _colour_of(self, name: str) -> bytes:
        if not self.setup.style.colours:
            return b""
        names = list(self._runners)
        return b"\x1b[%dm" % (COLOURS[names.index(name) % len(COLOURS)] if name in names else 90)

    def _tell(self, text: str) -> None:
        """One line of devtls itself, among the services' lines."""
        self._screen.write("devtls", self.setup.style.spell(text).encode() + b"\n")

    def _print(self, line: str) -> None:
        """One line without a prefix, in order with the others."""
        self._screen.write("", self.setup.style.spell(line).encode() + b"\n")

    def _resize(self) -> None:
        if self.setup.columns is not None:
            with contextlib.suppress(OSError):
                columns = os.get_terminal_size(self.setup.screen).columns
                for runner in self._runners.values():
                    runner.resize(columns)
