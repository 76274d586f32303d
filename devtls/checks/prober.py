"""Ask questions in a process of its own: a probe that hangs, and the libraries it needs, stay out of the supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from devtls.checks.question import decode_answer, encode_question
from devtls.model import Check, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from devtls.checks.question import Question
    from devtls.system.loop import Loop, Timer

PATIENCE = 40.0  # s for one question; each probe in it has a time-out of its own, this is for what none foresees
PATIENCE_EACH = 0.25  # s more for each domain
CHUNK = 65536


class Prober:
    """One process that answers one question after the other; started before the first, so that it is warm by then."""

    def __init__(self, loop: Loop, environment: Mapping[str, str]) -> None:
        self._loop = loop
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._incoming = bytearray()
        self._answered: Callable[[tuple[Check, ...]], None] | None = None
        self._previewed: Callable[[tuple[Check, ...]], None] | None = None
        self._late: Timer | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a question is not answered yet."""
        return self._answered is not None

    def warm(self) -> None:
        """Start the process, unless it runs."""
        if self._process:
            return
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "devtls.checks"],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C on the terminal is not for it
        )
        output = _output_of(self._process)
        os.set_blocking(output, False)
        self._loop.watch(output, self._read)

    def ask(
        self,
        question: Question,
        answered: Callable[[tuple[Check, ...]], None],
        previewed: Callable[[tuple[Check, ...]], None],
    ) -> None:
        """Call `answered` with the checks, `previewed` before that when all is green so far; one question at a time."""
        self.warm()
        self._answered = answered
        self._previewed = previewed
        patience = PATIENCE + PATIENCE_EACH * len(question.domains)
        self._late = self._loop.call_later(patience, lambda: self._fail("the checks did not end in time"))
        if self._process and self._process.stdin:
            try:
                self._process.stdin.write(encode_question(question) + b"\n")
                self._process.stdin.flush()
            except OSError:
                self._fail("the checks could not be asked")

    def cool(self) -> None:
        """End the process; the memory is the machine's again."""
        process, self._process = self._process, None
        self._incoming.clear()
        if self._late:
            self._late.cancel()
        if not process:
            return
        self._loop.unwatch(_output_of(process))
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # half a question was still on its way
        process.wait()

    def _read(self) -> None:
        if not self._process:
            return
        try:
            data = os.read(_output_of(self._process), CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._fail("the checks ended without an answer")
            return
        self._incoming += data
        while (end := self._incoming.find(b"\n")) >= 0:
            line = bytes(self._incoming[:end])
            del self._incoming[: end + 1]
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            answer = decode_answer(line)
        except ValueError:
            return  # the line that says it is ready
        if answer.final:
            self._answer(answer.checks)
        elif self._previewed:
            self._previewed(answer.checks)

    def _fail(self, fact: str) -> None:
        self.cool()
        self._answer((Check("checks", Verdict.FAILED, fact, layer="devtls", code="prober-failed"),))

    def _answer(self, checks: tuple[Check, ...]) -> None:
        answered, self._answered = self._answered, None
        if self._late:
            self._late.cancel()
        if answered:
            answered(checks)


def _output_of(process: subprocess.Popen[bytes]) -> int:
    if process.stdout is None:
        raise ValueError("the prober has no output")
    return process.stdout.fileno()
