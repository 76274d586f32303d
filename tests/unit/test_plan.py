from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from devtls.errors import ConflictError, DevtlsError
from devtls.model import DEFAULT_HOST, Authority, Endpoint, Leaf, Project, Route, Service
from devtls.plan import (
    Already,
    BindPorts,
    CreateAuthority,
    EditHosts,
    Found,
    IssueLeaf,
    LowerPorts,
    Plan,
    Port,
    PortState,
    RetireRoots,
    RunService,
    ServeSite,
    StartGateway,
    StoreFound,
    TrustRoots,
    hosts_of,
    make_plan,
    make_ports_plan,
    make_trust_plan,
    subtrees_of,
)

UNTIL = datetime(2030, 1, 2, tzinfo=UTC)
LOCAL = Authority("00000001", ("localhost", "test"), Path("ca/1"), "", UNTIL)
CAT = Authority("00000002", ("love.cat",), Path("ca/2"), "", UNTIL)
BOTH = frozenset({LOCAL.id, CAT.id})
NSS = StoreFound("Chromium", needs_root=False, trusted=frozenset())
DEBIAN = StoreFound("system store", needs_root=True, trusted=frozenset())
HOSTS = ("love.cat", "love.cat.localhost")
HTTPS = (Endpoint("127.0.0.1", 443), Endpoint("::1", 443))
HTTP = (Endpoint("127.0.0.1", 80), Endpoint("::1", 80))


def leaf(host: str) -> Leaf:
    return Leaf(host, Path("leaf.pem"), Path("leaf.key"), 1, UNTIL)


def project(*domains: str, https_port: int | None = None) -> Project:
    directory = Path("/home/dev/shop")
    services = (Service("web", ("node", "app.js"), 3000, directory),)
    return Project(directory, domains or ("love.cat",), services, (Route("/", "web"),), https_port=https_port)


FRESH = Found(
    can_be_root=True,
    why_not_root="",
    ipv6=True,
    authorities=(),
    leaves=(),
    hosts_here=frozenset(),
    hosts_foreign=(),
    stores=(DEBIAN, NSS),
    gateway=None,
    nginx="nginx 1.22.1",
    https=Port(443, PortState.NEEDS_ROOT),
    http=Port(80, PortState.NEEDS_ROOT),
)
DONE = replace(
    FRESH,
    authorities=(LOCAL, CAT),
    leaves=tuple(map(leaf, (*HOSTS, DEFAULT_HOST))),
    hosts_here=frozenset(HOSTS),
    stores=(replace(DEBIAN, trusted=BOTH), replace(NSS, trusted=BOTH)),
    gateway=HTTPS,
)
ROOTLESS = replace(FRESH, can_be_root=False, why_not_root="there is no sudo on this machine")


def facts_of(plan: Plan) -> list[str]:
    return [fact for fact, _cure in plan.notices]


def test_a_plan_for_a_fresh_machine_says_all_that_is_done_in_order() -> None:
    both = (("localhost", "test"), ("love.cat",))
    assert make_plan(project(), FRESH) == Plan(
        items=(
            CreateAuthority(("localhost", "test")),
            CreateAuthority(("love.cat",)),
            IssueLeaf("love.cat"),
            IssueLeaf("love.cat.localhost"),
            IssueLeaf(DEFAULT_HOST),
            EditHosts(HOSTS),
            TrustRoots("system store", True, both),
            TrustRoots("Chromium", False, both),
            BindPorts(HTTPS, HTTP, True),
            StartGateway("nginx 1.22.1"),
            ServeSite(HOSTS),
            RunService("web", ("node", "app.js"), 3000),
        ),
        notices=(),
        hosts=HOSTS,
        subtrees=both,
        without_hosts=(
            "/etc/hosts is as it was; browsers reach https://love.cat.localhost",
            ("Have root add this line, for the names themselves:", "  127.0.0.1 love.cat love.cat.localhost"),
        ),
    )


