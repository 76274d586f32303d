from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtls.supervise.output import BUFFERED, FILES, LONGEST_LINE, Lines, LogFile, Screen, Tail, clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@given(st.lists(st.binary(max_size=50).map(lambda data: data.replace(b"\r", b"").replace(b"\x1b", b""))))
def test_lines_are_the_same_however_they_are_cut_into_chunks(chunks: list[bytes]) -> None:
    lines = Lines()
    fed = b"".join(lines.feed(chunk) for chunk in chunks) + lines.flush()
    whole = b"".join(chunks)
    assert fed == clean(whole if whole.endswith(b"\n") or not whole else whole + b"\n")


def test_an_unfinished_line_is_held_until_it_is_finished_or_flushed() -> None:
    lines = Lines()
    assert lines.feed(b"one\ntw") == b"one\n"
    assert lines.is_partial
    assert lines.feed(b"o\nthr") == b"two\n"
    assert lines.flush() == b"thr\n"
    assert not lines.is_partial
    assert lines.flush() == b""


def test_a_line_that_is_too_long_is_cut_and_says_by_how_much() -> None:
    lines = Lines()
    for _ in range(10):
        assert lines.feed(b"x" * LONGEST_LINE) == b""
    shown = lines.feed(b"end\nnext\n")
    assert shown == b"x" * LONGEST_LINE + b" [%d more bytes on this line are not shown]\nnext\n" % (
        9 * LONGEST_LINE + 3
    )


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"\x1b[2J\x1b[3J\x1b[Hhello\n", b"hello\n"),
        (b"\x1bchello\n", b"hello\n"),
        (b"\x1b[32mgreen\x1b[0m\n", b"\x1b[32mgreen\x1b[0m\n"),
        (b"\x1b[38;2;1;2;3mopen\nplain\n", b"\x1b[38;2;1;2;3mopen\x1b[0m\nplain\n"),
        (b"\x1b[1A\x1b[2Kup\n", b"up\n"),
        (b"\x1b]0;title\x07text\n", b"text\n"),
        (b"\x1b]52;c;c2VjcmV0\x1b\\text\n", b"text\n"),
        (b"\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\\n", b"link\n"),
        (b"\x1b]0;never ended\nnext\n", b"\nnext\n"),
        (b"\x1bP+q544e\x1b\\text\n", b"text\n"),
        (b"\x1b[>4;2mtext\n", b"text\n"),
        (b"\x1b[?1049htext\n", b"text\n"),
        (b"\x1b\x1b[2J[2Jtext\n", b"[2Jtext\n"),
        (b"be\x07ll\x08\x00\n", b"bell\n"),
        (b"\xc2\x9b2Jtext\n", b"?2Jtext\n"),
        (b"\xc2\x01\x9b2Jtext\n", b"?2Jtext\n"),
        (b"windows\r\n", b"windows\n"),
        (b"10%\r20%\r100%\r\n", b"100%\n"),
        ("tabs\tand h\u00e9 \u2713\n".encode(), "tabs\tand h\u00e9 \u2713\n".encode()),
    ],
)
def test_what_would_drive_the_terminal_is_taken_out_and_colours_stay(printed: bytes, shown: bytes) -> None:
    assert clean(printed) == shown


def test_colours_go_too_when_they_are_not_wanted() -> None:
    assert clean(b"\x1b[32mgreen\x1b[0m\n", has_colours=False) == b"green\n"


HARMFUL = st.lists(
    st.sampled_from(
        [b"\x1b", b"[", b"]", b"2J", b"31m", b"m", b";", b"\x07", b"\\", b"\xc2", b"\x9b", b"\r", b"\n", b"P"]
    )
    | st.binary(max_size=3),
).map(b"".join)


@given(HARMFUL)
def test_nothing_that_is_left_drives_a_terminal(printed: bytes) -> None:
    shown = clean(printed + b"\n")
    rest = re.sub(rb"\x1b\[[0-9;:]*m", b"", shown)
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", rest)
    assert clean(shown) == shown
    assert shown.count(b"\n") == printed.count(b"\n") + 1


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 6))
def test_the_tail_is_the_last_lines(blocks: list[int], most: int) -> None:
    tail, printed = Tail(most), []
    for number, count in enumerate(blocks):
        lines = [b"%d-%d" % (number, line) for line in range(count)]
        printed += lines
        if lines:
            tail.add(b"\n".join(lines) + b"\n")
    assert tail.last(most) == tuple(printed[-most:])
    assert tail.last(0) == ()


