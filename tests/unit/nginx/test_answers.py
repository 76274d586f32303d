from __future__ import annotations

from typing import Any

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtls.nginx.answers import LARGEST, answer

WILDCARDS = ("*.love.cat", "*.api.other.test")


def ask(name: str, kind: str = "A", *, ipv6: bool = True, **words: Any) -> Any:
    said = answer(dnslib.DNSRecord.question(name, kind, **words).pack(), WILDCARDS, ipv6=ipv6)
    assert said is not None
    return dnslib.DNSRecord.parse(said)


def addresses(reply: Any) -> list[str]:
    assert reply.header.rcode == dnslib.RCODE.NOERROR
    return [str(record.rdata) for record in reply.rr]


@pytest.mark.parametrize(
    "name", ["shop.love.cat", "SHOP.Love.CAT", "a.api.other.test", "_x.love.cat", "xn--4ca.love.cat"]
)
def test_each_name_right_below_a_wildcard_leads_to_this_machine(name: str) -> None:
    assert addresses(ask(name)) == ["127.0.0.1"]
    assert addresses(ask(name, "AAAA")) == ["::1"]


def test_ipv6_is_not_promised_where_it_is_not_served() -> None:
    assert addresses(ask("shop.love.cat", "AAAA", ipv6=False)) == []


@pytest.mark.parametrize("kind", ["MX", "TXT", "HTTPS", "SRV", "ANY", "CNAME", "DS"])
def test_there_is_nothing_else_to_know_of_such_a_name(kind: str) -> None:
    assert addresses(ask("shop.love.cat", kind)) == []


@pytest.mark.parametrize(
    "name", ["love.cat", "a.shop.love.cat", "shop.glove.cat", "shop.love.cat.evil.com", "cat", "", "example.com"]
)
def test_every_other_name_is_refused(name: str) -> None:
    assert ask(name).header.rcode == dnslib.RCODE.REFUSED


def test_a_dot_inside_a_label_makes_no_other_name() -> None:
    query = dnslib.DNSRecord(q=dnslib.DNSQuestion(dnslib.DNSLabel([b"shop", b"love.cat"])))
    said = answer(query.pack(), WILDCARDS, ipv6=True)
    assert said is not None
    assert dnslib.DNSRecord.parse(said).header.rcode == dnslib.RCODE.REFUSED


def test_another_class_than_that_of_the_internet_is_refused() -> None:
    assert ask("shop.love.cat", qclass="CH").header.rcode == dnslib.RCODE.REFUSED


def test_an_answer_is_that_of_its_question_and_is_not_remembered() -> None:
    query = dnslib.DNSRecord.question("sHop.love.cat")
    reply = dnslib.DNSRecord.parse(answer(query.pack(), WILDCARDS, ipv6=True) or b"")
    assert (reply.header.id, reply.header.aa, reply.header.ra) == (query.header.id, 1, 0)
    assert str(reply.q.qname) == "sHop.love.cat."  # resolvers tell forged answers by the case: DNS 0x20
    assert [record.ttl for record in reply.rr] == [0]


def test_edns_is_answered_with_edns() -> None:
    query = dnslib.DNSRecord.question("shop.love.cat")
    query.add_ar(dnslib.EDNS0(flags="do", udp_len=65494))
    reply = dnslib.DNSRecord.parse(answer(query.pack(), WILDCARDS, ipv6=True) or b"")
    assert [record.rtype for record in reply.ar] == [dnslib.QTYPE.OPT]
    assert addresses(reply) == ["127.0.0.1"]
    assert ask("shop.love.cat").ar == []


def test_an_update_is_not_implemented_and_no_question_is_none() -> None:
    update = dnslib.DNSRecord(dnslib.DNSHeader(opcode=dnslib.OPCODE.UPDATE), q=dnslib.DNSQuestion("shop.love.cat"))
    said = answer(update.pack(), WILDCARDS, ipv6=True)
    assert dnslib.DNSRecord.parse(said or b"").header.rcode == dnslib.RCODE.NOTIMP
    empty = answer(dnslib.DNSRecord().pack(), WILDCARDS, ipv6=True)
    assert dnslib.DNSRecord.parse(empty or b"").header.rcode == dnslib.RCODE.FORMERR


def test_an_answer_is_not_answered() -> None:
    reply = dnslib.DNSRecord.question("shop.love.cat").reply()
    assert answer(reply.pack(), WILDCARDS, ipv6=True) is None


def test_a_packet_that_is_too_large_is_not_answered() -> None:
    assert answer(dnslib.DNSRecord.question("shop.love.cat").pack() + bytes(LARGEST), WILDCARDS, ipv6=True) is None


@given(st.binary(max_size=LARGEST + 1))
def test_any_bytes_are_answered_or_not(packet: bytes) -> None:
    said = answer(packet, WILDCARDS, ipv6=True)
    assert said is None or len(said) >= 12


@given(st.data())
def test_a_question_that_was_damaged_is_answered_or_not(data: st.DataObject) -> None:
    query = dnslib.DNSRecord.question("shop.love.cat")
    query.add_ar(dnslib.EDNS0())
    packet = bytearray(query.pack())
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    said = answer(bytes(packet[: data.draw(st.integers(0, len(packet)))]), WILDCARDS, ipv6=True)
    assert said is None or said[:2] == packet[:2]