def test_a_plan_for_a_machine_where_all_is_so_only_serves_the_site_and_runs_the_app() -> None:
    plan = make_plan(project(), DONE)
    assert [item for item in plan.items if not isinstance(item, Already)] == [
        ServeSite(HOSTS),
        RunService("web", ("node", "app.js"), 3000),
    ]
    assert plan.items[:7] == (
        Already("CA for localhost and test", "valid until 2030-01-02"),
        Already("CA for love.cat", "valid until 2030-01-02"),
        Already("certificate love.cat", "valid until 2030-01-02"),
        Already("certificate love.cat.localhost", "valid until 2030-01-02"),
        Already("certificate localhost, 127.0.0.1", "valid until 2030-01-02"),
        Already("/etc/hosts", "love.cat, love.cat.localhost"),
        Already("trust: system store"),
    )
    assert plan.notices == ()
    assert not plan.needs_root


def test_a_domain_that_is_added_adds_only_what_is_its_own() -> None:
    plan = make_plan(project("love.cat", "purr.cat"), DONE)
    assert [item for item in plan.items if not isinstance(item, Already)][:-2] == [
        CreateAuthority(("purr.cat",)),
        IssueLeaf("purr.cat"),
        IssueLeaf("purr.cat.localhost"),
        EditHosts(("purr.cat", "purr.cat.localhost")),
        TrustRoots("system store", True, (("purr.cat",),)),
        TrustRoots("Chromium", False, (("purr.cat",),)),
    ]


def test_a_store_that_lost_a_root_is_told_to_trust_just_that_one() -> None:
    stores = (replace(DEBIAN, trusted=BOTH), replace(NSS, trusted=frozenset({LOCAL.id})))
    plan = make_plan(project(), replace(DONE, stores=stores))
    assert TrustRoots("Chromium", False, (("love.cat",),)) in plan.items
    assert Already("trust: system store") in plan.items
    assert not plan.needs_root


@pytest.mark.parametrize(
    ("found", "needs_root"),
    [
        (DONE, False),
        (replace(DONE, hosts_here=frozenset()), True),
        (replace(DONE, stores=(DEBIAN,)), True),
        (replace(DONE, stores=(NSS,)), False),
        (replace(DONE, gateway=None), True),
        (replace(DONE, gateway=None, https=Port(443, PortState.FREE)), False),
    ],
)
def test_root_is_asked_for_only_when_a_step_needs_it(found: Found, needs_root: bool) -> None:
    assert make_plan(project(), found).needs_root is needs_root


def test_without_root_it_serves_on_8443_and_says_the_one_command() -> None:
    plan = make_plan(project(), ROOTLESS)
    assert not plan.needs_root
    (ports,) = [item for item in plan.items if isinstance(item, BindPorts)]
    assert [str(each) for each in (*ports.https, *ports.http)] == [
        "127.0.0.1:8443",
        "[::1]:8443",
        "127.0.0.1:8080",
        "[::1]:8080",
    ]
    ((fact, cure),) = [notice for notice in plan.notices if "it is served on 8443" in notice[0]]
    assert "port 443 needs root" in fact
    assert [line for line in cure if line.startswith("  ")] == ["  devtls trust --low-ports"]
    plan = make_plan(project(), replace(ROOTLESS, has_sudo=False))
    ((_fact, cure),) = [notice for notice in plan.notices if "it is served on 8443" in notice[0]]
    assert cure[-1] == '  su -c "/sbin/sysctl -w net.ipv4.ip_unprivileged_port_start=80"'


def test_low_ports_are_lowered_once_and_who_keeps_them_low_is_told() -> None:
    plan = make_ports_plan(is_low=False, is_kept=False)
    assert (plan.items, plan.needs_root) == ((LowerPorts(),), True)
    plan = make_ports_plan(is_low=True, is_kept=True)
    assert plan.items == (Already("ports from 80 up", "every user of this machine may listen on them"),)
    (item,) = make_ports_plan(is_low=True, is_kept=False).items
    assert isinstance(item, Already)
    assert item.fact.endswith("by a setting that is not of devtls")


def test_without_root_the_hosts_line_is_told_and_a_name_that_works_anyway() -> None:
    plan = make_plan(project(), ROOTLESS)
    assert not any(isinstance(item, EditHosts) for item in plan.items)
    (cure,) = [cure for fact, cure in plan.notices if "browsers reach https://love.cat.localhost:8443" in fact]
    assert cure[-1] == "  127.0.0.1 love.cat love.cat.localhost"


