from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from devtls.errors import DevtlsError
from devtls.system.files import (
    locked,
    make_private_directory,
    read_or_none,
    try_lock,
    write_atomically,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("open_umask")
def test_nobody_else_reads_a_file_whatever_the_umask(tmp_path: Path) -> None:
    write_atomically(tmp_path / "key", b"secret")
    assert mode_of(tmp_path / "key") == 0o600


def test_a_public_file_is_public_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "root.pem", b"certificate", 0o644)
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "root.pem") == 0o644


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"a long first text")
    with path.open("rb") as reader:
        write_atomically(path, b"second")
        assert reader.read() == b"a long first text"
    assert path.read_bytes() == b"second"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_link_is_replaced_and_what_it_led_to_is_left(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    write_atomically(tmp_path / "link", b"ours")
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
    assert not (tmp_path / "link").is_symlink()


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    (folder / "below").mkdir(parents=True)
    with pytest.raises(DevtlsError, match=r"cannot write .*taken: .*; the old file is as it was") as failed:
        write_atomically(folder, b"data")
    assert failed.value.cure
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DevtlsError, match="No such file or directory"):
        write_atomically(tmp_path / "nowhere" / "file", b"data")


@pytest.mark.usefixtures("open_umask")
def test_a_private_directory_is_private_with_all_that_was_made_above_it(tmp_path: Path) -> None:
    made = make_private_directory(tmp_path / "a" / "b" / "c")
    assert made == tmp_path / "a" / "b" / "c"
    assert [mode_of(path) for path in (made, made.parent, made.parent.parent)] == [0o700] * 3


def test_a_private_directory_that_cannot_be_made_is_a_fact(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DevtlsError, match=r"the directory .* cannot be made: ") as failed:
            make_private_directory(path)
        assert failed.value.cure


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o755)
    make_private_directory(tmp_path / "state")
    make_private_directory(tmp_path / "state" / "devtls")
    assert mode_of(tmp_path / "state") == 0o755


def test_a_file_that_is_not_there_reads_as_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    assert read_or_none(tmp_path / "file") == b"data"
    assert read_or_none(tmp_path / "nothing") is None
    assert read_or_none(tmp_path / "file" / "below") is None


def test_other_troubles_with_a_file_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_or_none(tmp_path)


def test_a_lock_has_one_holder_and_is_free_after_it(tmp_path: Path) -> None:
    lock = try_lock(tmp_path / "below" / "lock")
    assert lock is not None
    assert try_lock(tmp_path / "below" / "lock") is None
    os.close(lock)
    again = try_lock(tmp_path / "below" / "lock")
    assert again is not None
    os.close(again)


def test_a_lock_is_private_and_its_content_stays(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"42")
    (tmp_path / "lock").chmod(0o600)
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    assert not os.get_inheritable(lock)
    assert (tmp_path / "lock").read_bytes() == b"42"
    os.close(lock)


def test_a_lock_that_is_shared_with_a_child_lives_as_long_as_the_child(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = try_lock(path)
    assert lock is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock]) as child:
        os.close(lock)
        assert try_lock(path) is None
        child.communicate(b"\n")
    free = try_lock(path)
    assert free is not None
    os.close(free)


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        try_lock(tmp_path / "lock")


def test_a_lock_is_held_for_a_block_and_free_after_it_even_when_it_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with locked(tmp_path / "lock"):
            assert try_lock(tmp_path / "lock") is None
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    with locked(tmp_path / "lock"):
        pass
