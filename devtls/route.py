"""The domains below which systemd-resolved asks the gateway: which they should be, or why none, and the edit.

A hosts file has no wildcards; a name server has. `system.name_route` says what the setting looks like.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from devtls.block import Edit
from devtls.errors import DevtlsError
from devtls.model import Check, Verdict, is_local
from devtls.nginx.gateway import greet
from devtls.plan import localhost_name
from devtls.system import name_route, root
from devtls.system.door import ask_root
from devtls.system.name_route import FILE, PORT, leads, look_at_route
from devtls.system.root_script import Status
from devtls.system.run import run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from devtls.model import Authority, Notice
    from devtls.system.name_route import NameRoute
    from devtls.system.paths import Paths
    from devtls.system.root import RootCall
    from devtls.system.run import Runner

Change = Callable[[tuple[str, ...]], tuple[str, ...]]  # the user's domains as they are -> as they should be
OURS = f"127.0.0.1:{PORT}"
AS_IT_WAS = "names below a wildcard are asked for as before"


class Servers(Struct, frozen=True):
    """Whom systemd-resolved asks: `everywhere` is set for the whole machine, `links` came with its networks."""

    everywhere: tuple[str, ...]
    links: tuple[str, ...]


def parse_servers(text: str) -> Servers:
    """Return what `resolvectl dns` says; a long line of it goes on in the next one."""
    everywhere: list[str] = []
    links: list[str] = []
    current: list[str] = []
    for line in text.splitlines():
        head, _colon, rest = line.partition(":") if line[:1].strip() else ("", "", line)
        if head:
            current = everywhere if head == "Global" else links if head.startswith("Link ") else []
        current += rest.split()
    return Servers(tuple(everywhere), tuple(links))


def why_no_route(servers: Servers) -> Notice | None:
    """Return why a route would not hold, or would take all other names with it; pure.

    The servers that are set for the whole machine are one list, of which each is asked for everything. So ours has to
    be alone there, and the others to be those of a network: resolved.conf(5), "DNS=".
    """
    if others := [each for each in servers.everywhere if each != OURS]:
        return (
            f"systemd-resolved has name servers for the whole machine, {', '.join(others)}: it would ask them, too",
            (
                "Give them to the network instead, in its settings or until it restarts:",
                "  resolvectl dns LINK SERVER…",
            ),
        )
    if not servers.links:
        return (
            "systemd-resolved has no name server of a network: the gateway would be its only one",
            ("Give it one, in the settings of your network or until it restarts:", "  resolvectl dns LINK SERVER…"),
        )
    return None


def why_unanswered(domains: Iterable[str], *, dnssec: str, tls: str) -> Notice | None:
    """Return why systemd-resolved would not take the gateway's answers; pure.

    Names below .test need no signature: RFC 6761, as systemd-resolved ships it.
    """
    if tls.startswith("Global: yes"):
        fact = "systemd-resolved speaks to name servers by TLS alone (DNSOverTLS=yes), which the gateway does not"
        return fact, (
            "It may be told to do so where it can:",
            "  DNSOverTLS=opportunistic in /etc/systemd/resolved.conf",
        )
    real = [domain for domain in domains if not is_local(domain)]
    if real and not dnssec.startswith("Global: no"):
        fact = f"systemd-resolved wants signatures (DNSSEC), and names below {', '.join(real)} have none here"
        return fact, ("Take a domain below .test, or do without them:", "  DNSSEC=no in /etc/systemd/resolved.conf")
    return None


def look_at_resolved(domains: Sequence[str], run: Runner = run) -> Notice | None:
    """Ask systemd-resolved; return why these domains cannot be routed."""
    if not name_route.is_resolved_asked():
        return root.FACTS[Status.NO_RESOLVED]
    said = []
    for question in ("dns", "dnssec", "dnsovertls"):
        try:
            ended = run(["resolvectl", question])
        except DevtlsError as error:
            return str(error), error.cure
        said.append(ended.stdout.decode("utf-8", "replace"))
    return why_no_route(parse_servers(said[0])) or why_unanswered(domains, dnssec=said[1], tls=said[2])


def domains_of(served: Iterable[str]) -> tuple[str, ...]:
    """The domains of the wildcards that are served; systemd-resolved knows those below .localhost."""
    below = (name.removeprefix("*.") for name in served if name.startswith("*."))
    return tuple(dict.fromkeys(domain for domain in below if localhost_name(domain) != domain))


def wanted(named: Sequence[str], served: Iterable[str]) -> tuple[str, ...]:
    """The domains that were named; else those of all wildcards that are served.

    Raises:
        DevtlsError: there is none.
    """
    found = tuple(named) or domains_of(served)
    if not found:
        raise DevtlsError(
            "no project of yours serves a wildcard", "Serve one, or name a domain:", "  devtls hosts route love.test"
        )
    return found


def with_more(mine: Sequence[str], domains: Sequence[str]) -> tuple[str, ...]:
    """The user's domains, and these."""
    return tuple(dict.fromkeys((*mine, *domains)))


