"""What a name server says of the names below wildcards: bytes to bytes. Pure; `responder` has the sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

LARGEST = 1232  # bytes of a question that is read: what a UDP packet may have on any network (dnsflagday.net/2020)
TTL = 0  # s: once a project is down, nobody remembers that its names led here


def answer(packet: bytes, wildcards: Collection[str], *, ipv6: bool) -> bytes | None:
    """Return the response to a query; None when it is none, and nobody waits for an answer.

    Args:
        packet: whatever came.
        wildcards: `*.love.cat` stands for each name right below, as its certificate does.
        ipv6: whether they are served on ::1, too.
    """
    try:
        return _answer(packet, wildcards, ipv6=ipv6)
    except Exception:  # noqa: BLE001 - dnslib raises what its tables, struct and the codecs do; no packet may end the gateway
        return None


def _answer(packet: bytes, wildcards: Collection[str], *, ipv6: bool) -> bytes | None:
    import dnslib  # 1 MB and 60 ms: only once somebody asks

    query: Any = dnslib.DNSRecord.parse(packet)
    if query.header.qr or len(packet) > LARGEST:
        return None
    reply: Any = query.reply(ra=0, aa=1)
    if any(record.rtype == dnslib.QTYPE.OPT for record in query.ar):
        reply.add_ar(dnslib.EDNS0(udp_len=LARGEST))  # else systemd-resolved takes this for a server of before 1999
    if query.header.opcode != dnslib.OPCODE.QUERY:
        reply.header.rcode = dnslib.RCODE.NOTIMP
    elif len(query.questions) != 1:
        reply.header.rcode = dnslib.RCODE.FORMERR
    elif query.q.qclass != dnslib.CLASS.IN or not _is_below(query.q.qname.label, wildcards):
        reply.header.rcode, reply.header.aa = dnslib.RCODE.REFUSED, 0
    elif query.q.qtype == dnslib.QTYPE.A:
        reply.add_answer(dnslib.RR(query.q.qname, dnslib.QTYPE.A, rdata=dnslib.A("127.0.0.1"), ttl=TTL))
    elif query.q.qtype == dnslib.QTYPE.AAAA and ipv6:
        reply.add_answer(dnslib.RR(query.q.qname, dnslib.QTYPE.AAAA, rdata=dnslib.AAAA("::1"), ttl=TTL))
    return bytes(reply.pack())


def _is_below(labels: tuple[bytes, ...], wildcards: Collection[str]) -> bool:
    above = tuple(label.lower() for label in labels[1:])
    return any(above == tuple(wildcard.encode("ascii").split(b".")[1:]) for wildcard in wildcards)
