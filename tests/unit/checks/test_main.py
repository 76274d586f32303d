from __future__ import annotations

import io

import pytest

from devtls.checks import decode_answer
from devtls.checks.__main__ import READY, answer, main
from devtls.model import Verdict


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[]", b"null", b"{}", b'{"domains":[{"name":1}]}', b"\xff\xfe"])
def test_a_line_that_is_no_question_gets_an_answer(line: bytes) -> None:
    (check,) = answer(line).checks
    assert (check.verdict, check.code) == (Verdict.UNKNOWN, "question-unreadable")


def test_the_prober_ends_with_its_input() -> None:
    answers = io.BytesIO()
    main(io.BytesIO(b'{"domains":[]}\nnonsense\n'), answers)
    lines = answers.getvalue().splitlines(keepends=True)
    assert lines[0] == READY
    assert decode_answer(lines[1]).checks == ()
    assert len(lines) == 3
