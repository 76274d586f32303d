from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtls import route
from devtls.errors import DevtlsError
from devtls.model import Authority, Check, Verdict
from devtls.route import Servers
from devtls.system.name_route import FILE, Kept, NameRoute, Routed
from devtls.system.root_script import Status
from devtls.system.run import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devtls.block import Edit
    from devtls.model import Notice

SERVED = {"love.cat": "/love", "*.love.cat": "/love", "*.love.cat.localhost": "/love", "*.api.test": "/api"}
CAT = Authority("00000002", ("love.cat",), Path("ca/2"), "", datetime(2030, 1, 2, tzinfo=UTC))
MINE = Routed("love.cat", 1000)
OTHERS = Routed("other.test", 1001)


def routed(*each: Routed) -> NameRoute:
    return NameRoute(Kept(each)) if each else NameRoute()


# Which


def test_without_a_name_all_wildcards_are_meant_but_those_that_browsers_know() -> None:
    assert route.wanted((), SERVED) == ("love.cat", "api.test")
    assert route.wanted(("shop.test",), SERVED) == ("shop.test",)
    with pytest.raises(DevtlsError, match="no project of yours serves a wildcard"):
        route.wanted((), {"love.cat": "/love"})


def test_domains_come_and_go_and_the_rest_stays() -> None:
    assert route.with_more(("a.test", "b.test"), ("b.test", "c.test")) == ("a.test", "b.test", "c.test")
    assert route.without(("a.test", "b.test"), ("b.test", "c.test")) == ("a.test",)
    assert route.without(("a.test", "b.test"), ()) == ()


def test_a_real_site_is_led_here_only_when_it_is_yours() -> None:
    route.refuse_strangers(("shop.test", "love.cat", "api.love.cat"), [CAT])
    with pytest.raises(DevtlsError, match=r"example\.org may be a real site") as raised:
        route.refuse_strangers(("love.cat", "example.org"), [CAT])
    assert raised.value.cure[-1] == "  devtls up example.org '*.example.org' …"
    with pytest.raises(DevtlsError, match="by itself"):
        route.refuse_strangers(("shop.localhost",), [CAT])


# Why not

LONG = "Global: 127.0.0.1:15353\nLink 2 (eth0): 10.0.0.1\n               fe80::1%2\nLink 3 (wlan0):\n"


def test_what_resolvectl_says_is_understood() -> None:
    assert route.parse_servers(LONG) == Servers(("127.0.0.1:15353",), ("10.0.0.1", "fe80::1%2"))
    assert route.parse_servers("Global:\nLink 2 (eth0):\n") == Servers((), ())
    assert route.parse_servers("Global: 9.9.9.9#dns.quad9.net\n        1.1.1.1\n") == Servers(
        ("9.9.9.9#dns.quad9.net", "1.1.1.1"), ()
    )
    assert route.parse_servers("Global:\nDelegate corp: 10.1.1.1\n") == Servers(
        (), ()
    )  # of systemd 258: for some names
    assert route.parse_servers("") == Servers((), ())


def test_the_servers_have_to_be_those_of_a_network() -> None:
    assert route.why_no_route(Servers((), ("10.0.0.1",))) is None
    assert route.why_no_route(Servers((route.OURS,), ("10.0.0.1",))) is None
    for servers, words in (
        (Servers(("9.9.9.9", route.OURS), ("10.0.0.1",)), "for the whole machine, 9.9.9.9"),
        (Servers((), ()), "would be its only one"),
        (Servers((route.OURS,), ()), "would be its only one"),
    ):
        notice = route.why_no_route(servers)
        assert notice
        assert words in notice[0]
        assert notice[1]


@pytest.mark.parametrize(
    ("domains", "dnssec", "tls", "words"),
    [
        (("love.cat",), "no", "no", ""),
        (("love.cat",), "no", "opportunistic", ""),
        (("love.test",), "yes", "no", ""),
        (("love.test", "love.cat"), "yes", "no", "names below love.cat have none"),
        (("love.cat",), "allow-downgrade", "no", "names below love.cat have none"),
        (("love.test",), "no", "yes", "by TLS alone"),
    ],
)
def test_what_systemd_resolved_demands_of_answers_is_known_before(
    domains: tuple[str, ...], dnssec: str, tls: str, words: str
) -> None:
    link = "\nLink 2 (eth0): no\n"
    notice = route.why_unanswered(domains, dnssec=f"Global: {dnssec}{link}", tls=f"Global: {tls}{link}")
    assert bool(notice) is bool(words)
    assert not notice or (words in notice[0] and notice[1])


