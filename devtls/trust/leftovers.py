"""What other tools left: their roots in the stores, and their keys on the disk, which can sign any site. Read only.

Names and places are those of mkcert 1.4, Caddy 2, devcert 1.2 and portless as their sources have them.
"""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.trust import nss_database
from devtls.trust.certificates import parse_bundle, read
from devtls.trust.java import JavaStore, find_certificates
from devtls.trust.nss import NssStore
from devtls.trust.system import SystemStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from devtls.trust import Store


class Tool(Struct, frozen=True):
    """Another tool with an authority of its own.

    Attributes:
        mark: bytes that only its root has: a part of its subject.
        keys: where its key may be, below the home or absolute.
        untrust: the tool's own command, when it has one.
    """

    name: str
    mark: bytes
    keys: tuple[Path, ...]
    untrust: tuple[str, ...] = ()


class Leftover(Struct, frozen=True):
    """What one tool left here.

    Attributes:
        keys: its unlimited keys.
        stores: the names of the stores that hold its root.
        cure: commands that remove all of it.
    """

    tool: str
    keys: tuple[Path, ...]
    stores: tuple[str, ...]
    cure: tuple[str, ...]


def find_leftovers(home: Path, environment: Mapping[str, str], stores: Sequence[Store]) -> tuple[Leftover, ...]:
    """Return what there is of each tool, in the order of the table; what cannot be read is left out."""
    found = []
    for tool in _tools(home, environment):
        keys = tuple(key for key in tool.keys if _is_there(key))
        places = {store.name: _names_in(store, tool.mark) for store in stores}
        held = {name: found for name, found in places.items() if found}
        if keys or held:
            commands = [f"  {command}" for command in tool.untrust] if held else []
            by_hand = [] if tool.untrust else [f"  {each}" for name in held for each in held[name]]
            removal = [f"  rm -r {shlex.quote(str(key.parent))}" for key in keys]
            found.append(Leftover(tool.name, keys, tuple(held), (*commands, *by_hand, *removal)))
    return tuple(found)


def _tools(home: Path, environment: Mapping[str, str]) -> tuple[Tool, ...]:
    data, config = _base(home, environment, "DATA", ".local/share"), _base(home, environment, "CONFIG", ".config")
    mkcert = Path(environment.get("CAROOT") or data / "mkcert")
    return (
        Tool("mkcert", b"mkcert development CA", (mkcert / "rootCA-key.pem",), ("mkcert -uninstall",)),
        Tool(
            "Caddy",
            b"Caddy Local Authority",
            (
                data / "caddy/pki/authorities/local/root.key",
                Path("/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.key"),
            ),
            ("caddy untrust",),
        ),
        Tool("portless", b"portless Local CA", (home / ".portless/ca-key.pem",)),
        Tool("devcert", b"\x0c\x07devcert", (config / "devcert/certificate-authority/private-key.key",)),
    )


def _names_in(store: Store, mark: bytes) -> tuple[str, ...]:
    """The command that removes each root with this mark from a store."""
    return tuple(_commands(store, mark))


def _commands(store: Store, mark: bytes) -> Iterator[str]:
    place = store.place
    if isinstance(store, SystemStore):
        for path in _files(place):
            if any(mark in der for der in parse_bundle(read(path))):
                yield f"sudo rm {shlex.quote(str(path))}   # then update the store, as devtls does for its own"
    elif isinstance(store, NssStore):
        with contextlib.suppress(nss_database.UnreadableError):
            for name, der in nss_database.read_certificates(place):
                if mark in der:
                    yield f"certutil -D -d {shlex.quote(f'sql:{place}')} -n {shlex.quote(name)}"
    elif isinstance(store, JavaStore) and any(mark in der for der in find_certificates(read(place))):
        yield f"keytool -list -keystore {shlex.quote(str(place))} -storepass changeit   # and -delete -alias …"


def _files(directory: Path) -> Iterable[Path]:
    try:
        return sorted(each for each in directory.iterdir() if each.is_file())
    except OSError:
        return ()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _base(home: Path, environment: Mapping[str, str], kind: str, otherwise: str) -> Path:
    value = environment.get(f"XDG_{kind}_HOME", "")
    return Path(value) if value.startswith("/") else home / otherwise