def test_a_log_file_has_the_time_before_each_line_and_is_private(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", clock=lambda: 1_785_592_923.125)
    log.write(b"one\ntwo\n")
    log.close()
    stamp = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.125[+-]\d\d:\d\d"
    assert re.fullmatch(stamp + rb" one\n" + stamp + rb" two\n", (tmp_path / "web.log").read_bytes())
    assert (tmp_path / "web.log").stat().st_mode & 0o777 == 0o600


def test_log_files_rotate_and_three_are_kept(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", limit=100)
    for number in range(10):
        log.write(b"%d" % number * 60 + b"\n")
    log.close()
    kept = sorted(tmp_path.iterdir())
    assert [path.name for path in kept] == ["web.log", "web.log.1", "web.log.2"]
    assert len(kept) == FILES
    assert [path.read_bytes()[-2:-1] for path in kept] == [b"9", b"8", b"7"]


def test_a_log_that_cannot_be_written_is_noted_and_tried_again_later(tmp_path: Path) -> None:
    now = [0.0]
    place = tmp_path / "logs"
    log = LogFile(place / "web.log", clock=lambda: now[0])
    log.write(b"lost\n")
    assert log.trouble == f"cannot write {place / 'web.log'}: No such file or directory"
    place.mkdir()
    log.write(b"lost, too early to try\n")
    now[0] = 5.0
    log.write(b"kept\n")
    assert log.trouble == ""
    log.close()
    assert (place / "web.log").read_bytes().endswith(b" kept\n")
    assert (place / "web.log").read_bytes().count(b"\n") == 1


def test_a_full_disk_is_noted(tmp_path: Path) -> None:
    (tmp_path / "web.log").symlink_to("/dev/full")
    log = LogFile(tmp_path / "web.log")
    log.write(b"lost\n")
    assert log.trouble  # a link is refused, so that nobody sends our lines elsewhere


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_the_screen_prefixes_every_line_in_order(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    screen = Screen(writer, width=6, colours=lambda name: b"\x1b[36m" if name == "web" else b"")
    screen.write("web", b"one\ntwo\n")
    screen.write("devtls", b"web is ready\n")
    screen.close()
    web = b"\x1b[36mweb   \x1b[0m | "
    assert os.read(reader, 4096) == web + b"one\n" + web + b"two\ndevtls | web is ready\n"


def test_a_paused_screen_makes_nobody_wait_and_tells_what_it_left_out(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    screen = Screen(writer, width=6)
    block = b"".join(b"line %06d\n" % number for number in range(1000))
    offered = 0
    while offered < 2 * BUFFERED:
        screen.write("web", block)
        offered += len(block)
    assert not screen.flush(0.0)
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.extend(iter(lambda: os.read(reader, 65536), b"")))
    thread.start()
    assert screen.flush(30)
    screen.write("devtls", b"after\n")
    assert screen.flush(30)
    screen.close()
    lines = _until_closed(writer, thread, read)
    shown = sum(line.startswith(b"web    | line ") and len(line) == 20 for line in lines)
    told = [
        int(found[1]) for line in lines if (found := re.fullmatch(rb"devtls \| (\d+) lines are not shown: .*", line))
    ]
    assert shown + sum(told) == 1000 * (offered // len(block))
    assert sum(told) > 0
    assert lines[-1] == b"devtls | after"


def _until_closed(writer: int, thread: threading.Thread, read: list[bytes]) -> list[bytes]:
    """Point the writing end elsewhere, which closes the pipe without freeing its number."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, writer)
    os.close(nothing)
    thread.join()
    return b"".join(read).splitlines()


def test_services_wait_for_a_slow_screen_but_not_for_a_stalled_one(pipe: tuple[int, int]) -> None:
    _reader, writer = pipe
    now = [0.0]
    screen = Screen(writer, width=6, clock=lambda: now[0])
    assert screen.has_room()
    screen.write("web", b"x" * 2_000_000 + b"\n")
    assert not screen.has_room()
    now[0] = 10.0
    assert screen.has_room()


def test_a_screen_whose_reader_is_gone_swallows_everything() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    screen = Screen(writer, width=6)
    screen.write("web", b"nobody reads this\n")
    assert screen.flush(30)
    screen.write("web", b"nor this\n")
    assert screen.flush(30)
    screen.close()
    os.close(writer)
