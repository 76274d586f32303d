"""kill -9 between any two steps of trusting and of taking back: afterwards all of it can be taken back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from devtls.ca import store as ca
from devtls.system.paths import Paths
from devtls.system.run import run
from devtls.trust import Change, receipts
from devtls.trust.java import JavaStore
from devtls.trust.nss import NssStore
from tests.real.running import MOMENT, wait_until
from tests.real.tls import java_set

if TYPE_CHECKING:
    from devtls.trust import Store

MOST_STEPS = 60

# Ends itself with -9 at the nth thing that it does to the world: a file opened to be written, renamed, deleted, a
# directory made, a program started (the database and the keystore are changed by programs).
KILLED = """
import os, signal, sys
from pathlib import Path

from devtls.ca import store as ca
from devtls.system.paths import Paths
from devtls.system.run import run
from devtls.trust import receipts
from tests.real.test_killed import make_store

verb, kind, home, steps = sys.argv[1:]
paths = Paths(Path(home), Path(home, "data"), Path(home, "state"))
(authority,) = ca.load_authorities(paths)
store = make_store(kind, paths)
left = int(steps)

def count(event, words):
    global left
    writes = event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "subprocess.Popen"}:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
if verb == "trust":
    receipts.trust(store, authority, paths)
else:
    receipts.untrust_all([store], paths, ca.describe_owner(), run)
"""


def make_store(kind: str, paths: Paths) -> Store:
    if kind == "java":
        return JavaStore("Java", paths.home / "jdk/lib/security/cacerts", "/usr/bin/keytool", run)
    return NssStore("Chromium", paths.home / "pki/nssdb", run)


def snapshot(kind: str, paths: Paths) -> object:
    """What has to be again as it was."""
    if kind == "nss":
        return sorted(str(each) for each in (paths.home / "pki").rglob("*")), (paths.home / "pki").exists()
    keystore = paths.home / "jdk/lib/security/cacerts"
    return java_set(str(keystore)), sorted(each.name for each in keystore.parent.iterdir())


def kill_at(step: int, verb: str, kind: str, paths: Paths) -> bool:
    """Whether it was killed; false when it came to its end before. What it had started has ended, too."""
    argv = [sys.executable, "-c", KILLED, verb, kind, str(paths.home), str(step)]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(argv, cwd=root, check=False, capture_output=True, text=True)
    assert ended.returncode in {0, -9}, ended.stderr
    wait_until(lambda: not is_at_work(paths), "what the killed process had started ends", 10 * MOMENT)
    return ended.returncode == -9


def is_at_work(paths: Paths) -> bool:
    """Whether a program that changes our store runs still."""
    found = (each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"]))
    return any(str(paths.home) in word for words in found for word in words)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["nss", "java"])
@pytest.mark.parametrize("verb", ["trust", "untrust"])
def test_killed_at_any_step_everything_can_be_taken_back(tmp_path: Path, verb: str, kind: str) -> None:
    paths = Paths(tmp_path, tmp_path / "data", tmp_path / "state")
    authority = ca.create_authority(paths, ("love.cat",), datetime.now(UTC))
    keystore = paths.home / "jdk/lib/security/cacerts"
    keystore.parent.mkdir(parents=True)
    shutil.copy("/etc/ssl/certs/java/cacerts", keystore)
    store = make_store(kind, paths)
    before = snapshot(kind, paths)
    steps = 0
    is_killed = True
    while is_killed:
        steps += 1
        assert steps < MOST_STEPS
        if verb == "untrust":
            assert receipts.trust(store, authority, paths) == Change()
        is_killed = kill_at(steps, verb, kind, paths)
        assert receipts.untrust_all([store], paths, ca.describe_owner(), run) == Change()
        assert snapshot(kind, paths) == before, f"killed at step {steps}"
        assert receipts.load_receipts(paths) == ()
    assert steps > 4, "nothing was interrupted"
