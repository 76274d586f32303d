"""Do what was planned: first what cannot hurt, then one call as root, then what the user may do alone."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from devtls import hosts
from devtls.ca.store import create_authority, find_authority, find_broken, issue, load_authorities, load_leaf, set_aside
from devtls.errors import ConflictError, DevtlsError
from devtls.plan import (
    Already,
    BindPorts,
    CreateAuthority,
    EditHosts,
    IssueLeaf,
    RunService,
    TrustRoots,
    localhost_name,
    make_plan,
    without_hosts,
)
from devtls.system import binder, channel, ports, root
from devtls.system.files import make_private_directory, read_or_none
from devtls.system.run import in_child, run
from devtls.trust import receipts

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

    from devtls.look import Machine
    from devtls.model import Authority, Endpoint, Leaf, Project
    from devtls.plan import Item, Plan
    from devtls.system.paths import Paths
    from devtls.system.root import Operation
    from devtls.trust import Store

MOST_CALLS = 3  # as root: one, and again when the hosts file changed between our look and root's


class Applied(Struct):
    """What a project is served with, once its plan is done.

    Attributes:
        sockets: the gateway's, https first.
        notices: (fact, cure lines) of what could not be done; the project is served all the same.
        browsers: stores of browsers that have come to trust a root just now.
        names: what browsers are told: each domain, or its .localhost name where the hosts file is not ours to change.
    """

    authorities: tuple[Authority, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    sockets: list[socket.socket] = field(default_factory=list)
    notices: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    browsers: list[str] = field(default_factory=list)
    names: tuple[str, ...] = ()

    @property
    def https_port(self) -> int:
        """What the gateway serves https on."""
        return int(self.sockets[0].getsockname()[1])


class Told(Protocol):
    """Who is told while it happens."""

    def done(self, item: Item, fact: str = "") -> None:
        """A step was done just now, or was so already."""
        ...

    def asking(self, call: root.RootCall) -> None:
        """This is about to run as root."""
        ...


class Application:
    """One application of a plan."""

    def __init__(  # noqa: PLR0913 - what is wanted, what there is, and who is told
        self, project: Project, machine: Machine, plan: Plan, *, paths: Paths, told: Told, is_interactive: bool
    ) -> None:
        self.project = project
        self.machine = machine
        self.plan = plan
        self.paths = paths
        self.told = told
        self.is_interactive = is_interactive
        self.applied = Applied()
        self._untold: list[Item] = []
        self._impossible: list[Item] = []

    def run(self) -> Applied:
        """Do it all.

        Raises:
            ConflictError: a port was taken meanwhile.
            DevtlsError: a certificate could not be made.
        """
        self._untold = list(self.plan.items)
        self._make_certificates()
        self._tell(CreateAuthority, IssueLeaf)
        if self.plan.needs_root:
            self._use_root()
        self._trust_as_user()
        self._tell(EditHosts, TrustRoots)
        self._bind()
        self._tell(BindPorts)
        for item in self.plan.items:
            if isinstance(item, RunService):
                self.told.done(item)
        self.applied.names = tuple(self._reachable(domain) for domain in self.project.domains)
        troubles = self.machine.stores.troubles
        self.applied.notices += [*self.plan.notices, *((f"{each.store}: {each.fact}", each.cure) for each in troubles)]
        return self.applied

    def _reachable(self, domain: str) -> str:
        edited = [item for item in self.plan.items if isinstance(item, EditHosts) and item not in self._impossible]
        is_here = domain in self.machine.found.hosts_here or any(domain in item.names for item in edited)
        return domain if is_here else localhost_name(domain)

    def _tell(self, *kinds: type[Item]) -> None:
        """Tell what is done, in the plan's order, as far as these kinds reach."""
        while self._untold and isinstance(self._untold[0], (Already, *kinds)):
            item = self._untold.pop(0)
            leaf = next((leaf for leaf in self.applied.leaves if IssueLeaf(leaf.host) == item), None)
            if item not in self._impossible:
                self.told.done(item, f"valid until {leaf.not_after:%Y-%m-%d}" if leaf else "")

    # Certificates

    def _make_certificates(self) -> None:
        """Each is made whole or not at all; one that is not used in the end is the next run's "already"."""
        now = datetime.now(UTC)
        for directory in find_broken(self.paths):
            place = set_aside(directory, now)
            self.applied.notices.append(
                (f"the certificate authority in {directory} is damaged; it is in {place} now", ())
            )
        wanted = [item for item in self.plan.items if isinstance(item, CreateAuthority | IssueLeaf)]
        if wanted:
            in_child(lambda: self._issue(wanted, now))
        everything = load_authorities(self.paths)
        leaves = [leaf for host in self.plan.hosts if (leaf := load_leaf(self.paths, host, now))]
        used = [find_authority(everything, host, now) for host in self.plan.hosts]
        if len(leaves) != len(self.plan.hosts) or None in used:
            raise DevtlsError("the certificates that were just issued cannot be read", "Run the same command again.")
        self.applied.authorities = tuple(ca for ca in everything if ca in used)
        self.applied.leaves = tuple(leaves)

    def _issue(self, wanted: Sequence[CreateAuthority | IssueLeaf], now: datetime) -> None:
        for item in wanted:
            if isinstance(item, CreateAuthority):
                create_authority(self.paths, item.subtrees, now)
        authorities = load_authorities(self.paths)
        for item in wanted:
            if isinstance(item, IssueLeaf):
                authority = find_authority(authorities, item.host, now)
                if authority is None:
                    raise DevtlsError(f"no certificate authority signs for {item.host}", "Run the same command again.")
                issue(self.paths, authority, item.host, now)

    # Root

    def _use_root(self) -> None:
        """Do what needs root in one call; what root refuses is planned again without it."""
        door = self.paths.socket(make_private_directory(self.paths.state), f"bind-{os.getpid()}.sock")
        with contextlib.closing(channel.listen(door)) as server:
            try:
                self._call_root(door, server)
            finally:
                door.unlink(missing_ok=True)
        self._confirm_stores()

    def _call_root(self, door: Path, server: socket.socket) -> None:
        for _ in range(MOST_CALLS):
            operations = self._operations(door)
            if not operations:
                return
            call = root.render_call(list(operations), uid=os.geteuid(), gid=os.getegid())
            self.told.asking(call)
            uid, sudo = os.geteuid(), root.find_sudo()
            match root.call_root(call, interactive=self.is_interactive, run=run, uid=uid, sudo=sudo):
                case root.RootDone(_done, failed):
                    self._go_without(operations, dict(failed))
                    self._take_sockets(operations, server)
                    return
                case root.HostsChanged():
                    self.machine = replace(self.machine, hosts_file=read_or_none(root.HOSTS) or b"")
                case root.RootRefused(reason):
                    self._go_without_root(reason)
                    return
                case root.RootFailed(fact=fact, cure=cure):
                    self.applied.notices.append((fact, cure))
                    self._go_without_root(fact)
                    return
                case other:
                    assert_never(other)

    def _operations(self, door: Path) -> dict[Operation, Item]:
        """What root has to do, and the item of the plan that each operation is for."""
        operations: dict[Operation, Item] = {}
        for item in self.plan.items:
            if item in self._impossible:
                continue
            match item:
                case EditHosts(names):
                    old = self.machine.hosts_file
                    new = hosts.render(old, (*hosts.names_in_block(old), *names), ipv6=self.machine.found.ipv6)
                    if new != old:
                        operations[root.EditHosts(old, new)] = item
                case TrustRoots(store=name, needs_root=True):
                    for authority in self.applied.authorities:
                        change = receipts.trust(self._store(name), authority, self.paths)
                        operations |= dict.fromkeys(change.operations, item)
                case BindPorts(https, http, needs_root=True):
                    operations[root.Bind((*https, *http), door)] = item
                case _:
                    pass
        return operations

    def _take_sockets(self, operations: dict[Operation, Item], server: socket.socket) -> None:
        if any(isinstance(operation, root.Bind) for operation in operations):
            self._keep(binder.receive(server), self._ports())

    def _go_without_root(self, reason: str) -> None:
        found = replace(self.machine.found, can_be_root=False, why_not_root=reason)
        told = [item for item in self.plan.items if item not in self._untold]
        self.plan = make_plan(self.project, found)
        self._untold = [item for item in self.plan.items if item not in told]

    def _go_without(self, operations: dict[Operation, Item], failed: dict[str, int]) -> None:
        """Some of it was not possible: what that is, is not told as done, but why not, and the rest goes on."""
        for operation, item in operations.items():
            status = failed.get(_done_line(operation))
            if status is not None and item not in self._impossible:
                self._impossible.append(item)
                self.applied.notices.append(root.why_failed(status))
                if isinstance(item, EditHosts):
                    self.applied.notices.append(without_hosts(self.project, self.machine.found))

    def _confirm_stores(self) -> None:
        for item in self.plan.items:
            if isinstance(item, TrustRoots) and item.needs_root and item not in self._impossible:
                for authority in self.applied.authorities:
                    trouble = receipts.confirm(self._store(item.store), authority, self.paths)
                    if trouble:
                        self._impossible.append(item)
                        self.applied.notices.append((f"{trouble.store}: {trouble.fact}", trouble.cure))

    # The user's own

    def _trust_as_user(self) -> None:
        for item in self.plan.items:
            if not isinstance(item, TrustRoots) or item.needs_root:
                continue
            troubles = [
                trouble
                for authority in self.applied.authorities
                for trouble in receipts.trust(self._store(item.store), authority, self.paths).troubles
            ]
            if troubles:
                self._impossible.append(item)
                self.applied.notices += [(f"{trouble.store}: {trouble.fact}", trouble.cure) for trouble in troubles]
            else:
                self.applied.browsers.append(item.store)

    def _store(self, name: str) -> Store:
        return next(store for store in self.machine.stores.found if store.name == name)

    # Ports

    def _ports(self) -> BindPorts | None:
        return next((item for item in self.plan.items if isinstance(item, BindPorts)), None)

    def _bind(self) -> None:
        wanted = self._ports()
        if wanted is None:
            self.applied.sockets = list(self.machine.sockets)
        elif not self.applied.sockets:
            if wanted.needs_root:  # it was tried, and a notice says why it was not possible
                self._go_without_root("the port could not be bound")
                wanted = self._ports()
            if wanted:
                self._keep(ports.bind((*wanted.https, *wanted.http)), wanted)

    def _keep(self, binding: ports.Binding, wanted: BindPorts | None) -> None:
        """Take what was bound: without https there is nothing, without http a little less."""
        refused = {refusal.endpoint for refusal in binding.refused}
        if wanted and any(endpoint in refused for endpoint in wanted.https):
            raise ConflictError(f"port {wanted.https[0].port} cannot be had any more", *_whose(wanted.https[0]))
        if wanted and any(endpoint in refused for endpoint in wanted.http):
            fact = f"port {wanted.http[0].port} cannot be had: http:// is not redirected, https:// works"
            self.applied.notices.append((fact, _whose(wanted.http[0])))
        self.applied.sockets = list(binding.sockets)


def _done_line(operation: Operation) -> str:
    """What root says once an operation is done; it ends by becoming the binder, so of that it says nothing."""
    match operation:
        case root.EditHosts():
            return "hosts"
        case root.InstallRoot(name=name):
            return f"install {name}"
        case root.RemoveRoot(name):
            return f"remove {name}"
        case root.Bind():
            return "bind"
        case _:
            assert_never(operation)


def _whose(endpoint: Endpoint) -> tuple[str, ...]:
    owner = ports.find_owner(endpoint)
    return (f"It is taken by {owner}.", *owner.cure(endpoint.port)) if owner else ("Run the same command again.",)
