from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(body: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own: the guardian forks, and test runners have threads."""
    head = (
        "import os, signal, sys, time\nfrom pathlib import Path\nfrom devtls.supervise.guardian import detach, guard\n"
    )
    return subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(body)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_supervisors_exit_status_is_passed_through() -> None:
    ended = run("sys.exit(guard(lambda: 7, marker=('DEVTLS_SESSION', 'x')))")
    assert (ended.returncode, ended.stderr) == (7, "")


def test_a_supervisor_ended_by_a_signal_is_told_as_such() -> None:
    ended = run("print(guard(lambda: os.kill(os.getpid(), 9), marker=('DEVTLS_SESSION', 'x')))")
    assert ended.stdout == f"{-signal.SIGKILL}\n"


def test_a_bug_in_the_supervisor_shows_its_traceback_once() -> None:
    ended = run("sys.exit(guard(lambda: 1 // 0, marker=('DEVTLS_SESSION', 'x')))")
    assert ended.returncode == 70
    assert ended.stderr.count("ZeroDivisionError: ") == 1


def test_what_was_printed_before_is_printed_once() -> None:
    ended = run("print('before'); guard(lambda: print('inside') or 0, marker=('DEVTLS_SESSION', 'x')); print('after')")
    assert ended.stdout == "before\ninside\nafter\n"


def test_the_supervisor_leads_its_own_session_and_sees_a_signal_once() -> None:
    ended = run("""
        def supervise():
            seen = []
            signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
            os.kill(os.getppid(), signal.SIGUSR1)
            while not seen:
                time.sleep(0.01)
            os.kill(os.getppid(), signal.SIGWINCH)
            print(os.getsid(0) == os.getpid(), len(seen))
            return 0
        guard(supervise, marker=("DEVTLS_SESSION", "x"))
    """)
    assert ended.stdout == "True 1\n"


def test_orphans_are_ended_and_those_of_before_are_spared() -> None:
    ended = run("""
        import subprocess
        before = subprocess.Popen(["sleep", "1000"])
        def supervise():
            print(subprocess.Popen(["setsid", "sleep", "1001"], stdout=subprocess.DEVNULL).pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        guard(supervise, marker=("DEVTLS_SESSION", "x"))
        print(before.poll())
        before.kill()
        before.wait()
    """)
    orphan, spared = ended.stdout.split()
    assert not Path(f"/proc/{orphan}").exists()
    assert spared == "None"


def test_an_ignored_hangup_stays_ignored() -> None:
    ended = run("""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        def supervise():
            os.kill(os.getppid(), signal.SIGHUP)
            signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(60)
        sys.exit(guard(supervise, marker=("DEVTLS_SESSION", "x")))
    """)
    assert ended.returncode == 3


def test_a_detached_run_writes_to_its_log_and_its_end_is_seen_on_the_pipe(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    ended = run(f"""
        def inside(writer):
            def supervise():
                print("printed")
                os.write(writer, b"ready")
                return 0
            return guard(supervise, marker=("DEVTLS_SESSION", "x"), close=[writer])
        pid, reader = detach(Path({str(log)!r}), inside)
        print(os.read(reader, 100), os.read(reader, 100), os.getsid(pid) == pid)
        os.waitpid(pid, 0)
    """)
    assert ended.stdout == "b'ready' b'' True\n"
    assert log.read_text(encoding="utf-8") == "printed\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_opened_ends_the_detached_process_and_only_that(tmp_path: Path) -> None:
    ended = run(f"""
        pid, reader = detach(Path({str(tmp_path)!r}) / "gone" / "up.log", lambda writer: 0)
        print(os.read(reader, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """)
    assert ended.stdout == "b'' 70\n"
    assert ended.stderr.count("FileNotFoundError") == 1
