from __future__ import annotations

import pytest
from msgspec.structs import replace

from devtls.checks.names import judge_name
from devtls.checks.resolution import (
    Order,
    Resolver,
    explain,
    parse_hosts,
    parse_nsswitch,
    parse_tunnel,
    read_resolver,
)
from devtls.model import Check, Verdict

REAL = ("203.0.113.7",)
HOSTS = "127.0.0.1 localhost\n127.0.0.1 love.cat # devtls\n::1 love.cat # devtls\n"
USUAL = "passwd: files\nhosts:          files mdns4_minimal [NOTFOUND=return] dns\n"
GOOD = Resolver(HOSTS, USUAL, "# Generated\nnameserver 10.8.0.1\n")


def explained(resolver: Resolver, addresses: tuple[str, ...] = REAL) -> Check:
    return explain(judge_name("love.cat", addresses), addresses, resolver)


def test_a_name_that_leads_here_needs_no_word() -> None:
    check = judge_name("love.cat", ("127.0.0.1",))
    assert explain(check, ("127.0.0.1",), Resolver("")) is check


def test_a_missing_line_is_told_and_cured_by_adding_it() -> None:
    check = explained(replace(GOOD, hosts="127.0.0.1 localhost\n"))
    assert (check.code, check.fact.endswith("/etc/hosts has no line for it")) == ("name-elsewhere", True)
    assert "  devtls up love.cat" in check.cure
    assert explained(replace(GOOD, hosts=""), ()).code == "name-unknown"


def test_another_line_that_gives_it_an_address_is_named_with_the_command_that_removes_it() -> None:
    hosts = f"{HOSTS}203.0.113.7\twww.love.cat  Love.Cat  # old\n"
    check = explained(replace(GOOD, hosts=hosts), ("127.0.0.1", *REAL))
    assert (check.code, "in line 4" in check.fact) == ("hosts-line", True)
    assert check.cure[-1] == "  sudo sed -i '4d' /etc/hosts"
    assert check.evidence == ("line 4: 203.0.113.7\twww.love.cat  Love.Cat  # old",)


@pytest.mark.parametrize(
    ("line", "code", "asked", "cured"),
    [
        ("hosts: dns files", "nsswitch-order", "dns asked first", "hosts: files dns"),
        ("hosts:dns [!UNAVAIL=return] files", "nsswitch-order", "dns", "hosts: files dns [!UNAVAIL=return]"),
        (
            "hosts: ldap wins files [NOTFOUND=return] dns",
            "nsswitch-order",
            "ldap and wins",
            "hosts: files ldap wins dns",
        ),
        ("hosts: dns", "nsswitch-no-files", "does not have the hosts file asked", "hosts: files dns"),
        ("hosts: resolve [!UNAVAIL=return] dns", "nsswitch-no-files", "", "hosts: files resolve [!UNAVAIL=return] dns"),
    ],
)
def test_the_order_that_defeats_the_hosts_file_is_told_with_its_cure(
    line: str, code: str, asked: str, cured: str
) -> None:
    check = explained(replace(GOOD, nsswitch=f"passwd: files\n\n{line} # note\n"))
    assert (check.code, check.verdict, asked in check.fact) == (code, Verdict.FAILED, True)
    assert check.cure[-1] == f"  sudo sed -i '3s/.*/{cured}/' /etc/nsswitch.conf"
    assert check.evidence[0].startswith("/etc/nsswitch.conf, line 3: hosts: ")
    assert "/etc/resolv.conf has 10.8.0.1 asked" in check.evidence


def test_without_a_line_for_hosts_one_is_added() -> None:
    check = explained(replace(GOOD, nsswitch="passwd: files\n"))
    assert check.cure[-1] == "  echo 'hosts: files dns [!UNAVAIL=return]' | sudo tee -a /etc/nsswitch.conf"


def test_services_that_answer_for_other_names_only_are_no_cause() -> None:
    order = "hosts: mymachines myhostname mdns4_minimal [NOTFOUND=return] files dns\n"
    check = explained(replace(GOOD, nsswitch=order))
    assert check.code == "name-elsewhere"
    assert "  getent ahosts love.cat" in check.cure


def test_systemd_resolved_reads_the_hosts_file_unless_it_is_told_not_to() -> None:
    fedora = replace(GOOD, nsswitch="hosts: resolve [!UNAVAIL=return] files dns\n")
    assert explained(fedora).cure[-1] == "  sudo resolvectl flush-caches"
    told = explained(replace(fedora, resolved="[Resolve]\n#ReadEtcHosts=yes\nReadEtcHosts=no\n"))
    assert (told.code, "ReadEtcHosts=no" in told.fact) == ("resolved-no-hosts", True)
    assert told.cure[-1] == "  sudo sed -i '1s/.*/hosts: files resolve [!UNAVAIL=return] dns/' /etc/nsswitch.conf"


def test_a_cache_is_told_with_the_command_that_empties_it() -> None:
    check = explained(replace(GOOD, has_nscd=True))
    assert (check.code, check.cure[-1]) == ("name-cached", "  sudo nscd --invalidate=hosts")


def test_a_vpn_is_worth_a_word_beside_what_is_wrong() -> None:
    check = explained(replace(GOOD, tunnel="wg0"))
    assert check.evidence[-1] == "the default route is through wg0, a VPN's"


def test_a_system_without_nsswitch_has_no_order() -> None:
    assert explained(replace(GOOD, nsswitch=None)).code == "name-elsewhere"


def test_the_last_line_for_hosts_counts() -> None:
    assert parse_nsswitch("hosts: dns\nhosts : files\n#hosts: nis\n") == Order(2, ("files",))


def test_names_are_found_wherever_they_stand_in_a_line() -> None:
    found = parse_hosts("# love.cat\n127.0.0.1 a love.cat\n\n1.2.3.4 xlove.cat\n::1\tLOVE.cat#x\n", "love.cat")
    assert [(line.number, line.address) for line in found] == [(2, "127.0.0.1"), (5, "::1")]


@pytest.mark.parametrize(
    ("routes", "device"),
    [
        ("", ""),
        ("Iface\tDestination\nwg0\t0000A8C0\t0\neth0\t00000000\t0100A8C0\n", ""),
        ("Iface\tDestination\neth0\t0000A8C0\ntun0\t00000000\t01000A0A\n", "tun0"),
        ("Iface\tDestination\n\n", ""),
    ],
)
def test_the_default_route_tells_a_vpn(routes: str, device: str) -> None:
    assert parse_tunnel(routes) == device


def test_this_machine_can_be_read() -> None:
    assert "localhost" in read_resolver().hosts
