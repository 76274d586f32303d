"""A throw-away machine for the door to root: private /etc, network and processes, and a user who may use sudo.

Run as a program it is the user's side: `python _root_door.py WORD…` calls root and prints the result as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
USER = "devtls-door"
PYTHON = "/usr/bin/python3"  # every user can run it; the one of pytest may live in root's home
# What the machine may write to, each under a layer that is thrown away.
OVERLAID = ("/etc", "/usr/local/share/ca-certificates", "/var/lib/ca-certificates-java", "/var/lib/dpkg", "/home")
SETUP = f"""
set -eu
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /mnt
mount -t tmpfs -o mode=755 tmpfs /run
for place in {" ".join(OVERLAID)}; do
  [ -d "$place" ] || continue
  name=$(echo "$place" | tr / _)
  mkdir -p "/mnt/$name.upper" "/mnt/$name.work"
  mount -t overlay -o "lowerdir=$place,upperdir=/mnt/$name.upper,workdir=/mnt/$name.work" overlay "$place"
done
useradd --create-home --shell /bin/sh {USER}
echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}
chmod 440 /etc/sudoers.d/{USER}
mkdir '/home/{USER}/my "säfe" place'
chown {USER} '/home/{USER}/my "säfe" place'
"""


class Machine:
    """Runs programs inside the throw-away machine."""

    def __init__(self, pid: int, library: Path) -> None:
        self.pid = pid
        self.library = library
        self.home = Path(f'/home/{USER}/my "säfe" place')

    def root(self, script: str, *words: str) -> str:
        """Run a shell script as root and return what it printed."""
        ended = _run(self.inside(["/bin/sh", "-c", script, "sh", *words]))
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def user(self, *words: str) -> Any:
        """Run this file's `main` as the user, and return its result."""
        program = [PYTHON, str(self.library / "_root_door.py"), *words]
        ended = self.as_user(program)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads(ended.stdout)

    def as_user(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a program as the user, with an environment of its own."""
        return _run(self.user_argv(argv))

    def user_argv(self, argv: Sequence[str]) -> list[str]:
        """What `as_user` runs, for who wants to run it on a terminal."""
        environment = [f"PYTHONPATH={self.library}", f"HOME=/home/{USER}", "PATH=/usr/bin:/bin", "PYTHONUTF8=1"]
        become = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"]
        return self.inside([*become, "env", "-i", *environment, *argv])

    def inside(self, argv: Sequence[str]) -> list[str]:
        """What runs a program in this machine, as root."""
        return ["nsenter", "-t", str(self.pid), "-m", "-r", "-n", "-p", "--", *argv]


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def throw_away_machine() -> Iterator[Machine]:
    """Make a machine, and unmake it by ending its first process."""
    with tempfile.TemporaryDirectory() as place:
        library = Path(place)
        library.chmod(0o755)
        shutil.copytree(ROOT / "devtls", library / "devtls", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(Path(msgspec.__file__).parent, library / "msgspec")  # the one thing that values need
        shutil.copy(__file__, library / "_root_door.py")
        unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
        script = f"{SETUP}\necho ready\nexec sleep 3600"
        holder = subprocess.Popen([*unshare, "/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout
            lines = iter(holder.stdout.readline, "")
            assert any(line == "ready\n" for line in lines), "the machine could not be set up"
            children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text("ascii")
            yield Machine(int(children.split()[0]), library)
        finally:
            holder.kill()
            holder.communicate()


def main(words: Sequence[str]) -> None:
    """The user's side."""
    from devtls import hosts
    from devtls.system import binder, channel, root
    from devtls.system.run import run
    from devtls.trust.arch import ARCH
    from devtls.trust.debian import DEBIAN
    from devtls.trust.fedora import FEDORA
    from devtls.trust.suse import SUSE

    operations: list[root.Operation] = []
    server = None
    families = {"arch": ARCH, "debian": DEBIAN, "fedora": FEDORA, "suse": SUSE}
    anchors = next((families[word[7:]] for word in words if word.startswith("family=")), DEBIAN).anchors
    old = Path("/etc/hosts").read_bytes()
    for word in words:
        name, _, value = word.partition("=")
        if name == "hosts":
            new = hosts.render(old, [each for each in value.split(",") if each], ipv6=True)
            operations.append(root.EditHosts(old, new))
        elif name == "stale":
            operations.append(root.EditHosts(old + b"\n", hosts.render(old + b"\n", [value], ipv6=True)))
        elif name == "tamper":
            operations.append(root.EditHosts(old, old + value.encode() + b"\n"))
        elif name == "install":
            operations.append(root.InstallRoot(Path(value).stem, Path(value).read_bytes(), anchors))
        elif name == "remove":
            operations.append(root.RemoveRoot(value, anchors))
        elif name == "bind":
            path = Path(value) / "door.sock"
            server = channel.listen(path)
            endpoints = tuple(map(binder.parse_endpoint, ("127.0.0.1:443", "[::1]:443", "127.0.0.1:80", "[::1]:80")))
            operations.append(root.Bind(endpoints, path))
    call = root.render_call(operations, uid=os.getuid(), gid=os.getgid())
    result = root.call_root(call, interactive="interactive" in words, run=run, uid=os.getuid(), sudo=root.find_sudo())
    report: dict[str, Any] = {"result": type(result).__name__, **asdict(result)}
    if isinstance(result, root.RootDone) and result.failed:
        report["fact"], report["cure"] = root.why_failed(result.failed[0][1], result.said)
    if server and isinstance(result, root.RootDone):
        binding = binder.receive(server)
        report["bound"] = [str(each) for each in binding.endpoints()]
        report["refused"] = [[str(each.endpoint), each.reason] for each in binding.refused]
        report["inheritable"] = [each.get_inheritable() for each in binding.sockets]
    print(json.dumps(report))


def add(name: str) -> None:
    """The user's side of an edit that is asked for as often as it takes."""
    from devtls import hosts
    from devtls.system import door, root

    def operations() -> list[root.Operation]:
        old = root.HOSTS.read_bytes()
        return [root.EditHosts(old, hosts.render(old, (*hosts.names_in_block(old), name), ipv6=True))]

    result = door.ask_root(operations, is_interactive=False, asking=lambda _call: None)
    print(json.dumps({"result": type(result).__name__, **asdict(result)}))


if __name__ == "__main__":
    if sys.argv[1].startswith("add="):
        add(sys.argv[1].removeprefix("add="))
    else:
        main(sys.argv[1:])
