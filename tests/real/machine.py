"""A private Linux machine for one test: its own processes, network, users, /etc and homes; the real one is not touched.

It is a set of namespaces that one process holds open; every program enters them. When that process ends, so does all
that runs there, and all that was written is gone with its tmpfs.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Self

import pytest

from tests.real.running import MOMENT, Completed, Running, Said

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.real.installation import Installed

# How sudo treats dev: without a password, with PASSWORD, or as it treats guest.
Sudo = Literal["free", "password", "none"]
PASSWORD = "correct horse"
UIDS = {"root": 0, "dev": 61001, "guest": 61002}

# What Debian's login gives a user, and root; devtls is in ~/.local/bin, where pipx puts it.
USER_PATH = "/usr/local/bin:/usr/bin:/bin"
ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TOOLS = ("unshare", "nsenter", "setpriv", "setsid", "ip", "ss", "useradd", "chpasswd", "sudo", "/usr/bin/python3")

# Runs as root and as process 1 of the new namespaces. $1: how sudo treats dev; $2: the password; $3: devtls.
# /run is new because sudo's tickets live there. A hosts file may be a mount of its own, which an overlay leaves behind.
SETUP = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
for place in /etc /usr/local/share/ca-certificates /var/lib /var/log /var/cache; do
  new="/run/overlay$place"
  mkdir -p "$new/upper" "$new/work"
  mount -t overlay -o "lowerdir=$place,upperdir=$new/upper,workdir=$new/work" overlay "$place"
done
chmod 700 /run/overlay
mkdir -m 1777 /run/lock
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=700 tmpfs /root
ip link set lo up
hostname machine
printf '127.0.0.1\tlocalhost\n127.0.1.1\tmachine\n::1\tlocalhost ip6-localhost ip6-loopback\n' > /etc/hosts
: > /etc/resolv.conf.new && mv /etc/resolv.conf.new /etc/resolv.conf
for name in dev guest; do userdel "$name" 2>/dev/null || :; done
useradd --create-home --shell /bin/bash --uid 61001 dev
useradd --create-home --shell /bin/bash --uid 61002 guest
for home in /root /home/dev /home/guest; do
  mkdir -p "$home/.local/bin"
  ln -s "$3" "$home/.local/bin/devtls"
  chown -R --reference "$home" "$home/.local"
done
rm -f /etc/sudoers.d/*
cat > /etc/sudoers <<END
Defaults env_reset, mail_badpass, use_pty
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
END
case "$1" in
  free) echo 'dev ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/dev ;;
  password) echo 'dev ALL=(ALL:ALL) ALL' > /etc/sudoers.d/dev; echo "dev:$2" | chpasswd ;;
esac
echo ready
exec 2>/dev/null
while read -r line; do :; done
"""

# Prints every process but this one and process 1 as [pid, user, argv].
PROCESSES = r"""
import json, os, pwd
found = []
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        argv = open(f"/proc/{name}/cmdline", "rb").read().decode("utf-8", "replace").split("\0")[:-1]
        user = pwd.getpwuid(os.stat(f"/proc/{name}").st_uid).pw_name
    except (FileNotFoundError, ProcessLookupError):
        continue
    if int(name) not in (1, os.getpid()):
        found.append([int(name), user, argv])
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A process that runs inside a machine; `pid` is its number there."""

    pid: int
    user: str
    argv: tuple[str, ...]