def test_why_root_cannot_be_had_is_told_once() -> None:
    facts = facts_of(make_plan(project(), ROOTLESS))
    assert len(facts) == 4
    assert sum(fact.count("there is no sudo on this machine") for fact in facts) == 1
    assert facts[0] == "root cannot be had: there is no sudo on this machine"


def test_without_root_the_users_own_stores_trust_and_only_a_store_that_misses_a_root_is_told() -> None:
    plan = make_plan(project(), ROOTLESS)
    assert [item.store for item in plan.items if isinstance(item, TrustRoots)] == ["Chromium"]
    assert [fact for fact in facts_of(plan) if "the system store is as it was" in fact]
    trusting = replace(ROOTLESS, authorities=DONE.authorities, stores=(DONE.stores[0], NSS))
    assert [fact for fact in facts_of(make_plan(project(), trusting)) if "system store" in fact] == []


def test_without_root_a_machine_where_all_is_so_has_nothing_to_tell() -> None:
    assert make_plan(project(), replace(DONE, can_be_root=False, why_not_root="no sudo")).notices == ()


def test_without_root_a_port_that_anybody_may_bind_is_443() -> None:
    found = replace(ROOTLESS, https=Port(443, PortState.FREE), http=Port(80, PortState.FREE))
    assert BindPorts(HTTPS, HTTP, False) in make_plan(project(), found).items


def test_443_taken_is_exit_4_with_the_owner_and_how_to_end_it() -> None:
    taken = Port(443, PortState.TAKEN, "nginx (pid 42, since 09:30)", ("Stop it:", "  sudo systemctl stop nginx"))
    with pytest.raises(ConflictError, match=r"port 443 is taken by nginx \(pid 42, since 09:30\)") as refused:
        make_plan(project("love.cat", "purr.cat"), replace(FRESH, https=taken))
    assert refused.value.exit_code == 4
    assert refused.value.cure == (
        "Stop it:",
        "  sudo systemctl stop nginx",
        "Or take another port:",
        "  devtls up love.cat purr.cat --https-port 8443 …",
    )


def test_the_port_that_is_taken_is_not_the_one_that_is_suggested() -> None:
    taken = Port(8443, PortState.TAKEN, "caddy (pid 42)")
    with pytest.raises(ConflictError, match="port 8443 is taken") as refused:
        make_plan(project(https_port=8443), replace(FRESH, https=taken))
    assert "--https-port 8443" not in refused.value.cure[-1]


def test_a_port_for_http_that_needs_a_root_that_is_not_asked_for_is_left_out() -> None:
    found = replace(ROOTLESS, https=Port(9443, PortState.FREE), http=Port(80, PortState.NEEDS_ROOT))
    (ports,) = [item for item in make_plan(project(https_port=9443), found).items if isinstance(item, BindPorts)]
    assert ports.http == ()


def test_beside_an_unusual_port_nothing_is_redirected() -> None:
    plan = make_plan(project(https_port=9443), replace(FRESH, https=Port(9443, PortState.FREE), http=None))
    assert [item.http for item in plan.items if isinstance(item, BindPorts)] == [()]


def test_443_taken_does_not_matter_to_who_joins_a_running_gateway() -> None:
    taken = Port(443, PortState.TAKEN, "somebody")
    plan = make_plan(project(), replace(DONE, https=taken))
    assert Already("gateway", "nginx 1.22.1 on 443") in plan.items


def test_losing_80_never_costs_443() -> None:
    taken = Port(80, PortState.TAKEN, "apache2 (pid 7)", ("Stop it:", "  sudo systemctl stop apache2"))
    plan = make_plan(project(), replace(FRESH, http=taken))
    assert BindPorts(HTTPS, (), True) in plan.items
    assert plan.notices == (
        (
            "port 80 is taken by apache2 (pid 7): http:// is not redirected, https:// works",
            ("Stop it:", "  sudo systemctl stop apache2"),
        ),
    )


def test_without_root_nobody_cares_who_has_80() -> None:
    plan = make_plan(project(), replace(ROOTLESS, http=Port(80, PortState.TAKEN, "apache2 (pid 7)")))
    assert not any("port 80 " in fact for fact in facts_of(plan))
    (ports,) = [item for item in plan.items if isinstance(item, BindPorts)]
    assert ports.http[0].port == 8080


