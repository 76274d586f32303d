"""Do what was planned: first what cannot hurt, then one call as root, then what the user may do alone."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from devtls import hosts
from devtls.apply import certificates, listening
from devtls.plan import Already, BindPorts, CreateAuthority, EditHosts, IssueLeaf, RetireRoots, RunService, TrustRoots
from devtls.system import binder, channel, ports, root
from devtls.system.door import ask_root, done_line
from devtls.system.files import make_private_directory, read_or_none
from devtls.trust import Held, receipts
from devtls.trust.nss import NssStore

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from devtls.look import Machine
    from devtls.model import Authority, Leaf, Notice
    from devtls.plan import Found, Item, Plan
    from devtls.system.paths import Paths
    from devtls.system.root import Operation
    from devtls.trust import Change, Store


class Applied(Struct):
    """What there is once a plan is done.

    Attributes:
        sockets: the gateway's, https first.
        notices: (fact, cure lines) of what could not be done; the project is served all the same.
        browsers: stores of browsers that have come to trust a root just now.
        named: the hosts that the hosts file sends to this machine.
    """

    authorities: tuple[Authority, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    sockets: list[socket.socket] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    browsers: list[str] = field(default_factory=list)
    named: frozenset[str] = frozenset()

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
    """One application of a plan.

    Args:
        machine: what was found.
        plan: what is to be done.
        replan: plans again from what was found, when it turns out that root cannot be had.
        sockets: those of the gateway that runs.
    """

    def __init__(  # noqa: PLR0913 - what is wanted, what there is, and who is told
        self,
        machine: Machine,
        plan: Plan,
        *,
        replan: Callable[[Found], Plan],
        paths: Paths,
        told: Told,
        is_interactive: bool,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        self.machine = machine
        self.plan = plan
        self.replan = replan
        self.paths = paths
        self.told = told
        self.is_interactive = is_interactive
        self.applied = Applied(sockets=list(sockets))
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
        self._use_own_rights()
        if self.machine.found.outdated:
            certificates.discard_outdated(self.paths, self.machine.found.outdated, self.machine.stores.found)
        self._tell(EditHosts, TrustRoots, RetireRoots)
        self._bind()
        self._tell(BindPorts)
        for item in self.plan.items:
            if isinstance(item, RunService):
                self.told.done(item)
        edited = [item for item in self._possible(EditHosts) if isinstance(item, EditHosts)]
        self.applied.named = self.machine.found.hosts_here.union(*(item.names for item in edited))
        self.applied.notices += self.plan.notices
        return self.applied

    def _possible(self, *kinds: type[Item]) -> list[Item]:
        return [item for item in self.plan.items if isinstance(item, kinds) and item not in self._impossible]

    def _tell(self, *kinds: type[Item]) -> None:
        """Tell what is done, in the plan's order, as far as these kinds reach."""
        while self._untold and isinstance(self._untold[0], (Already, *kinds)):
            item = self._untold.pop(0)
            leaf = next((leaf for leaf in self.applied.leaves if IssueLeaf(leaf.host) == item), None)
            if item not in self._impossible:
                self.told.done(item, f"valid until {leaf.not_after:%Y-%m-%d}" if leaf else "")

    def _make_certificates(self) -> None:
        wanted = [item for item in self.plan.items if isinstance(item, CreateAuthority | IssueLeaf)]
        made = certificates.make(wanted, self.plan.certified, self.plan.subtrees, self.paths)
        self.applied.leaves = made.leaves
        self.applied.authorities = made.authorities
        self.applied.notices += made.notices

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
        asked: dict[Operation, Item] = {}

        def operations() -> Sequence[Operation]:
            asked.clear()
            asked.update(self._operations(door, read_or_none(root.HOSTS) or b""))
            return list(asked)

        match ask_root(operations, is_interactive=self.is_interactive, asking=self.told.asking):
            case root.RootDone(_done, failed, said):
                self._go_without(asked, dict(failed), said)
                if any(isinstance(operation, root.Bind) for operation in asked):
                    self._keep(binder.receive(server))
            case root.RootRefused(reason):
                self._go_without_root(reason)
            case root.RootFailed(fact=fact, cure=cure):
                self.applied.notices.append((fact, cure))
                self._go_without_root(fact)
            case other:
                assert_never(other)

    def _operations(self, door: Path, old: bytes) -> dict[Operation, Item]:
        """What root has to do, and the item of the plan that each operation is for."""
        operations: dict[Operation, Item] = {}
        for item in self._possible(EditHosts, TrustRoots, RetireRoots, BindPorts):
            match item:
                case EditHosts(names):
                    new = hosts.render(old, (*hosts.names_in_block(old), *names), ipv6=self.machine.found.ipv6)
                    if new != old:
                        operations[root.EditHosts(old, new)] = item
                case TrustRoots(needs_root=True) | RetireRoots(needs_root=True):
                    changes = self._change(item)
                    operations |= dict.fromkeys((each for change in changes for each in change.operations), item)
                case BindPorts(https, http, needs_root=True):
                    operations[root.Bind((*https, *http), door)] = item
                case _:
                    pass
        return operations

    def _go_without_root(self, reason: str) -> None:
        told = [item for item in self.plan.items if item not in self._untold]
        self.plan = self.replan(replace(self.machine.found, can_be_root=False, why_not_root=reason))
        self._untold = [item for item in self.plan.items if item not in told]

    def _go_without(self, operations: dict[Operation, Item], failed: dict[str, int], said: str) -> None:
        """Some of it was not possible: what that is, is not told as done, but why not, and the rest goes on."""
        for operation, item in operations.items():
            status = failed.get(done_line(operation))
            if status is not None and item not in self._impossible:
                self._impossible.append(item)
                self.applied.notices.append(root.why_failed(status, said))
                if isinstance(item, EditHosts) and self.plan.without_hosts:
                    self.applied.notices.append(self.plan.without_hosts)

    def _confirm_stores(self) -> None:
        for item in self._possible(TrustRoots):
            if isinstance(item, TrustRoots) and item.needs_root:
                for authority in self.applied.authorities:
                    trouble = receipts.confirm(self._store(item.store), authority, self.paths)
                    if trouble:
                        self._impossible.append(item)
                        self.applied.notices.append((f"{trouble.store}: {trouble.fact}", trouble.cure))

    # The user's own

    def _use_own_rights(self) -> None:
        for item in self._possible(TrustRoots, RetireRoots):
            if not isinstance(item, TrustRoots | RetireRoots) or item.needs_root:
                continue
            troubles = [trouble for change in self._change(item) for trouble in change.troubles]
            if troubles:
                self._impossible.append(item)
                self.applied.notices += [(f"{trouble.store}: {trouble.fact}", trouble.cure) for trouble in troubles]
            elif isinstance(item, TrustRoots) and isinstance(self._store(item.store), NssStore):
                self.applied.browsers.append(item.store)

    def _change(self, item: TrustRoots | RetireRoots) -> list[Change]:
        """Have a store take the roots in, or let the outdated ones go."""
        store = self._store(item.store)
        if isinstance(item, TrustRoots):
            return [receipts.trust(store, authority, self.paths) for authority in self.applied.authorities]
        outdated = [ca for ca in self.machine.found.outdated if ca.id in item.ids]
        return [store.untrust(Held(ca.name, ca.fingerprint)) for ca in outdated]

    def _store(self, name: str) -> Store:
        return next(store for store in self.machine.stores.found if store.name == name)

    # Ports

    def _ports(self) -> BindPorts | None:
        return next((item for item in self.plan.items if isinstance(item, BindPorts)), None)

    def _bind(self) -> None:
        wanted = self._ports()
        if wanted is None or self.applied.sockets:
            return
        if wanted.needs_root:  # it was tried, and a notice says why it was not possible
            self._go_without_root("the port could not be bound")
            wanted = self._ports()
        if wanted:
            self._keep(ports.bind((*wanted.https, *wanted.http)))

    def _keep(self, binding: ports.Binding) -> None:
        wanted = self._ports()
        if wanted:
            self.applied.notices += listening.missing(binding, wanted)
        self.applied.sockets = list(binding.sockets)
