from __future__ import annotations

import re
import sys

from hypothesis import example, given
from hypothesis import strategies as st

from devtls import hosts

DEBIAN = b"127.0.0.1\tlocalhost\n127.0.1.1\tbox\n\n::1 localhost ip6-localhost\n"
NAMES = st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z]{1,4}){0,2}", fullmatch=True), max_size=4)
# Files made of what is likely to confuse: our own lines, halves of them, every kind of line end.
PIECES = st.sampled_from(
    [
        hosts.BEGIN,
        hosts.BEGIN_AFTER_ADDED_NEWLINE,
        hosts.END,
        b"127.0.0.1 love.cat # devtls",
        b"::1 love.cat # devtls",
        b"127.0.0.1 localhost",
        b"10.0.0.1 love.cat",
        b"# a comment",
        b"\xef\xbb\xbf",
        b"\xff\x00",
        b"",
        b"\n",
        b"\r\n",
        b"\r",
    ]
)
FILES = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=12).map(b"".join))


def is_untouched(data: bytes) -> bool:
    return hosts.remove(data) == data


@given(FILES.filter(is_untouched), NAMES, st.booleans())
@example(b"", ["love.cat"], False)
@example(b"\r", ["love.cat"], False)
@example(b"a\r\nb\r", ["love.cat"], True)
@example(b"\xef\xbb\xbf", ["love.cat"], True)
def test_removing_the_block_gives_back_the_file_byte_for_byte(data: bytes, names: list[str], ipv6: bool) -> None:
    assert hosts.remove(hosts.render(data, names, ipv6=ipv6)) == data


@given(FILES, NAMES, st.booleans())
@example(b"a\n# devtls: begin, newline added\n127.0.0.1 love.cat # devtls", ["love.cat"], False)
def test_an_edit_that_is_taken_back_is_no_edit_whatever_the_bytes(data: bytes, names: list[str], ipv6: bool) -> None:
    assert hosts.remove(hosts.render(data, names, ipv6=ipv6)) == hosts.remove(data)
    assert hosts.remove(hosts.remove(data)) == hosts.remove(data)


@given(FILES, NAMES, NAMES, st.booleans())
def test_names_that_are_taken_out_leave_every_other_byte(
    data: bytes, staying: list[str], going: list[str], ipv6: bool
) -> None:
    rendered = hosts.render(data, [*going, *staying], ipv6=ipv6)
    left = hosts.without(rendered, going)
    assert hosts.names_in_block(left) == tuple(each for each in dict.fromkeys(staying) if each not in going)
    assert left == hosts.render(data, [each for each in staying if each not in going], ipv6=ipv6)
    assert hosts.without(left, going) == left


@given(FILES, NAMES)
def test_taking_names_out_of_any_damage_loses_no_line_of_the_user(data: bytes, names: list[str]) -> None:
    left = hosts.without(data, names)
    assert foreign_lines(left) == foreign_lines(data)
    assert not set(names) & set(hosts.names_in_block(left))
    assert hosts.without(data, hosts.names_in_block(data)) == hosts.remove(data)


@given(FILES, NAMES, st.booleans())
@example(b"\xef\xbb\xbf# devtls: begin\n\xef\xbb\xbf", [], False)
def test_rendering_over_any_damage_loses_no_line_of_the_user(data: bytes, names: list[str], ipv6: bool) -> None:
    rendered = hosts.render(data, names, ipv6=ipv6)
    assert foreign_lines(rendered) == foreign_lines(data)
    assert len([line for line in rendered.split(b"\n") if is_begin(line)]) == (1 if names else 0)


def foreign_lines(data: bytes) -> list[bytes]:
    """Every line that is not ours, however the markers are; without its end, and without byte order marks before it."""
    lines = [re.sub(rb"^(?:\xef\xbb\xbf)+", b"", line).rstrip(b"\r\n") for line in data.split(b"\n")]
    return [line for line in lines if line and not hosts._is_ours(line)]


def is_begin(line: bytes) -> bool:
    bare = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r")
    return bare in {hosts.BEGIN, hosts.BEGIN_AFTER_ADDED_NEWLINE}


@given(FILES, NAMES, st.booleans())
@example(b"\xef\xbb\xbf# devtls: begin\n\x00", ["love.cat"], False)
@example(b"\n\xef\xbb\xbf# devtls: begin\n\x00", ["love.cat"], False)
def test_rendering_twice_is_rendering_once(data: bytes, names: list[str], ipv6: bool) -> None:
    once = hosts.render(data, names, ipv6=ipv6)
    assert hosts.render(once, names, ipv6=ipv6) == once
    assert hosts.names_in_block(once) == tuple(dict.fromkeys(names))


def test_the_block_goes_to_the_end_with_both_addresses() -> None:
    assert hosts.render(DEBIAN, ["love.cat", "www.love.cat"], ipv6=True) == DEBIAN + (
        b"# devtls: begin\n"
        b"127.0.0.1 love.cat # devtls\n::1 love.cat # devtls\n"
        b"127.0.0.1 www.love.cat # devtls\n::1 www.love.cat # devtls\n"
        b"# devtls: end\n"
    )


def test_a_machine_without_ipv6_gets_no_ipv6_line() -> None:
    assert b"::1 love.cat" not in hosts.render(DEBIAN, ["love.cat"], ipv6=False)


def test_a_file_with_windows_line_ends_keeps_them_and_the_block_has_them_too() -> None:
    rendered = hosts.render(b"127.0.0.1 localhost\r\n", ["love.cat"], ipv6=False)
    assert rendered.count(b"\n") == rendered.count(b"\r\n") == 4