def test_a_machine_without_ipv6_is_bound_on_ipv4_alone() -> None:
    assert BindPorts(HTTPS[:1], HTTP[:1], True) in make_plan(project(), replace(FRESH, ipv6=False)).items


def test_the_port_asked_for_is_bound() -> None:
    found = replace(FRESH, https=Port(9443, PortState.FREE), http=Port(9080, PortState.FREE))
    plan = make_plan(project(https_port=9443), found)
    ports = BindPorts(tuple(replace(e, port=9443) for e in HTTPS), tuple(replace(e, port=9080) for e in HTTP), False)
    assert ports in plan.items


@pytest.mark.parametrize("https_port", [None, 443])
def test_a_running_gateway_is_joined_when_its_port_will_do(https_port: int | None) -> None:
    assert Already("gateway", "nginx 1.22.1 on 443") in make_plan(project(https_port=https_port), DONE).items


def test_another_port_than_the_running_gateways_is_exit_4() -> None:
    with pytest.raises(ConflictError, match="listens on 443, not on 9443") as refused:
        make_plan(project(https_port=9443), DONE)
    assert "devtls ps --all" in refused.value.cure[0]


def test_a_line_of_the_users_own_is_left_and_told_with_the_command_that_removes_it() -> None:
    plan = make_plan(project(), replace(FRESH, hosts_foreign=((7, " 10.0.0.1 love.cat # staging"),)))
    (notice,) = plan.notices
    assert notice[0].startswith("/etc/hosts line 7 ")
    assert notice[0].endswith(": 10.0.0.1 love.cat # staging")
    assert notice[1][-1] == "  sudo sed -i 7d /etc/hosts"


@pytest.mark.parametrize(
    ("domains", "hosts"),
    [
        (("love.cat",), ("love.cat", "love.cat.localhost")),
        (("love.cat", "shop.test"), ("love.cat", "shop.test", "love.cat.localhost", "shop.test.localhost")),
        (("shop.localhost",), ("shop.localhost",)),
        (("localhost",), ("localhost",)),
        (("love.cat", "love.cat.localhost"), ("love.cat", "love.cat.localhost")),
    ],
)
def test_every_domain_is_also_served_below_localhost(domains: tuple[str, ...], hosts: tuple[str, ...]) -> None:
    assert hosts_of(project(*domains)) == hosts


@pytest.mark.parametrize(
    ("domains", "subtrees"),
    [
        (("shop.test",), ()),
        (("shop.localhost",), ()),
        (("love.cat",), (("love.cat",),)),
        (("www.love.cat", "love.cat"), (("love.cat",),)),
        (("www.love.cat",), (("www.love.cat",),)),
        (("love.cat", "clove.cat"), (("love.cat",), ("clove.cat",))),
        (("mytest",), (("mytest",),)),
    ],
)
def test_each_custom_domain_has_an_authority_unless_another_covers_it(
    domains: tuple[str, ...], subtrees: tuple[tuple[str, ...], ...]
) -> None:
    assert subtrees_of(project(*domains)) == (("localhost", "test"), *subtrees)


def test_an_authority_of_a_domain_signs_for_those_below_it() -> None:
    plan = make_plan(project("www.love.cat"), replace(DONE, leaves=(), hosts_here=frozenset()))
    assert not any(isinstance(item, CreateAuthority | TrustRoots) for item in plan.items)
    assert IssueLeaf("www.love.cat") in plan.items


def test_an_isolated_project_touches_no_store() -> None:
    plan = make_plan(replace(project(), is_isolated=True), FRESH)
    assert not [item for item in plan.items if isinstance(item, TrustRoots)]
    assert CreateAuthority(("love.cat",)) in plan.items
    assert not [fact for fact in facts_of(make_plan(replace(project(), is_isolated=True), ROOTLESS)) if "store" in fact]


def test_a_new_authority_that_is_forbidden_is_refused_before_anything_is_done() -> None:
    with pytest.raises(DevtlsError, match=r"love\.cat needs a new certificate authority, and --no-new-ca forbids one"):
        make_plan(project(), replace(FRESH, authorities=(LOCAL,)), may_create=False)
    assert make_plan(project(), DONE, may_create=False) == make_plan(project(), DONE)


