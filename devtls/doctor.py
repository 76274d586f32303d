"""What this machine makes of our authorities, store by store and client by client; nothing is changed."""

from __future__ import annotations

import contextlib
import shlex
import socket
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from devtls import block, hosts
from devtls.ca import store as ca
from devtls.ca.records import refuse_readable_by_others
from devtls.checks.detours import judge_detours
from devtls.checks.names import judge_name, look_up
from devtls.checks.proxy_settings import find_detours
from devtls.checks.resolution import explain, read_resolver
from devtls.errors import DevtlsError
from devtls.model import HTTPS, Check, Verdict
from devtls.system.low_ports import FILE, LOW, look_at_low_ports
from devtls.system.name_route import look_at_route
from devtls.system.root import FACTS, HOSTS
from devtls.system.root_script import Status
from devtls.system.run import run
from devtls.trust import find_stores, receipts
from devtls.trust.clients import Roots, Trusting, find_clients
from devtls.trust.leftovers import find_leftovers
from devtls.trust.nss import NssStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from devtls.model import Authority
    from devtls.system.low_ports import LowPorts
    from devtls.system.name_route import NameRoute
    from devtls.system.paths import Paths
    from devtls.trust import Stores
    from devtls.trust.clients import Client, FoundClient
    from devtls.trust.handshakes import Told
    from devtls.trust.listener import Certificate

SERVED_WITHIN = 2.0  # s
QUICK = ("curl", "Python", "Java")  # the clients that tell within a second whether a store forgot a root
TRUST = ("Have it trusted:", "  devtls trust")
EXEC = ("Services of `devtls up` trust them; in a terminal:", "  devtls exec -- COMMAND", '  eval "$(devtls env)"')


def examine(
    names: Sequence[str], paths: Paths, environment: Mapping[str, str], *, is_quick: bool = False
) -> tuple[Check, ...]:
    """Return every fact, in the order in which they are told; with `is_quick`, browsers and Java are not started."""
    now = datetime.now(UTC)
    known = ca.load_authorities(paths)
    wanted = tuple(each for each in known if not names or any(each.covers(name) for name in names))
    stores = find_stores(paths.home, environment, run)
    checks = [*_authorities(wanted, paths, now), *_strangers(names, known), *_stores(stores, wanted)]
    certificates = certificates_of([each for each in wanted if each.not_before <= now < each.not_after], now)
    if certificates:
        checks += _clients(certificates, stores, wanted, environment, is_quick=is_quick)
    checks += _served(paths, wanted)
    return (
        *checks,
        *_leftovers(paths, environment, stores),
        *_receipts(paths),
        *_hosts(paths, environment),
        *judge_ports(look_at_low_ports()),
        *judge_route(look_at_route()),
    )


def _authorities(authorities: Sequence[Authority], paths: Paths, now: datetime) -> Iterator[Check]:
    for broken in ca.find_broken(paths):
        away = (
            "Make a new one:",
            f"  mv {shlex.quote(str(broken))} {shlex.quote(f'{broken}.broken')}",
            "  devtls trust",
        )
        yield _failed(f"CA {broken.name}", "authority", "is damaged", away)
    for authority in authorities:
        subject, until = f"CA for {_names(authority)}", f"{authority.not_after:%Y-%m-%d}"
        limits = f"can sign these names and those below them, until {until}"
        if now < authority.not_before:
            fact = f"begins on {authority.not_before:%Y-%m-%d}: this machine's clock is behind, or was ahead; not used"
            yield Check(subject, Verdict.NOTED, fact, "clock", cure=("Set the clock, if it is behind; look:", "  date"))
        elif now >= authority.not_after:
            yield _failed(subject, "authority", f"ended on {until}", ("Make its successor:", "  devtls trust"))
        elif authority.not_after - now <= ca.RENEWED_BEFORE:
            cure = ("Make its successor:", "  devtls trust")
            yield Check(subject, Verdict.NOTED, f"ends on {until}", "authority", cure=cure)
        else:
            yield _secret(subject, authority.directory / "issuer.pem", limits)


def _secret(subject: str, key: Path, limits: str) -> Check:
    try:
        refuse_readable_by_others(key)
    except DevtlsError as error:
        return _failed(subject, "authority", str(error), error.cure)
    except OSError as error:
        return _failed(subject, "authority", f"its key cannot be read: {error.strerror}", ())
    return Check(subject, Verdict.PASSED, limits)


