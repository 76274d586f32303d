from __future__ import annotations

from pathlib import Path

import pytest

from devtls.checks.question import (
    Answer,
    Domain,
    Question,
    decode_answer,
    decode_question,
    encode_answer,
    encode_question,
)
from devtls.model import Check, Endpoint, Verdict

DOMAIN = Domain("love.cat", Path("/état/root.pem"), 2**159 - 1)


@pytest.mark.parametrize(
    "question",
    [
        Question((DOMAIN,)),
        Question(
            (DOMAIN, DOMAIN),
            8443,
            Endpoint("::1", 3000),
            "/chat",
            ("/a", "/b"),
            Path("/x/site"),
            "::1",
            2.5,
            wildcards=("*.love.cat",),
        ),
    ],
)
def test_a_question_comes_back_as_it_was(question: Question) -> None:
    line = encode_question(question)
    assert b"\n" not in line
    assert decode_question(line) == question


def test_checks_come_back_as_they_were() -> None:
    checks = (
        Check("https://love.cat", Verdict.PASSED, "200 in 12 ms"),
        Check("wss://love.cat/ü", Verdict.FAILED, "404", "gateway", "ws-upgrade-missing", ("a", "  b"), ("c\nd",)),
    )
    line = encode_answer(Answer(checks))
    assert b"\n" not in line
    assert decode_answer(line) == Answer(checks)


def test_the_port_is_part_of_the_host_header_when_it_is_not_443() -> None:
    assert Question((DOMAIN,)).authority(DOMAIN) == "love.cat"
    assert Question((DOMAIN,), 8443).authority(DOMAIN) == "love.cat:8443"
