from __future__ import annotations

import io
from typing import NoReturn

import pytest

from devtls.checks import decode_answer
from devtls.checks.__main__ import READY, answer, main
from devtls.model import Check, Verdict


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[]", b"null", b"{}", b'{"domains":[{"name":1}]}', b"\xff\xfe"])
def test_a_line_that_is_no_question_gets_an_answer(line: bytes) -> None:
    (check,) = answer(line).checks
    assert (check.verdict, check.code) == (Verdict.UNKNOWN, "question-unreadable")


def test_what_else_is_to_be_known_of_the_names_is_told_last() -> None:
    note = Check("proxy of Firefox", Verdict.NOTED, "is asked")
    assert answer(b'{"domains":[]}', noted=lambda _hosts: (note,)).checks == (note,)


def test_a_note_that_fails_does_not_cost_the_answer() -> None:
    def noted(_hosts: object) -> NoReturn:
        raise ValueError("an odd file")

    (check,) = answer(b'{"domains":[]}', noted=noted).checks
    assert (check.verdict, "an odd file" in check.fact) == (Verdict.UNKNOWN, True)


def test_the_prober_ends_with_its_input() -> None:
    answers = io.BytesIO()
    main(io.BytesIO(b'{"domains":[]}\nnonsense\n'), answers)
    lines = answers.getvalue().splitlines(keepends=True)
    assert lines[0] == READY
    assert decode_answer(lines[1]).checks == ()
    assert len(lines) == 3
