"""Have clients shake hands with a server of ours, and tell which certificates they took. Heavy: imports ssl."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.trust.clients import Scene, environment_for
from devtls.trust.listener import Answer, Listener

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from devtls.trust.clients import Call, FoundClient
    from devtls.trust.listener import Certificate, Port

AT_ONCE = 8  # clients that run at the same time; each bounds itself
LOOK_EVERY = 0.02  # s
GRACE = 0.5  # s; what a client sent just before it ended is still on its way
LONGEST_LINE = 200  # characters of what a client said


class Question(Struct, frozen=True):
    """A client, with what it is to be shown, and an environment to be asked in."""

    found: FoundClient
    certificates: tuple[Certificate, ...]
    environment: Mapping[str, str]
    profile: Path | None = None


class Told(Struct, frozen=True):
    """What a client made of one certificate.

    Attributes:
        host: whom the certificate was for.
        alert: that the client sent: "tlsv1 alert unknown ca".
        said: the last line that the client said when it never came, or why it was ended.
    """

    host: str
    answer: Answer
    alert: str = ""
    said: str = ""


def ask_all(questions: Sequence[Question]) -> tuple[tuple[Told, ...], ...]:
    """Ask them, several at a time, and return their answers in the same order; slow ones begin first."""
    with _scratch() as scratch, Listener(scratch) as listener, ThreadPoolExecutor(AT_ONCE) as pool:
        order = sorted(range(len(questions)), key=lambda index: -questions[index].found.client.patience)
        asked = {
            index: pool.submit(
                _ask,
                questions[index],
                [listener.open(certificate) for certificate in questions[index].certificates],
                _made(scratch / f"client-{index}"),
            )
            for index in order
        }
        return tuple(asked[index].result() for index in range(len(questions)))


def who_still_trusts(
    certificates: Sequence[Certificate], clients: Sequence[FoundClient], environment: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Return (client, host) for each certificate that is accepted, though its root was taken out of every store.

    Browsers are left out: they are too slow to be waited for, and a running one forgets only when it is restarted.
    """
    asked = [each for each in clients if not each.client.is_browser]
    answers = ask_all([Question(each, tuple(certificates), environment) for each in asked])
    return tuple(
        (each.client.name, told.host)
        for each, all_told in zip(asked, answers, strict=True)
        for told in all_told
        if told.answer is Answer.ACCEPTED
    )


def _ask(question: Question, ports: Sequence[Port], scratch: Path) -> tuple[Told, ...]:
    client, end = question.found.client, time.monotonic() + question.found.client.patience
    scene = Scene(
        program=question.found.program,
        targets=tuple(port.target for port in ports),
        scratch=scratch,
        is_root=os.geteuid() == 0,
        profile=question.profile,
    )
    said = defaultdict[int, str](str)
    for call in client.calls(scene):
        asked = [port for port in ports if port.target in call.targets]
        words = _run(call, environment_for(question.environment, call), scratch, asked, end)
        said |= dict.fromkeys((port.target.port for port in asked), words)
    return tuple(
        Told(port.target.host, port.answer, port.alert, said[port.target.port] if port.answer is Answer.SILENT else "")
        for port in ports
    )


def _run(call: Call, environment: Mapping[str, str], scratch: Path, ports: Sequence[Port], end: float) -> str:
    """Start the program, end it when all is decided or at `end`, and return its last line, or why it was ended."""
    for name, text in call.files.items():
        (scratch / name).write_text(text, "utf-8")
    for name, source in call.copies.items():
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(source, scratch / name)
    if not os.path.exists(call.argv[0]):  # noqa: PTH110 - setpriv, which is started in its stead, would be there
        return f"cannot be started: {os.strerror(errno.ENOENT)}"
    with (scratch / "said").open("w+b") as said:
        try:
            started = subprocess.Popen(
                (*_bound(), *call.argv),
                cwd=scratch,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=True,  # a browser is many processes
            )
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        with contextlib.suppress(BrokenPipeError), started.stdin or contextlib.nullcontext() as stream:
            if stream:
                stream.write(call.stdin)
        is_late = not _wait(started, ports, end)
        _end(started)
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").split("\n")
    if is_late:
        return "did not ask in time"
    return next((line.strip()[:LONGEST_LINE] for line in reversed(lines) if line.strip()), "ended without a word")


def _bound() -> tuple[str, ...]:
    """What ends the client with us, however we end: a browser without a window would run for ever."""
    setpriv = "/usr/bin/setpriv"
    return (setpriv, "--pdeathsig", "KILL", "--") if os.access(setpriv, os.X_OK) else ()


def _wait(started: subprocess.Popen[bytes], ports: Sequence[Port], end: float) -> bool:
    """Wait until all is decided or the program has ended; False when neither came in time."""
    while not all(port.decided.is_set() for port in ports):
        if started.poll() is not None:
            last = time.monotonic() + GRACE
            for port in ports:
                if port.answer is Answer.SILENT:
                    port.decided.wait(max(0.0, last - time.monotonic()))
            return True
        if time.monotonic() > end:
            return False
        time.sleep(LOOK_EVERY)
    return True


def _end(started: subprocess.Popen[bytes]) -> None:
    """End the program and all of its group, which is ours: it was started as its leader."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A private directory; a browser that is being ended may still write into it."""
    directory = Path(tempfile.mkdtemp(prefix="devtls-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    return directory
