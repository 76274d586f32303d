from __future__ import annotations

import pytest

from devtls.config.domains import (
    authority_names,
    is_public_suffix,
    parse_certificate_names,
    real_domain_notice,
    wildcard_notice,
)
from devtls.errors import UsageError


def test_an_unknown_suffix_is_nobodys() -> None:
    assert not is_public_suffix("corp.internal")
    assert is_public_suffix("co.uk")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("love.cat",), ("love.cat",)),
        (("www.love.cat", "*.love.cat", "love.cat"), ("love.cat",)),
        (("love.cat", "localhost", "127.0.0.1"), ("love.cat", "localhost", "test")),
        (("127.0.0.1", "::1"), ("localhost", "test")),
        (("192.168.1.20", "::1"), ("192.168.1.20",)),
        (("b.dev", "a.dev", "shop.test"), ("a.dev", "b.dev", "localhost", "test")),
    ],
)
def test_an_authority_covers_what_is_asked_for_and_no_more(names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert authority_names(names) == expected


def test_names_of_a_certificate_are_hosts_wildcards_and_addresses_each_once() -> None:
    texts = ("Love.Cat.", "*.love.cat", "[::1]", "0:0:0:0:0:0:0:1", "10.0.0.7", "*.test", "localhost")
    expected = ("love.cat", "*.love.cat", "::1", "10.0.0.7", "*.test", "localhost")
    assert parse_certificate_names(texts, lambda _domain: True) == expected
    for text in ("a@b.c", "https://love.cat", "*.*.love.cat", "a b", "*.co.uk", ""):
        with pytest.raises(UsageError):
            parse_certificate_names([text], lambda _domain: False)


@pytest.mark.parametrize(
    ("domain", "word"),
    [
        ("love.cat", "cookies"),
        ("shop.co.uk", "cookies"),
        ("nas.internal", "in your network"),
        ("printer.local", "in your network"),
        ("shop.test", ""),
        ("love.example", ""),
        ("10.0.0.7", ""),
        ("shop.nosuchtld", ""),
    ],
)
def test_a_name_that_is_real_elsewhere_is_told_about(domain: str, word: str) -> None:
    notice = real_domain_notice(domain)
    assert (notice is not None and word in notice[0]) if word else notice is None


def test_only_a_wildcard_right_below_the_top_is_told_about() -> None:
    assert [wildcard_notice(name) is not None for name in ("*.test", "*.love.test", "love.test", "*.localhost")] == [
        True,
        False,
        False,
        True,
    ]
