"""The hosts file as bytes: one marked block is ours, everything else is the user's, byte for byte.

Each line of ours says so itself ("# devtls"). That is what makes damage repairable: whatever happens to the markers, a
line without the mark is never taken away, and root can verify an edit without knowing how to make one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BEGIN = b"# devtls: begin"
# The file did not end in a newline, so one was put before the block; removing the block takes it away again.
BEGIN_AFTER_ADDED_NEWLINE = b"# devtls: begin, newline added"
END = b"# devtls: end"
MARKED = re.compile(rb"(?:127\.0\.0\.1|::1) ([a-z0-9.-]+) # devtls")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ForeignLine(Struct, frozen=True):
    """A line of the user's that gives one of our names another address.

    Attributes:
        number: counted from 1, as editors do.
    """

    number: int
    text: str
    name: str
    address: str


class _Parsed(Struct, frozen=True):
    """What is around the block, whether we had added a newline before it, and the names in it."""

    before: bytes
    after: bytes
    names: tuple[str, ...]


def names_in_block(data: bytes) -> tuple[str, ...]:
    """Return the names that are ours, each once, in their order."""
    return _parse(data).names


def render(data: bytes, names: Iterable[str], *, ipv6: bool) -> bytes:
    """Return the file with exactly these names in its one block; without names, without a block.

    The block stays where it is, or goes to the end. `remove` of the result is `remove` of `data`.

    Args:
        data: the whole file.
        names: ASCII host names.
        ipv6: also say ::1, for each name.
    """
    parsed = _parse(data)
    lines = [f"{address} {name} # devtls".encode() for name in dict.fromkeys(names) for address in _addresses(ipv6)]
    if not lines:
        return parsed.before + parsed.after
    end = _line_end(parsed.before + parsed.after)
    # A byte order mark alone is no line: our first one may follow it.
    needs_newline = parsed.before.rpartition(b"\n")[2] not in {b"", BYTE_ORDER_MARK}
    begin = BEGIN_AFTER_ADDED_NEWLINE if needs_newline else BEGIN
    block = b"".join(line + end for line in [begin, *lines, END])
    return parsed.before + (end if needs_newline else b"") + block + parsed.after


def remove(data: bytes) -> bytes:
    """Return the file as if devtls had never touched it."""
    return render(data, (), ipv6=False)


def without(data: bytes, names: Iterable[str]) -> bytes:
    """Return the file without our lines for these names; with the last of them the block goes, as `remove` does it."""
    unwanted = set(names)
    if unwanted.issuperset(names_in_block(data)):
        return remove(data)
    return b"".join(_rest_of(line) if _name_of(_bare(line)) in unwanted else line for line in _split(data))


def names_led_here(data: bytes) -> frozenset[str]:
    """Return the names that the file gives to 127.0.0.1: in our block, or by the user's own hand."""
    by_hand = (entry for _number, text in _lines_outside(data) for entry in _entries(text))
    return frozenset((*names_in_block(data), *(name for address, name in by_hand if address == "127.0.0.1")))


def find_foreign(data: bytes, names: Iterable[str], *, ipv6: bool) -> tuple[ForeignLine, ...]:
    """Return the lines outside the block that send one of our names elsewhere; they are never changed."""
    wanted, ours = set(names), _addresses(ipv6)
    return tuple(
        ForeignLine(number, text.strip(), name, address)
        for number, text in _lines_outside(data)
        for address, name in _entries(text)
        if name in wanted and address not in ours
    )


def _addresses(ipv6: bool) -> tuple[str, ...]:
    return ("127.0.0.1", "::1") if ipv6 else ("127.0.0.1",)


def _parse(data: bytes) -> _Parsed:
    """Take our lines out: the first one tells where the block is, every other line is kept, in order."""
    kept: tuple[list[bytes], list[bytes]] = ([], [])
    names: dict[str, None] = {}
    added: bytes | None = None
    inside = False
    for line in _split(data):
        bare = _bare(line)
        if not _is_ours(bare):
            kept[inside].append(line)
            continue
        kept[inside].append(_rest_of(line))
        if not inside and bare == BEGIN_AFTER_ADDED_NEWLINE:
            added = b"\r\n" if line.endswith(b"\r\n") else b"\n"
        if name := _name_of(bare):
            names[name] = None
        inside = True
    before, after = b"".join(kept[0]), b"".join(kept[1])
    if added and not after:
        before = before.removesuffix(added)
    return _Parsed(before, after, tuple(names))


def _bare(line: bytes) -> bytes:
    return line.removeprefix(BYTE_ORDER_MARK).rstrip(b"\r\n")


def _rest_of(line: bytes) -> bytes:
    """What stays when a line of ours goes: a byte order mark before it is the file's, not the line's."""
    return BYTE_ORDER_MARK if line.startswith(BYTE_ORDER_MARK) else b""


def _is_ours(bare: bytes) -> bool:
    return bare in {BEGIN, BEGIN_AFTER_ADDED_NEWLINE, END} or MARKED.fullmatch(bare) is not None


def _name_of(bare: bytes) -> str | None:
    found = MARKED.fullmatch(bare)
    return found[1].decode("ascii") if found else None


def _split(data: bytes) -> list[bytes]:
    r"""Lines with their ends; only \n ends one (bytes.splitlines also takes a lone \r for an end)."""
    return re.findall(rb"[^\n]*\n|[^\n]+", data)


def _line_end(data: bytes) -> bytes:
    return b"\r\n" if data.count(b"\r\n") * 2 > data.count(b"\n") else b"\n"


def _lines_outside(data: bytes) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_split(data), start=1):
        bare = _bare(line)
        if not _is_ours(bare):
            yield number, bare.decode("utf-8", "replace")


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """The (address, name) pairs of a line; as glibc reads it, names in any case, comments from "#"."""
    words = text.partition("#")[0].split()
    for name in words[1:]:
        yield words[0], name.lower().rstrip(".")