def without(mine: Sequence[str], domains: Sequence[str]) -> tuple[str, ...]:
    """The user's domains but for these; without one, none."""
    return tuple(each for each in mine if domains and each not in domains)


def judge_route(domain: str, served: Mapping[str, str], ask: Callable[[str], Check]) -> Check:
    """Say who serves names below a domain that is routed, and whether they lead here."""
    wildcard = next((each for each in served if leads((domain,), each) and each.startswith("*.")), "")
    if wildcard:
        told = ask(wildcard)
        return replace(told, fact=f"served by {served[wildcard]} · {told.fact}")
    fact, cure = unserved_notice([domain])
    return Check(f"*.{domain}", Verdict.NOTED, fact, "hosts", "route-unserved", cure)


def unserved_notice(domains: Sequence[str]) -> Notice:
    """What becomes of names that are asked of the gateway, and that nobody serves."""
    names = " ".join(domains)
    fact = f"no project of yours serves a wildcard below {', '.join(domains)}: names there lead nowhere meanwhile"
    return fact, ("Have systemd-resolved ask as before:", f"  devtls hosts route --remove {names}")


def open_port_notice() -> Notice:
    """What is worse than before: systemd-resolved asks every server of the whole machine for every name."""
    fact = (
        f"while no gateway of yours runs, any program of this machine that listens on {OURS} can say where every name"
        " leads; a certificate still tells it apart"
    )
    return fact, ("Take it back once you do not need it:", "  devtls hosts route --remove")


def refuse_strangers(domains: Sequence[str], authorities: Collection[Authority]) -> None:
    """Somebody's real site is not led here by a slip of the finger: it has to be a name that you serve.

    Raises:
        DevtlsError: with the one at fault.
    """
    for domain in domains:
        if localhost_name(domain) == domain:
            raise DevtlsError(f"systemd-resolved leads {domain} and all below it here by itself")
        if not is_local(domain) and not any(authority.covers(domain) for authority in authorities):
            raise DevtlsError(
                f"{domain} may be a real site, and no project of yours has served it",
                "Serve it first:",
                f"  devtls up {domain} '*.{domain}' …",
            )


def describe(before: Sequence[str], after: Sequence[str], left: Notice | None = None) -> Edit:
    """Return what an edit comes to."""
    added, removed = (
        tuple(name for name in one if name not in other) for one, other in ((after, before), (before, after))
    )
    return Edit(str(FILE), added, removed, tuple(after), bool(added or removed), left)


def preview(
    change: Change,
    *,
    look: Callable[[], NameRoute] = look_at_route,
    why_not: Callable[[Sequence[str]], Notice | None] = look_at_resolved,
    uid: int | None = None,
) -> Edit:
    """Return what a change would come to; what is only taken back is taken back whoever is asked."""
    found = look()
    before = found.domains_of(os.getuid() if uid is None else uid)
    after = tuple(sorted(change(before)))
    left = root.FACTS[Status.ROUTE_NOT_OURS] if found.is_changed else None
    if not left and (added := [domain for domain in after if domain not in before]):
        left = why_not(added)
    return describe(before, before if left else after, left)


def edit_route(  # noqa: PLR0913 - the world comes in as arguments
    change: Change,
    *,
    is_interactive: bool,
    asking: Callable[[RootCall], None],
    look: Callable[[], NameRoute] = look_at_route,
    why_not: Callable[[Sequence[str]], Notice | None] = look_at_resolved,
    run: Runner = run,
    uid: int | None = None,
) -> Edit:
    """Have root make a change to the user's domains, and read it back."""
    uid = os.getuid() if uid is None else uid
    wanted = preview(change, look=look, why_not=why_not, uid=uid)
    if wanted.left or not wanted.is_changed:
        return wanted
    before = look().domains_of(uid)

    def operations() -> Sequence[root.Operation]:
        return [root.RouteNames(wanted.names)]

    left: Notice | None = None
    match ask_root(operations, is_interactive=is_interactive, asking=asking, run=run, uid=uid):
        case root.RootDone(_done, failed, said):
            left = root.why_failed(failed[0][1], said) if failed else None
        case root.RootRefused(reason, cure):
            left = (f"{AS_IT_WAS}: {reason}", cure)
        case root.RootFailed(fact=fact, cure=cure):
            left = (fact, cure)
        case other:
            assert_never(other)
    now = look().domains_of(uid)
    if not left and now != wanted.names:
        left = (f"root wrote {FILE}, and it says something else", ("Look at it:", f"  cat {FILE}"))
    return describe(before, now, left)


def tell_gateway(paths: Paths) -> None:
    """Have a gateway that runs look at the route; it answers from now on, or no more."""
    with contextlib.suppress(
        DevtlsError, TimeoutError
    ):  # one that does not understand will be replaced by the next `up`
        met = greet(paths)
        if met is None:
            return
        _greeting, sockets, client = met
        for each in sockets:
            each.close()
        with client:
            client.send({"do": "look"})
            client.receive()