def _strangers(names: Sequence[str], known: Sequence[Authority]) -> Iterator[Check]:
    for name in names:
        if not any(each.covers(name) for each in known):
            yield _failed(f"CA for {name}", "authority", "is not there", ("Make it:", f"  devtls trust {name}"))
    if not names and not known:
        cure = ("Make the first, and have it trusted:", "  devtls trust")
        yield Check("CA", Verdict.NOTED, "there is none yet", "authority", cure=cure)


def _stores(stores: Stores, authorities: Sequence[Authority]) -> Iterator[Check]:
    for store in stores.everything if authorities else ():
        missing = [each for each in authorities if not store.is_trusted(each)]
        if not missing:
            yield Check(f"trust: {store.name}", Verdict.PASSED, f"trusts {_all_names(authorities)}")
        elif store in stores.left:
            fact = f"does not trust {_all_names(missing)}, and only you can change it"
            cure = tuple(line for each in missing for trouble in store.trust(each).troubles for line in trouble.cure)
            yield Check(f"trust: {store.name}", Verdict.NOTED, fact, "store", cure=(*cure, *EXEC))
        else:
            yield _failed(f"trust: {store.name}", "store", f"does not trust {_all_names(missing)}", TRUST)
    for trouble in stores.troubles:
        yield Check(f"trust: {trouble.store}", Verdict.NOTED, trouble.fact, "store", cure=trouble.cure)


def certificates_of(authorities: Sequence[Authority], now: datetime) -> tuple[tuple[Authority, Certificate], ...]:
    """A leaf of each authority, in memory alone; one whose key cannot be used was told about."""
    from devtls.ca.profile import issue_leaf
    from devtls.trust.listener import Certificate

    made = []
    for authority in authorities:
        key = authority.directory / "issuer.pem"
        try:
            refuse_readable_by_others(key)
            leaf = issue_leaf(key.read_bytes(), host_for(authority), now=now)
        except (OSError, ValueError, TypeError, DevtlsError):
            continue
        made.append((authority, Certificate(host_for(authority), leaf.fullchain, leaf.key)))
    return tuple(made)


def host_for(authority: Authority) -> str:
    """A name to ask for. Not localhost: browsers treat it in ways of their own."""
    return "devtls.test" if authority.covers("devtls.test") else authority.names[0]


def _clients(
    shown: Sequence[tuple[Authority, Certificate]],
    stores: Stores,
    authorities: Sequence[Authority],
    environment: Mapping[str, str],
    *,
    is_quick: bool,
) -> Iterator[Check]:
    from devtls.trust.handshakes import Question, ask_all

    profile = _firefox_profile(stores)
    found = [
        each
        for each in find_clients(environment)
        if not (is_quick and (each.client.is_browser or each.client.roots is Roots.JAVA))
    ]
    for each in [each for each in found if each.client.roots is Roots.FIREFOX and not profile]:
        found.remove(each)
        cure = ("Start it once, then:", "  devtls trust")
        yield Check(
            each.client.name, Verdict.NOTED, "was never started by you: it has no profile yet", "client", cure=cure
        )
    certificates = tuple(certificate for _authority, certificate in shown)
    asked = ask_all([Question(each, certificates, environment, profile) for each in found])
    system_trusts = all(
        store.is_trusted(each) for store in stores.found if store.name == "system store" for each in authorities
    )
    own = [each for each in found if _reads_no_store(each.client, system_trusts=system_trusts)]
    cured = _ask_trusting(own, certificates, authorities, environment)
    for each, told in zip(found, asked, strict=True):
        judged = judge_client(each, tuple(zip((a for a, _ in shown), told, strict=True)), system_trusts=system_trusts)
        if judged.code == "client-own-roots" and each.client.name not in cured:
            judged = replace(judged, verdict=Verdict.FAILED, fact=f"{judged.fact}; with `devtls exec`, too")
        yield judged


def _ask_trusting(
    clients: Sequence[FoundClient],
    certificates: tuple[Certificate, ...],
    authorities: Sequence[Authority],
    environment: Mapping[str, str],
) -> frozenset[str]:
    """The names of the clients that trust all of them in the environment that `devtls exec` makes."""
    from devtls.trust.handshakes import Question, ask_all
    from devtls.trust.listener import Answer
    from devtls.trust.runtimes import prepare

    with tempfile.TemporaryDirectory(prefix="devtls-") as folder:
        prepared = prepare(environment, [each.root for each in authorities], Path(folder) / "environment")
        trusting = {**environment, **prepared.variables}
        asked = ask_all([Question(each, certificates, trusting) for each in clients])
    accepted = zip(clients, asked, strict=True)
    return frozenset(
        each.client.name for each, told in accepted if all(answer.answer is Answer.ACCEPTED for answer in told)
    )


