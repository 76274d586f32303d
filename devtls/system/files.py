"""Files that are whole or not there, and locks that die with their holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from devtls.errors import DevtlsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o644
PRIVATE_DIRECTORY = 0o700


def make_private_directory(path: Path) -> Path:
    """Create a directory (and its parents) that only its owner can enter, whatever the umask.

    Raises:
        DevtlsError: it cannot be made.
    """
    try:
        return _make_private_directory(path)
    except OSError as error:
        raise DevtlsError(f"the directory {path} cannot be made: {error.strerror}", *cure_for(error)) from error


def cure_for(error: OSError) -> tuple[str, ...]:
    """What to do about a file that cannot be written."""
    if error.errno in {errno.EROFS, errno.ENOLCK, errno.EOPNOTSUPP}:  # a read-only home, or a network one without locks
        return (
            "Have devtls keep its files elsewhere, on a disk of this machine:",
            "  export XDG_DATA_HOME=/var/tmp/$USER/share XDG_STATE_HOME=/var/tmp/$USER/state",
        )
    return ("Make room or set the permissions, then run the same command again.",)


def _make_private_directory(path: Path) -> Path:
    if not path.is_dir():
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        path.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        path.chmod(PRIVATE_DIRECTORY)
    return path


def write_atomically(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace a file as a whole: a reader, a full disk or a kill sees the old one or the new one.

    Raises:
        DevtlsError: nothing was changed (disk full, read-only, no permission).
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            os.fchmod(descriptor, mode)  # the umask has no say in who reads a key
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise DevtlsError(
            f"cannot write {path}: {error.strerror}; the old file is as it was", *cure_for(error)
        ) from error
    with contextlib.suppress(OSError):  # the new file is there, and a file system that cannot sync says so here
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename or a creation in this directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_or_none(path: Path) -> bytes | None:
    """Return a file's bytes, or None when there is no such file."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def try_lock(path: Path) -> int | None:
    """Take an exclusive lock (flock) and return its descriptor, or None when somebody holds it.

    The kernel frees it when the last process that inherited the descriptor is gone, so it is never stale.
    """
    make_private_directory(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, waiting for it."""
    make_private_directory(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
