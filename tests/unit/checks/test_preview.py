from __future__ import annotations

from devtls.checks.preview import Preview
from devtls.model import Check, Verdict

URL = "wss://love.cat/chat"
PAGE = Check("https://love.cat", Verdict.PASSED, "200")
PONG = Check(URL, Verdict.PASSED, "101")


def test_a_page_and_its_pong_are_told_once() -> None:
    told: list[tuple[Check, ...]] = []
    preview = Preview(1, told.append)
    preview.page(0, PAGE)
    preview.expect(0, (URL,))
    assert told == []
    preview.pong(0, URL, PONG)
    preview.pong(0, URL, PONG)
    assert told == [(PAGE, PONG)]


def test_all_domains_are_waited_for() -> None:
    told: list[tuple[Check, ...]] = []
    preview = Preview(2, told.append)
    for domain in (0, 1):
        assert told == []
        preview.page(domain, PAGE)
        preview.expect(domain, (URL,))
        preview.pong(domain, URL, PONG)
    assert told == [(PAGE, PONG, PAGE, PONG)]


def test_nothing_is_told_once_something_else_was_found_wrong() -> None:
    told: list[tuple[Check, ...]] = []
    preview = Preview(1, told.append)
    preview.cancel()
    preview.page(0, PAGE)
    preview.expect(0, (URL,))
    preview.pong(0, URL, PONG)
    assert told == []