def who_trusts(authorities: Sequence[Authority], paths: Paths, environment: Mapping[str, str]) -> Trusting:
    """Ask the quick clients of the stores whether they trust any of these authorities, led by no variable of ours."""
    from devtls.trust.handshakes import who_still_trusts
    from devtls.trust.runtimes import directory_of

    ours = str(directory_of(paths))
    bare = {name: value for name, value in environment.items() if ours not in value}
    clients = [each for each in find_clients(bare) if each.client.name in QUICK]
    certificates = tuple(certificate for _authority, certificate in certificates_of(authorities, datetime.now(UTC)))
    if not certificates:
        return Trusting()
    trusting = who_still_trusts(certificates, clients, bare)
    return Trusting(tuple(each.client.name for each in clients), tuple(dict.fromkeys(name for name, _host in trusting)))


def judge_client(found: FoundClient, told: Sequence[tuple[Authority, Told]], *, system_trusts: bool) -> Check:
    """What a client's answers come to; pure."""
    from devtls.trust.listener import Answer

    client = found.client
    refused = [authority for authority, each in told if each.answer is Answer.REFUSED]
    silent = [each for _authority, each in told if each.answer is Answer.SILENT]
    if refused:
        alerts = dict.fromkeys(each.alert for _authority, each in told if each.alert)
        evidence = tuple(f"it said: {alert}" for alert in alerts)
        fact = f"refuses {_all_names(refused)}"
        if _reads_no_store(client, system_trusts=system_trusts):
            fact = f"{fact}: it takes its roots from its own list"
            return Check(client.name, Verdict.NOTED, fact, "client", "client-own-roots", EXEC, evidence)
        fact = f"{fact} ({client.roots})"
        return Check(client.name, Verdict.FAILED, fact, "client", "client-refuses", TRUST, evidence)
    if silent:
        fact = f"could not be asked: {silent[0].said or 'it said nothing'}"
        return Check(client.name, Verdict.UNKNOWN, fact, "client", "client-silent", evidence=(found.program,))
    return Check(client.name, Verdict.PASSED, f"trusts {_all_names([authority for authority, _ in told])}")


def _reads_no_store(client: Client, *, system_trusts: bool) -> bool:
    """Whether `devtls trust` changes nothing for it: it has a list of its own, or does not read the system's store."""
    return client.roots is Roots.OWN or (client.roots is Roots.SYSTEM and system_trusts)


def _firefox_profile(stores: Stores) -> Path | None:
    """The profile that was used last; the others are told about as stores."""
    places = [each.place for each in stores.found if isinstance(each, NssStore) and each.name.startswith("Firefox")]
    return max(places, key=lambda place: _changed(place / "prefs.js"), default=None)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _served(paths: Paths, authorities: Sequence[Authority]) -> Iterator[Check]:
    """What the gateway shows for each host that it serves, read off a handshake."""
    import ssl

    names: Iterable[str] = ()
    with contextlib.suppress(DevtlsError):  # another version's gateway, which the check of the hosts file tells
        names = block.served_names(paths)
    for host in sorted(name for name in names if "*" not in name):
        able = [each for each in authorities if each.covers(host)]
        if not able:
            continue
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata="".join(each.root.read_text("ascii") for each in able))
        try:
            with (
                socket.create_connection(("127.0.0.1", HTTPS), SERVED_WITHIN) as connection,
                context.wrap_socket(connection, server_hostname=host) as secured,
            ):
                shown = secured.getpeercert() or {}
        except ssl.SSLCertVerificationError as error:
            cure = ("Restart the project that serves it:", "  devtls down", "  devtls up …")
            yield _failed(
                f"https://{host}", "certificate", f"is served, and not believed: {error.verify_message}", cure
            )
        except OSError:  # nobody listens, or nobody serves this host
            continue
        else:
            until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
            pairs = (pair for names in shown.get("issuer", ()) for pair in names)
            issuer = next((pair[1] for pair in pairs if pair[0] == "commonName"), "somebody")
            yield Check(f"https://{host}", Verdict.PASSED, f"is served by {issuer}, valid until {until:%Y-%m-%d}")