# The edit


class FakeRoot:
    """Says what it did, and is seen to have done it, or not."""

    def __init__(self, before: NameRoute, after: NameRoute, said: str = "devtls: done route", status: int = 0) -> None:
        self.now, self.after = before, after
        self.said, self.status = f"devtls: started\n{said}\n", status
        self.words: tuple[str, ...] = ()

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        del stdin, environment, timeout, check
        self.words, self.now = tuple(argv)[4:], self.after
        return Completed(tuple(argv), self.status, self.said.encode(), self.said)

    def edit(self, change: route.Change, why_not: Notice | None = None) -> Edit:
        return route.edit_route(
            change,
            is_interactive=False,
            asking=lambda _call: None,
            look=lambda: self.now,
            why_not=lambda _domains: why_not,
            run=self,
            uid=0,
        )


def to(*domains: str) -> route.Change:
    return lambda _mine: domains


def test_root_is_told_all_that_the_user_wants_and_is_read_back() -> None:
    root = FakeRoot(routed(OTHERS), routed(Routed("a.test", 0), Routed("love.cat", 0), OTHERS))
    edit = root.edit(to("love.cat", "a.test"))
    assert root.words == ("route", "0", "2", "a.test", "love.cat")
    assert (edit.file, edit.added, edit.names, edit.left) == (
        str(FILE),
        ("a.test", "love.cat"),
        ("a.test", "love.cat"),
        None,
    )


def test_what_is_so_already_asks_nobody() -> None:
    root = FakeRoot(routed(Routed("love.cat", 0)), NameRoute())
    edit = root.edit(to("love.cat"), why_not=("it would not hold", ()))
    assert (edit.is_changed, edit.left, root.words) == (False, None, ())


def test_why_there_can_be_no_route_is_told_before_anything_is_changed() -> None:
    root = FakeRoot(NameRoute(), NameRoute())
    edit = root.edit(to("love.cat"), why_not=("it would not hold", ("a cure",)))
    assert (edit.left, edit.names, root.words) == (("it would not hold", ("a cure",)), (), ())


def test_what_is_taken_back_is_taken_back_whoever_is_asked() -> None:
    root = FakeRoot(routed(Routed("love.cat", 0), OTHERS), routed(OTHERS))
    edit = root.edit(to(), why_not=("it would not hold", ()))
    assert (root.words, edit.removed, edit.left) == (("route", "0", "0"), ("love.cat",), None)


def test_a_file_of_somebody_else_is_left() -> None:
    root = FakeRoot(NameRoute(is_changed=True), NameRoute())
    edit = root.edit(to("love.cat"))
    assert edit.left
    assert "is not as devtls wrote it" in edit.left[0]
    assert root.words == ()


@pytest.mark.parametrize(
    "status", [Status.NO_RESOLVED, Status.ROUTE_NOT_OURS, Status.ROUTE_NOT_KEPT, Status.RESOLVED_FAILED]
)
def test_why_it_could_not_be_done_is_told_with_its_cure(status: Status) -> None:
    edit = FakeRoot(NameRoute(), NameRoute(), f"devtls: failed {status} route").edit(to("love.cat"))
    assert edit.left
    assert "exit status" not in edit.left[0]
    assert edit.left[1]
    assert not edit.is_changed


def test_a_file_that_does_not_say_it_is_told_whatever_root_says() -> None:
    edit = FakeRoot(NameRoute(), routed(OTHERS)).edit(to("love.cat"))
    assert edit.left
    assert "says something else" in edit.left[0]


def test_a_call_that_ended_early_is_told() -> None:
    edit = FakeRoot(NameRoute(), NameRoute(), "", Status.REFUSED).edit(to("love.cat"))
    assert edit.left
    assert "refused" in edit.left[0]


# Whose


def test_a_route_is_asked_about_when_somebody_serves_it() -> None:
    def ask(wildcard: str) -> Check:
        return Check(wildcard, Verdict.PASSED, "leads here")

    assert route.judge_route("love.cat", SERVED, ask) == Check(
        "*.love.cat", Verdict.PASSED, "served by /love · leads here"
    )
    unserved = route.judge_route("other.test", SERVED, ask)
    assert (unserved.verdict, unserved.cure[-1]) == (Verdict.NOTED, "  devtls hosts route --remove other.test")
