from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.errors import UsageError
from devtls.model import LABEL, LONGEST_NAME, Authority, Endpoint, parse_domain

LONGEST_LABEL = "a" * 63
LONGEST = ".".join([LONGEST_LABEL] * 3 + ["b" * 51])


@pytest.mark.parametrize(
    ("typed", "domain"),
    [
        ("love.cat", "love.cat"),
        ("LOVE.Cat", "love.cat"),
        (" love.cat\n", "love.cat"),
        ("love.cat.", "love.cat"),
        ("a-b.c--d.test", "a-b.c--d.test"),
        ("4ever.love2.test", "4ever.love2.test"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bücher.example.", "xn--bcher-kva.example"),
        ("爱.猫", "xn--u0x.xn--z7x"),
        ("faß.example", "xn--fa-hia.example"),  # IDNA 2008: not fass.example
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        (f"{LONGEST_LABEL}.cat", f"{LONGEST_LABEL}.cat"),
        (LONGEST, LONGEST),
    ],
)
def test_a_host_name_is_read_in_its_ascii_form(typed: str, domain: str) -> None:
    assert parse_domain(typed) == domain


@pytest.mark.parametrize(
    ("typed", "fact"),
    [
        ("", "'' is not a host name"),
        (".", "'.' is not a host name"),
        ("a b", "'a b' has a character that host names cannot have"),
        ("-x.cat", "the label '-x' begins or ends with a hyphen"),
        ("x-.cat", "the label 'x-' begins or ends with a hyphen"),
        ("love..cat", "a label between two dots is empty"),
        (".love.cat", "a label between two dots is empty"),
        ("love.cat..", "a label between two dots is empty"),
        (f"{'a' * 64}.cat", "the label aaaaaaaaaaaa… has 64 characters"),
        (f"b{LONGEST}", "is not a host name"),
        ("under_score.cat", "'under_score' has a character that host names cannot have"),
        ("*.love.cat", "'*' has a character that host names cannot have"),
        ("love.cat:8443", "'cat:8443' has a character that host names cannot have"),
        ("https://love.cat", "'https://love' has a character that host names cannot have"),
        ("love.cat;", "'cat;' has a character that host names cannot have"),
        ("love.cat\nevil.cat", r"'cat\nevil' has a character that host names cannot have"),
        ("💔\ufffd.cat", "is not a host name"),
        ("127.0.0.1", "'127.0.0.1' is an address, not a host name"),
        ("10.1", "'10.1' is an address, not a host name"),
        ("love.1", "'love.1' is an address, not a host name"),  # WHATWG: a last label that is a number
        ("love.0x7f", "'love.0x7f' is an address, not a host name"),
        ("::1", "'::1' has a character that host names cannot have"),
    ],
)
def test_what_is_no_host_name_is_refused_with_the_label_at_fault(typed: str, fact: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_domain(typed)
    assert fact in refused.value.message
    assert refused.value.cure


@settings(deadline=None)
@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z0-9äß。.-]{1,70}", fullmatch=True))
def test_any_text_is_a_plain_host_name_or_a_users_mistake(text: str) -> None:
    try:
        domain = parse_domain(text)
    except UsageError:
        return
    assert len(domain) <= LONGEST_NAME
    assert all(LABEL.fullmatch(label) for label in domain.split("."))
    assert parse_domain(domain) == domain


@pytest.mark.parametrize(
    ("endpoint", "text"), [(Endpoint("127.0.0.1", 3000), "127.0.0.1:3000"), (Endpoint("::1", 443), "[::1]:443")]
)
def test_an_endpoint_is_written_as_in_a_url(endpoint: Endpoint, text: str) -> None:
    assert str(endpoint) == text


@pytest.mark.parametrize(
    ("host", "is_covered"),
    [("love.cat", True), ("www.love.cat", True), ("clove.cat", False), ("cat", False), ("love.cat.localhost", False)],
)
def test_an_authority_covers_its_names_and_all_below_them(host: str, is_covered: bool) -> None:
    authority = Authority("1a2b3c4d", ("love.cat", "test"), Path("ca"), "", datetime(2030, 1, 1, tzinfo=UTC))
    assert authority.covers(host) is is_covered
    assert authority.covers("test")
    assert (authority.name, authority.root) == ("devtls-1a2b3c4d", Path("ca/root.pem"))