class Machine:
    """Namespaces of its own, with the users dev (who may sudo, or not) and guest (who never may).

    Attributes:
        installed: what was built for the tests; all users inside can read it.
        enter: what a command begins with to run inside, as root.
    """

    def __init__(self, installed: Installed, sudo: Sudo = "free") -> None:
        self.installed = installed
        if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
            pytest.fail(f"these programs are missing: {', '.join(missing)}; `make test` installs them")
        if os.geteuid() != 0:
            pytest.fail("only root can make private machines: sudo .venv/bin/pytest tests/real")
        self._running: list[Running] = []
        spaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child"]
        self._first = subprocess.Popen(
            ["unshare", *spaces, "/bin/bash", "-c", SETUP, "machine", sudo, PASSWORD, str(installed.devtls)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": ROOT_PATH, "LANG": "C.UTF-8"},
            umask=0o022,
            start_new_session=True,
        )
        assert self._first.stdout is not None
        said = []
        while (line := self._first.stdout.readline().decode()) != "ready\n":
            said.append(line)
            if not line:
                pytest.fail(f"the private machine could not be made:\n{''.join(said)}")
        (inside,) = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text().split()
        # --root: from within a chroot, --mount alone would enter at the root of the whole file system.
        self.enter = ["nsenter", f"--target={inside}", "--mount", "--root", "--net", "--pid", "--uts", "--ipc", "--"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything that runs inside; nothing of what it wrote stays."""
        assert self._first.stdin is not None
        assert self._first.stdout is not None
        self._first.stdin.close()
        try:
            self._first.wait(10 * MOMENT)
        except subprocess.TimeoutExpired:
            self._first.kill()
            self._first.wait()
        self._first.stdout.close()
        for running in self._running:
            running.close()

    def home(self, user: str) -> str:
        """The user's home directory."""
        return "/root" if user == "root" else f"/home/{user}"

    def environment(self, user: str) -> dict[str, str]:
        """What a login of this user would set, and nothing else."""
        home = self.home(user)
        path = ROOT_PATH if user == "root" else USER_PATH
        return {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/bash",
            "PATH": f"{home}/.local/bin:{path}",
            "LANG": "C.UTF-8",
        }

    def start(
        self,
        argv: Sequence[str],
        *,
        user: str = "dev",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        terminal: bool = False,
    ) -> Running:
        """Start a program as `user`, in its home unless `cwd` says otherwise; `env` is added to a clean environment.

        With `terminal` it has a controlling terminal of 40 rows and 120 columns; without, none, and standard input
        is a pipe.
        """
        words = {**self.environment(user), **({"TERM": "xterm-256color"} if terminal else {}), **(env or {})}
        become = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        session = ["setsid", "--ctty"] if terminal else []
        clean = ["env", "--ignore-environment", f"--chdir={cwd or self.home(user)}"]
        clean += [f"{name}={value}" for name, value in words.items()]
        whole = [*self.enter, *become, *session, *clean, "/bin/sh", "-c", 'echo "$$"; exec "$@"', "sh", *argv]
        running = self._start_on_terminal(argv, whole, user) if terminal else self._start_on_pipes(argv, whole)
        self._running.append(running)
        return running

    def _start_on_pipes(self, argv: Sequence[str], whole: Sequence[str]) -> Running:
        pipe = subprocess.PIPE
        process = subprocess.Popen(whole, stdin=pipe, stdout=pipe, stderr=pipe, umask=0o022, start_new_session=True)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        said = Said({"stdout": _own(process.stdout), "stderr": _own(process.stderr)})
        return Running(argv, process, said, _own(process.stdin), self.kill)

    def _start_on_terminal(self, argv: Sequence[str], whole: Sequence[str], user: str) -> Running:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 120))
        os.fchown(theirs, UIDS[user], -1)
        process = subprocess.Popen(
            whole, stdin=theirs, stdout=theirs, stderr=theirs, umask=0o022, start_new_session=True
        )
        os.close(theirs)
        return Running(argv, process, Said({"stdout": os.dup(ours)}), ours, self.kill)

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = "dev",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = 60 * MOMENT,
        check: bool = False,
    ) -> Completed:
        """Run a program to its end; with `check`, a status other than 0 fails the test."""
        running = self.start(argv, user=user, cwd=cwd, env=env)
        self._running.remove(running)
        try:
            running.write_all(stdin)
            completed = running.complete(timeout)
        finally:
            running.close()
        if check and completed.status != 0:
            pytest.fail(f"{' '.join(argv)} ended with {completed.status}:\n{completed.output}")
        return completed

    def kill(self, pid: int, signal: str = "KILL") -> None:
        """Send a signal to a process inside, which need not be there any more."""
        subprocess.run([*self.enter, "kill", f"-{signal}", str(pid)], capture_output=True, check=False)

    def read(self, path: str) -> str:
        """The text of a file inside, whoever owns it."""
        return self.run(["cat", "--", path], user="root", check=True).stdout

    def write(self, path: str, text: str, *, user: str = "dev", mode: str = "644") -> None:
        """Make a file, and the directories above it, as `user`."""
        script = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "sh", path, mode], user=user, stdin=text, check=True)

    def copy(self, source: Path, target: str, *, user: str = "dev") -> None:
        """Copy a file or folder of the real machine that everyone can read to `target`, as `user`."""
        self.run(["cp", "-R", "--", str(source), target], user=user, check=True)

    def processes(self) -> list[Seen]:
        """Everything that runs inside, less what holds the machine together."""
        found = self.run(["/usr/bin/python3", "-I", "-S", "-c", PROCESSES], user="root", check=True)
        return [Seen(pid, user, tuple(argv)) for pid, user, argv in json.loads(found.stdout)]

    def listening(self) -> set[str]:
        """The TCP addresses that are listened on inside: "127.0.0.1:443", "[::1]:443"."""
        lines = self.run(["ss", "-Hltn"], user="root", check=True).stdout.splitlines()
        return {line.split()[3] for line in lines}


def _own(stream: IO[bytes]) -> int:
    """Take a descriptor out of its file object, which would buffer it."""
    descriptor = os.dup(stream.fileno())
    stream.close()
    return descriptor
