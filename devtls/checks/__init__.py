"""Does it work for a browser? Questions asked of the running system, and what they find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.checks.question import (
    Answer,
    Domain,
    Question,
    decode_answer,
    decode_question,
    encode_answer,
    encode_question,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devtls.model import Check

__all__ = [
    "Answer",
    "Domain",
    "Question",
    "ask",
    "decode_answer",
    "decode_question",
    "encode_answer",
    "encode_question",
]


def ask(
    question: Question,
    previewed: Callable[[tuple[Check, ...]], None] = lambda _checks: None,
    noted: Callable[[Sequence[str]], tuple[Check, ...]] = lambda _hosts: (),
) -> tuple[Check, ...]:
    """Answer in this process: for each domain its name when that is wrong, its page, and its WebSockets.

    `previewed` is called from any thread, at most once, when all is green before the listening that follows.
    `noted` says what else is to be known of the names.
    """
    from devtls.checks.survey import survey

    return survey(question, previewed, noted)