def _leftovers(paths: Paths, environment: Mapping[str, str], stores: Stores) -> Iterator[Check]:
    for each in find_leftovers(paths.home, environment, stores.everything):
        trusted = f"its root is trusted by {', '.join(each.stores)}" if each.stores else "its root is in no store"
        keys = f"its key {each.keys[0]} can sign any site" if each.keys else "its key is not where it keeps it"
        cure = ("Remove it, when you do not need it any more:", *each.cure)
        yield Check(each.tool, Verdict.NOTED, f"{keys}; {trusted}", "leftover", "leftover-root", cure)


def _receipts(paths: Paths) -> Iterator[Check]:
    try:
        unfinished = [each for each in receipts.load_receipts(paths) if not each.done]
    except DevtlsError as error:
        yield _failed("trust.json", "receipt", str(error), error.cure)
        return
    for each in unfinished:
        fact = f"adding {each.root} was begun and not confirmed"
        yield Check(each.store, Verdict.NOTED, fact, "receipt", cure=("Finish it:", "  devtls trust"))


def _hosts(paths: Paths, environment: Mapping[str, str]) -> Iterator[Check]:
    """Whether the names that are served here lead here, by the resolver that programs use, and who would not ask it."""
    try:
        names = hosts.names_in_block(block.read_here())
    except DevtlsError as error:
        yield Check(str(HOSTS), Verdict.UNKNOWN, str(error), "hosts", cure=error.cure)
        return
    if names:
        yield _block(names, paths)
    for name in names:
        addresses = look_up(name)
        found = judge_name(name, addresses)
        if found.verdict is not Verdict.PASSED:
            yield explain(found, addresses, read_resolver())
    if names:
        yield from judge_detours(find_detours(environment, paths.home), names)


def _block(names: Sequence[str], paths: Paths) -> Check:
    try:
        return block.judge_block(names, block.served_names(paths))
    except DevtlsError as error:
        return Check(str(HOSTS), Verdict.UNKNOWN, str(error), "hosts", cure=error.cure)


def judge_ports(found: LowPorts) -> Iterator[Check]:
    """Who may listen on 80 and 443, when that is not root alone; pure."""
    subject, anybody = f"ports from {LOW} up", "every user of this machine may listen on them"
    if found.is_changed:
        fact = f"{FILE} is not as devtls wrote it; every user may listen from {found.start} up"
        yield Check(subject, Verdict.NOTED, fact, "ports", "ports-changed", ("Look at it:", f"  cat {FILE}"))
    elif found.kept and not found.is_low:
        fact = f"{FILE} is there, and something else had it that every user may listen from {found.start} up only"
        cure = ("Set it again; what sets it later at a start, is below:", "  devtls trust --low-ports")
        look = "  grep -rs ip_unprivileged_port_start /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d"
        yield Check(subject, Verdict.NOTED, fact, "ports", "ports-high", (*cure, look))
    elif found.kept:
        yield Check(subject, Verdict.PASSED, f"{anybody}: `devtls trust --low-ports`, by user {found.kept.uid}")
    elif found.is_low:
        yield Check(subject, Verdict.PASSED, f"{anybody}, by a setting that is not of devtls")


def judge_route(found: NameRoute) -> Iterator[Check]:
    """Whom systemd-resolved asks for names below wildcards, when that is the gateway; pure."""
    if found.is_changed:
        fact, cure = FACTS[Status.ROUTE_NOT_OURS]
        yield Check("systemd-resolved", Verdict.NOTED, fact, "hosts", "route-changed", cure)
    elif found.kept:
        users = " and ".join(str(uid) for uid in sorted({each.uid for each in found.kept.routed}))
        fact = f"asks the gateway for names below {', '.join(found.domains)}: `devtls hosts route`, by user {users}"
        yield Check("systemd-resolved", Verdict.PASSED, fact)


def _failed(subject: str, layer: str, fact: str, cure: Sequence[str]) -> Check:
    return Check(subject, Verdict.FAILED, fact, layer, cure=tuple(cure))


def _names(authority: Authority) -> str:
    return " and ".join(authority.names)


def _all_names(authorities: Sequence[Authority]) -> str:
    return ", ".join(name for each in authorities for name in each.names)
