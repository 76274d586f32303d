"""The prober: `python -P -m devtls.checks` answers questions, a JSON line or two each, until its input ends.

It is a process of its own so that the long-lived ones stay small, and it is started before the app is ready so that
its imports (80 ms, half of them `websockets`) cost no one any time.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from devtls.checks import Answer, ask, decode_question, encode_answer
from devtls.checks.detours import judge_detours
from devtls.checks.proxy_settings import find_detours
from devtls.model import Check, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

WARM = ("websockets.client", "websockets.extensions.permessage_deflate", "devtls.checks.survey", "devtls.checks.tls")
READY = b'{"ready":true}\n'


def main(questions: BinaryIO, answers: BinaryIO) -> None:
    """Say that we are ready, then answer line by line.

    What leads names elsewhere is looked for meanwhile, once: it is there before the app is.
    """
    detours = ThreadPoolExecutor(1).submit(find_detours, os.environ, Path.home())
    _warm_up()
    answers.write(READY)
    answers.flush()

    def tell(told: Answer) -> None:
        answers.write(encode_answer(told) + b"\n")
        answers.flush()

    for line in questions:
        told = answer(
            line,
            lambda checks: tell(Answer(checks, final=False)),
            lambda hosts: judge_detours(detours.result(), hosts),
        )
        tell(told)


def answer(
    line: bytes,
    previewed: Callable[[tuple[Check, ...]], None] = lambda _checks: None,
    noted: Callable[[Sequence[str]], tuple[Check, ...]] = lambda _hosts: (),
) -> Answer:
    """Return the answer to one line; a line that is no question gets one, too."""
    try:
        question = decode_question(line)
    except ValueError as error:
        fact = f"this is not a question: {type(error).__name__}: {error}"
        return Answer((Check("question", Verdict.UNKNOWN, fact, "unknown", "question-unreadable"),))
    return Answer(ask(question, previewed, noted))


def _warm_up() -> None:
    """Import what the first question needs."""
    for name in WARM:
        importlib.import_module(name)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl+C reaches the whole terminal group: end without a traceback
    try:
        main(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:  # whoever asked is gone
        sys.stderr.close()