def test_a_file_without_a_final_newline_gets_it_back() -> None:
    rendered = hosts.render(b"127.0.0.1 localhost", ["love.cat"], ipv6=False)
    assert rendered.startswith(b"127.0.0.1 localhost\n# devtls: begin, newline added\n")
    assert hosts.remove(rendered) == b"127.0.0.1 localhost"


def test_a_byte_order_mark_stays_first() -> None:
    data = hosts.BYTE_ORDER_MARK + b"127.0.0.1 localhost\r\n"
    rendered = hosts.render(data, ["love.cat"], ipv6=False)
    assert rendered.startswith(data)
    assert rendered.count(hosts.BYTE_ORDER_MARK) == 1
    assert hosts.render(hosts.BYTE_ORDER_MARK, ["love.cat"], ipv6=False).startswith(hosts.BYTE_ORDER_MARK + hosts.BEGIN)


def test_a_name_that_is_given_twice_or_is_there_already_is_there_once() -> None:
    once = hosts.render(DEBIAN, ["love.cat", "love.cat"], ipv6=False)
    assert once.count(b"love.cat") == 1
    assert hosts.render(once, [*hosts.names_in_block(once), "love.cat"], ipv6=False) == once


def test_comments_and_lines_that_are_no_entries_are_left_as_they_are() -> None:
    data = b"# 127.0.0.1 love.cat # devtls\n127.0.0.1 love.cat # devtls, by hand\n\t\n10.0.0.1\n#\n"
    rendered = hosts.render(data, ["love.cat"], ipv6=False)
    assert rendered.startswith(data + hosts.BEGIN)
    assert hosts.without(rendered, ["love.cat"]) == data


def work_for(lines: int) -> int:
    """How many lines of Python and calls an edit and its removal take, on a file of so many lines, a tenth ours."""
    own = b"".join(b"0.0.0.0 ads%d.example\r\n" % number for number in range(lines * 9 // 10))
    names = [f"n{number}.test" for number in range(lines // 10)]
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(counted)
    try:
        rendered = hosts.render(own, names, ipv6=False)
        again = hosts.render(rendered, [*hosts.names_in_block(rendered), "love.cat"], ipv6=False)
        fewer, left = hosts.without(again, names[1:]), hosts.remove(again)
    finally:
        sys.setprofile(None)
    assert left == own
    assert hosts.names_in_block(fewer) == ("n0.test", "love.cat")
    return count


def test_twice_as_many_lines_are_twice_as_much_work() -> None:
    assert work_for(20_000) < 2.1 * work_for(10_000)


def test_the_names_that_lead_here_are_ours_and_those_written_by_hand() -> None:
    data = DEBIAN + b"127.0.0.1 Own.test. # mine\n10.0.0.1 love.cat\n::1 six.test\n#127.0.0.1 no.test\n"
    here = hosts.names_led_here(hosts.render(data, ["shop.test"], ipv6=False))
    assert here == {"localhost", "own.test", "shop.test"}


def test_an_existing_block_is_replaced_where_it_is() -> None:
    data = hosts.render(b"1.1.1.1 a\n", ["old.test"], ipv6=False) + b"2.2.2.2 b\n"
    rendered = hosts.render(data, ["new.test"], ipv6=False)
    assert rendered.startswith(b"1.1.1.1 a\n# devtls: begin")
    assert rendered.endswith(b"# devtls: end\n2.2.2.2 b\n")
    assert hosts.names_in_block(rendered) == ("new.test",)


def test_a_line_that_was_appended_after_an_added_newline_keeps_its_own_line() -> None:
    data = hosts.render(b"1.1.1.1 a", ["old.test"], ipv6=False) + b"2.2.2.2 b\n"
    assert hosts.remove(data) == b"1.1.1.1 a\n2.2.2.2 b\n"


def test_a_line_that_the_user_wrote_into_the_block_is_kept() -> None:
    data = hosts.BEGIN + b"\n127.0.0.1 love.cat # devtls\n10.0.0.9 mine\n" + hosts.END + b"\n"
    assert hosts.remove(data) == b"10.0.0.9 mine\n"


def test_a_block_that_lost_its_end_takes_no_line_of_the_user_with_it() -> None:
    data = hosts.BEGIN + b"\n127.0.0.1 love.cat # devtls\n127.0.0.1 localhost\n"
    assert hosts.remove(data) == b"127.0.0.1 localhost\n"


def test_two_blocks_become_one() -> None:
    block = hosts.render(b"", ["a.test"], ipv6=False)
    assert hosts.render(block + b"1.1.1.1 x\n" + block, ["a.test"], ipv6=False) == block + b"1.1.1.1 x\n"


def test_a_foreign_address_is_named_by_line_number() -> None:
    data = DEBIAN + b"192.168.1.5 shop.test Love.Cat # staging\n127.0.0.1 love.cat\n"
    found = hosts.find_foreign(hosts.render(data, ["love.cat"], ipv6=True), ["love.cat"], ipv6=True)
    assert found == (hosts.ForeignLine(5, "192.168.1.5 shop.test Love.Cat # staging", "love.cat", "192.168.1.5"),)


def test_the_other_loopback_is_foreign_where_ipv6_is_not_served() -> None:
    assert not hosts.find_foreign(b"::1 love.cat\n", ["love.cat"], ipv6=True)
    assert hosts.find_foreign(b"::1 love.cat\n", ["love.cat"], ipv6=False)[0].address == "::1"


def test_a_comment_is_not_an_entry() -> None:
    assert not hosts.find_foreign(b"#10.0.0.1 love.cat\n10.0.0.1 # love.cat\n", ["love.cat"], ipv6=True)
