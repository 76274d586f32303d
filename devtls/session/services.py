"""The services of a session: started, followed where they listen, ended; what becomes of them is told."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Protocol

from devtls.model import Endpoint, External, Route, Scheme, authority_of, pools_of, routes_of
from devtls.supervise import state as states
from devtls.supervise.output import LogFile
from devtls.supervise.service import ServiceRunner
from devtls.system import ports, processes
from devtls.system.proxy import without_proxy

if TYPE_CHECKING:
    from devtls.model import Service, Target
    from devtls.session.setup import Setup
    from devtls.session.voice import Voice
    from devtls.supervise.state import State
    from devtls.system.loop import Loop
    from devtls.system.processes import Identity

UP = (states.Ready, states.Degraded, states.Daemonized)
VITE_HOST = "__VITE_ADDITIONAL_SERVER_ALLOWED_HOSTS"  # without it Vite answers 403 to any name but localhost


class Owner(Protocol):
    """Who is told what matters beyond the services."""

    def is_starting(self) -> bool:
        """Whether the outcome of `up` is still open."""
        ...

    def services_moved(self) -> None:
        """A service listens somewhere else than the gateway was told."""
        ...

    def service_listens(self) -> None:
        """A service is there, or is back."""
        ...

    def service_failed(self, service: Service, fact: str, exit_code: int, cure: tuple[str, ...] = ()) -> None:
        """A service will not become ready by itself."""
        ...

    def services_ended(self) -> None:
        """One more service has no process left."""
        ...


class Services:
    """All services of a project; it is the listener of each runner (supervise.service.Listener)."""

    def __init__(self, loop: Loop, setup: Setup, voice: Voice, owner: Owner) -> None:
        self._loop = loop
        self._setup = setup
        self._voice = voice
        self._owner = owner
        self._pools = pools_of(setup.project.services)
        self._endpoints: dict[str, Endpoint] = {}  # where each one was found last; the gateway is told so
        self._listening: set[str] = set()
        self.runners = {service.name: self._make_runner(service) for service in setup.project.services}

    def start(self) -> None:
        """Start them all."""
        for runner in self.runners.values():
            runner.start()

    def restart(self, name: str) -> None:
        """Restart one, all replicas of one, or all for an empty name."""
        for each in self.named(name):
            self._listening.discard(each)
            self.runners[each].restart()

    def named(self, name: str) -> tuple[str, ...]:
        """The runners of a name: a service, all its replicas, or every one for an empty name; none for a stranger's."""
        if not name:
            return tuple(self.runners)
        return (name,) if name in self.runners else tuple(each.name for each in self._pools.get(name, ()))

    def stop(self) -> None:
        """End them all in good order."""
        for runner in self.runners.values():
            runner.stop()

    def kill_now(self) -> None:
        """End them all at once."""
        for runner in self.runners.values():
            runner.kill_now()

    def is_complete(self) -> bool:
        """Whether each one listens."""
        return len(self._listening) == len(self.runners)

    def is_empty(self) -> bool:
        """Whether none has a process left."""
        return all(isinstance(runner.state, states.Stopped | states.Pending) for runner in self.runners.values())

    def endpoint(self, name: str) -> Endpoint:
        """Where a service listens, or will: one that is on its way is expected where it was told."""
        return self._endpoints.get(name, Endpoint("127.0.0.1", self.runners[name].service.port))

    def endpoints(self, pool: str) -> tuple[Endpoint, ...]:
        """Where the replicas of a service listen, or will."""
        return tuple(self.endpoint(service.name) for service in self._pools[pool])

    def target_of(self, path: str) -> Endpoint | None:
        """Where a path may be asked for without the gateway; None when plain HTTP is not what is spoken there."""
        route = self._route_of(path)
        return None if route.is_stripped else self._plain_endpoint(route.target)

    def answers_at(self, path: str) -> bool:
        """Whether an HTTP server, and no folder, redirect or gRPC, gets what is asked for at a path."""
        target = self._route_of(path).target
        if isinstance(target, str):
            return not self._pools[target][0].scheme.is_grpc
        return isinstance(target, External) and not target.scheme.is_grpc

    def _route_of(self, path: str) -> Route:
        """The longest prefix wins; "/" is always there."""
        routes = routes_of(self._setup.project.routes, self._setup.project.domains[0])
        return next(route for route in routes if f"{path}/".startswith(f"{route.prefix.rstrip('/')}/"))

    def _plain_endpoint(self, target: Target) -> Endpoint | None:
        if isinstance(target, str):
            first = self._pools[target][0]
            return self.endpoint(first.name) if first.scheme is Scheme.HTTP else None
        if isinstance(target, External) and target.scheme is Scheme.HTTP and isinstance(target.address, Endpoint):
            return target.address
        return None

    def recorded(self) -> list[Identity]:
        """Every process of theirs that has been seen."""
        return [identity for runner in self.runners.values() for identity in runner.recorded]

    def last_exit(self, name: str) -> str:
        """How a service ended last, in words."""
        code = self.runners[name].last_exit
        return states.describe_exit(code) if code is not None else "was never started"

    def tell_who_remains(self) -> None:
        """Say who keeps the end waiting."""
        for runner in self.runners.values():
            for identity in runner.waiting_for:
                name = processes.describe(identity.pid)
                self._voice.tell(f"waiting for {runner.service.name} (pid {identity.pid}, {name})")

    def resize(self) -> None:
        """The terminal has another width."""
        if self._setup.columns is not None:
            with contextlib.suppress(OSError):
                columns = os.get_terminal_size(self._setup.screen).columns
                for runner in self.runners.values():
                    runner.resize(columns)

    def facts(self) -> list[dict[str, Any]]:
        """Each one for JSON."""
        return [self._facts(runner) for runner in self.runners.values()]

    # supervise.service.Listener

    def on_output(self, service: Service, lines: bytes) -> None:
        """Whole lines that a service printed."""
        self._voice.pass_on(service.name, lines)

    def on_state(self, service: Service, now: State) -> None:
        """A service changed."""
        name = service.name
        is_first_start = self._owner.is_starting() and name not in self._listening
        match now:
            case states.Exited() | states.Backoff(attempt=1, was_ready=False) if is_first_start:
                self._owner.service_failed(service, f"{name} {self.last_exit(name)} before it listened", 1)
            case states.Exited():
                self._listening.discard(name)
                self._voice.tell(f"{name} {self.last_exit(name)}")
            case states.Backoff():
                self._listening.discard(name)
                self._voice.tell(f"{name} {self.last_exit(name)}; it is started again")
            case states.Failed(reason):
                self._listening.discard(name)
                self._owner.service_failed(service, f"{name}: {reason}", 1)
            case states.Blocked(owner):
                self._listening.discard(name)
                self._blocked(service, owner)
            case states.Degraded(detail=detail):
                self._voice.tell(f"{name} does not answer: {detail}")
            case states.Stopped():
                self._owner.services_ended()
            case _:
                pass

    def on_listening(self, service: Service, endpoint: Endpoint) -> None:
        """A service listens, where it was told to or elsewhere."""
        has_moved = endpoint != self.endpoint(service.name)
        is_back = service.name not in self._listening and not self._owner.is_starting()
        self._listening.add(service.name)
        self._endpoints[service.name] = endpoint
        if endpoint.port != service.port:
            self._voice.tell(f"{service.name} was given PORT={service.port} and listens on {endpoint}: followed there")
        if is_back:
            self._voice.tell(f"{service.name} is back")
        if has_moved:
            self._owner.services_moved()
        self._owner.service_listens()

    def on_candidates(self, service: Service, endpoints: tuple[Endpoint, ...]) -> None:
        """A service listens elsewhere than it was told; an HTTP answer decides where."""
        from devtls.checks.liveness import find_http

        def found(answering: tuple[Endpoint, ...]) -> None:
            if len(answering) > 1:
                self._voice.tell(f"{service.name} answers on {', '.join(map(str, answering))}: the first is taken")
            if answering:
                self.runners[service.name].adopt(answering[0])

        find_http(self._loop, endpoints, found)

    def _blocked(self, service: Service, told: str) -> None:
        owner = ports.find_owner(Endpoint("127.0.0.1", service.port))
        fact = f"port {service.port}, which {service.name} should have, is taken by {told}"
        cure = owner.cure(service.port) if owner else ()
        self._owner.service_failed(service, fact, 4, (*cure, "Or give the app another port:", "  --port N"))

    def _make_runner(self, service: Service) -> ServiceRunner:
        setup = self._setup
        return ServiceRunner(
            self._loop,
            service,
            environment=self._environment_of(service),
            session=setup.session,
            listener=self,
            log=LogFile(setup.log(service.name)),
            columns=setup.columns,
            has_colours=setup.style.colours,
            start_timeout=setup.project.start_timeout,
            may_read=self._voice.screen.has_room,
        )

    def _environment_of(self, service: Service) -> dict[str, str]:
        """The user's environment, then what tells the app where it lives, then what the user said for this service.

        No proxy is asked for what is served here, whoever said that there is one.
        """
        environment = {
            VITE_HOST: self._setup.project.domains[0],
            **self._setup.environment,
            **self._setup.trust.get(service.name, {}),
            "PORT": str(service.port),
            "HOST": "127.0.0.1",
            "DEVTLS_URL": f"https://{authority_of(self._setup.names[0], self._setup.https_port)}",
            **service.environment,
        }
        return environment | without_proxy(environment, self._setup.hosts)

    def _url(self, name: str) -> str:
        """Where a browser finds a service: the first domain, and the path of its route."""
        routes = self._setup.project.routes
        route = next((route for route in routes if route.target == name), Route("/", name))
        host = next((name for name in self._setup.names if route.is_for(name)), self._setup.names[0])
        return f"https://{authority_of(host, self._setup.https_port)}{route.prefix.rstrip('/')}"

    def _facts(self, runner: ServiceRunner) -> dict[str, Any]:
        name, state = runner.service.name, runner.state
        endpoint = self._endpoints.get(name) if name in self._listening else None
        return {
            "name": name,
            "state": type(state).__name__.lower(),
            "url": self._url(runner.service.upstream),
            "argv": list(runner.service.argv),
            "pid": runner.pid,
            "port": endpoint.port if endpoint else runner.service.port,
            "endpoint": str(endpoint) if endpoint else None,
            "uptime": round(self._loop.clock() - state.since, 3) if isinstance(state, UP) else None,
            "restarts": runner.restarts,
            "last_exit": runner.last_exit,
            "log": str(self._setup.log(name)),
        }
