"""Trust by environment: the variables that make programs trust our roots, and go on trusting the public ones.

Most of these variables replace what a program trusts, so each names a file that has the bytes of what it would have
trusted without us, and our roots behind them; what the user had set is kept in the same way. The files are written
again only when what they are made of has changed, so a start that finds them does no more than look at dates.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.system.files import PUBLIC_FILE, locked, make_private_directory, read_or_none, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from devtls.model import Authority, Notice
    from devtls.system.paths import Paths

# Each replaces what its programs trust: OpenSSL (Python, Ruby, Go, httpx, uv, .NET), curl, requests and pip, the AWS
# tools, pip, git, cargo.
REPLACING = (
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
)
# The same, of programs that do well without: they are set only where the user had set them.
REPLACING_IF_SET = (
    "NIX_SSL_CERT_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "HTTPLIB2_CA_CERTS",
    "PERL_LWP_SSL_CA_FILE",
)
APPENDING = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")  # what they name is trusted besides what is built in: Node, Bun, Deno
# Where systems keep the bundle of all that they trust: Debian, Arch and Alpine; Fedora; openSUSE; macOS.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
ROOTS = "roots"  # the name of the file that has our roots alone
INDEX = "index.json"


class Recipe(Struct, frozen=True):
    """A file to be made: what is in front (nothing: our roots alone), and our roots."""

    base: Path | None
    roots: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The file's; the same base has the same file, so a program that runs sees what comes later."""
        return f"{hashlib.sha256(str(self.base).encode()).hexdigest()[:8] if self.base else ROOTS}.pem"


class Wanted(Struct, frozen=True):
    """What an environment needs.

    Attributes:
        variables: each with the recipe of the file that it names.
        notices: of what the user had set, and is not there.
    """

    variables: Mapping[str, Recipe]
    notices: tuple[Notice, ...]


class Environment(Struct, frozen=True):
    """What to set, and what to tell."""

    variables: Mapping[str, str]
    notices: tuple[Notice, ...] = ()


def directory_of(paths: Paths) -> Path:
    """Where the files are."""
    return paths.data / "environment"


def usable_roots(authorities: Iterable[Authority], now: datetime) -> tuple[Path, ...]:
    """The roots that vouch for something today."""
    return tuple(sorted(each.root for each in authorities if each.not_before <= now < each.not_after))


def prepare(environment: Mapping[str, str], roots: Sequence[Path], folder: Path) -> Environment:
    """Return what to set so that programs trust these roots too; the files that it names are there afterwards.

    Args:
        environment: the user's.
        roots: PEM files.
        folder: where the files go (`directory_of`).

    Raises:
        DevtlsError: a file cannot be written.
    """
    index = _read_index(folder)
    wanted = plan(environment, roots, folder, find_bundle(), index)
    recipes = {recipe.name: recipe for recipe in wanted.variables.values()}
    if any(index.get(name) != _facts(each) or not (folder / name).is_file() for name, each in recipes.items()):
        make_private_directory(folder)
        with locked(folder / ".lock"):
            _write(recipes, folder)
    variables = {name: str(folder / recipe.name) for name, recipe in wanted.variables.items()}
    return Environment(variables, wanted.notices)


def plan(
    environment: Mapping[str, str],
    roots: Sequence[Path],
    folder: Path,
    bundle: Path | None,
    index: Mapping[str, Mapping[str, Any]],
) -> Wanted:
    """Decide what each variable is to name.

    Args:
        environment: the user's; inside `devtls exec` it has our own files in it, which are seen through.
        roots: ours.
        folder: where our files are.
        bundle: what the system trusts; None when it has none.
        index: what our files in `folder` were made of.
    """
    variables: dict[str, Recipe] = {}
    notices: dict[str, Notice] = {}
    for name in (*REPLACING, *REPLACING_IF_SET, *APPENDING):
        value = environment.get(name, "")
        if name in REPLACING_IF_SET and not value:
            continue
        if _is_of(folder, value) and not index.get(Path(value).name, {}):
            continue  # ours, and what it was made of is not known any more: it has all that is needed
        base = _base_of(value, folder, index)
        if base and base.is_dir():
            fact = f"{name} is a folder, and is left as it is: programs that read it will not trust your roots"
            notices[value] = (fact, ("Name a file instead, such as:", f"  export {name}={bundle or 'FILE.pem'}"))
            continue
        if base and not os.access(base, os.R_OK):
            fact = f"{name} is {value!r}, which cannot be read: programs trust what the system trusts, and your roots"
            notices[value] = (fact, ("Set it right, or go without:", f"  unset {name}"))
            base = None
        if name not in APPENDING:
            base = base or bundle
            if base is None:
                continue  # our roots alone would take the public ones away
        variables[name] = Recipe(base, tuple(roots))
    return Wanted(variables, tuple(notices.values()))


def find_bundle(places: Iterable[str] = BUNDLES) -> Path | None:
    """Return the file of all that this system trusts, or the one that Python programs bring along."""
    for place in places:
        if Path(place).is_file():
            return Path(place)
    import importlib.util

    found = importlib.util.find_spec("certifi")
    beside = Path(found.origin).with_name("cacert.pem") if found and found.origin else None
    return beside if beside and beside.is_file() else None


def _base_of(value: str, folder: Path, index: Mapping[str, Mapping[str, Any]]) -> Path | None:
    """What the user had set: of a file of ours, what it was made of."""
    if not value:
        return None
    if not _is_of(folder, value):
        return Path(value).absolute()
    base = index[Path(value).name].get("base")
    return Path(base[0]) if base else None


def _is_of(folder: Path, value: str) -> bool:
    return Path(value).parent == folder


def _facts(recipe: Recipe) -> dict[str, Any]:
    """What a file was made of: enough to notice that it has to be made again."""
    return {"base": _stamp(recipe.base) if recipe.base else None, "roots": [_stamp(root) for root in recipe.roots]}


def _stamp(path: Path) -> list[str | int]:
    try:
        known = path.stat()
    except OSError:
        return [str(path), 0, 0]
    return [str(path), known.st_size, known.st_mtime_ns]


def _write(recipes: Mapping[str, Recipe], folder: Path) -> None:
    index = _read_index(folder)
    for name, recipe in recipes.items():
        facts = _facts(recipe)
        parts = [*([recipe.base] if recipe.base else []), *recipe.roots]
        try:
            content = b"".join(_ended(part.read_bytes()) for part in parts)
        except OSError as error:
            raise DevtlsError(
                f"{error.filename} cannot be read: {error.strerror}", "Set its permissions, or unset what names it."
            ) from error
        write_atomically(folder / name, content, PUBLIC_FILE)
        index[name] = facts
    write_atomically(folder / INDEX, json.dumps(index).encode(), PUBLIC_FILE)


def _ended(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") or not pem else pem + b"\n"


def _read_index(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        index = json.loads(read_or_none(folder / INDEX) or b"{}")
    except (OSError, ValueError):
        return {}
    return {name: facts for name, facts in index.items() if isinstance(facts, dict)} if isinstance(index, dict) else {}