def test_trusting_makes_what_is_missing_and_asks_each_store_that_lacks_it() -> None:
    wanted = (("localhost", "test"), ("love.cat",))
    plan = make_trust_plan(wanted, replace(FRESH, authorities=(LOCAL,), stores=(replace(NSS, trusted=BOTH), DEBIAN)))
    assert plan == Plan(
        items=(
            Already("CA for localhost and test", "valid until 2030-01-02"),
            CreateAuthority(("love.cat",)),
            TrustRoots("Chromium", False, (("love.cat",),)),
            TrustRoots("system store", True, wanted),
        ),
        notices=(),
        subtrees=wanted,
    )
    assert make_trust_plan(wanted, replace(ROOTLESS, stores=(DEBIAN, NSS))).notices == (
        ("root cannot be had: there is no sudo on this machine", ()),
        (
            "the system store is as it was: curl, git and Python refuse the certificate",
            ("Have what you start from a terminal trust it:", '  eval "$(devtls env)"'),
        ),
    )


OLD = Authority("00000009", ("love.cat",), Path("ca/9"), "", datetime(2020, 1, 2, tzinfo=UTC))


def test_a_root_past_its_date_is_taken_out_but_never_for_a_password_of_its_own() -> None:
    held = tuple(replace(store, outdated=frozenset({OLD.id})) for store in DONE.stores)
    done = replace(DONE, outdated=(OLD,), stores=held)
    both = [RetireRoots("system store", True, (OLD.id,)), RetireRoots("Chromium", False, (OLD.id,))]
    assert retired(make_plan(project(), done)) == both[1:]
    asking = replace(done, hosts_here=frozenset())
    assert retired(make_plan(project(), asking)) == both
    assert retired(make_trust_plan((("love.cat",),), done)) == both
    assert retired(make_trust_plan((("love.cat",),), replace(done, can_be_root=False))) == both[1:]


def retired(plan: Plan) -> list[object]:
    return [item for item in plan.items if isinstance(item, RetireRoots)]


def test_an_authority_that_signs_since_it_is_narrower_is_trusted_too() -> None:
    wide = Authority("00000003", ("love.cat", "shop.dev"), Path("ca/3"), "", UNTIL)
    chat = Authority("00000004", ("chat.love.cat",), Path("ca/4"), "", UNTIL)
    found = replace(
        DONE, authorities=(LOCAL, wide, chat), stores=(replace(NSS, trusted=frozenset({LOCAL.id, wide.id})),)
    )
    plan = make_plan(project("love.cat", "chat.love.cat"), found)
    assert plan.subtrees == (("localhost", "test"), ("love.cat",), ("chat.love.cat",))
    assert TrustRoots("Chromium", False, (("chat.love.cat",),)) in plan.items
    assert make_plan(project("love.cat"), found).subtrees == (("localhost", "test"), ("love.cat",))


# Wildcards


def unresolved(**facts: object) -> list[tuple[str, tuple[str, ...]]]:
    plan = make_plan(project("love.cat", "*.love.cat"), replace(FRESH, **facts))
    return [notice for notice in plan.notices if "no hosts file can hold it" in notice[0]]


def test_a_wildcard_that_nobody_resolves_is_told_with_the_way_that_there_is() -> None:
    beside = "  devtls up … '*.love.cat' shop.love.cat"
    ((fact, cure),) = unresolved()
    assert fact == "*.love.cat is served, and no hosts file can hold it; browsers find shop.love.cat.localhost"
    assert cure == ("Name those that have to resolve everywhere, beside it:", beside)
    ((_fact, cure),) = unresolved(asks_resolved=True)
    assert [line for line in cure if line.startswith("  ")] == ["  devtls hosts route love.cat", beside]


def test_a_wildcard_that_is_routed_is_not_told() -> None:
    assert unresolved(asks_resolved=True, routed=frozenset({"love.cat"})) == []
    assert len(unresolved(asks_resolved=True, routed=frozenset({"glove.cat", "shop.love.cat"}))) == 1


def test_a_wildcard_below_localhost_needs_no_route() -> None:
    found = replace(FRESH, asks_resolved=True)
    plan = make_plan(project("love.cat", "*.shop.localhost"), found)
    assert not any("hosts route" in line for _fact, cure in plan.notices for line in cure)
