"""devtls.toml and devtls.local.toml: read and laid over each other, with the line of each key."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from devtls.config.finding import NAME
from devtls.config.keys import FileKeys, find_problems
from devtls.config.toml_lines import Place, find_places
from devtls.errors import FileError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devtls.config.toml_lines import Path as KeyPath

LOCAL_NAME = "devtls.local.toml"  # a person's own, not committed
LONGEST = 1024 * 1024  # bytes; nobody writes more, and all of it is shown before it is trusted
SYNTAX = re.compile(r"(?P<fact>.+) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)

Located = tuple[str, Place]  # a file's name, and where in it


class ProjectFile(Struct, frozen=True):
    """What the files of a project say.

    Attributes:
        directory: the folder that they are in, which is the project's.
        contents: name and bytes of each file, as they were read.
        places: where each key path stands.
    """

    directory: Path
    contents: tuple[tuple[str, bytes], ...]
    keys: FileKeys
    places: Mapping[KeyPath, Located]

    def origin_of(self, path: KeyPath) -> str:
        """Where a key stands, or what it is in: "devtls.toml:12"."""
        return _origin_of(self.places, path)


def read_project_file(directory: Path) -> ProjectFile:
    """Read the files of a project: tables of devtls.local.toml are laid over those of devtls.toml, all else replaces.

    Raises:
        FileError: with all that is wrong with them as files of keys.
    """
    contents = [(NAME, _read(directory, NAME)), (LOCAL_NAME, _read(directory, LOCAL_NAME))]
    problems: list[Problem] = []
    document: dict[str, Any] = {}
    places: dict[KeyPath, Located] = {}
    for name, data in contents:
        text = _decode(name, data, problems)
        read = _parse(name, text, problems)
        found = {path: (name, place) for path, place in find_places(text).items()} if read else {}
        _lay_over(document, read, (), places, found)
    problems += find_problems(document, lambda path: _origin_of(places, path)) if not problems else []
    if problems:
        raise FileError(problems)
    there = tuple((name, data) for name, data in contents if data is not None)
    return ProjectFile(directory, there, msgspec.convert(document, FileKeys), places)


def _origin_of(places: Mapping[KeyPath, Located], path: KeyPath) -> str:
    for length in range(len(path), 0, -1):
        if found := places.get(path[:length]):
            return f"{found[0]}:{found[1].line}"
    return NAME


def _read(directory: Path, name: str) -> bytes | None:
    path = directory / name
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as stream:
            data = stream.read(LONGEST + 1)
    except OSError as error:
        raise FileError([Problem(name, f"it cannot be read: {error.strerror}", ("Set its permissions.",))]) from error
    if len(data) > LONGEST:
        raise FileError([Problem(name, "it is longer than 1 MiB", ("Make it shorter.",))])
    return data


def _decode(name: str, data: bytes | None, problems: list[Problem]) -> str:
    try:
        return (data or b"").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problems.append(Problem(f"{name}:{line}", "there is a byte that is no UTF-8", ("Save it as UTF-8.",)))
        return ""


def _parse(name: str, text: str, problems: list[Problem]) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = SYNTAX.fullmatch(str(error))
        fact, line, column = found.group("fact", "line", "column") if found else (str(error), None, None)
        line = line or str(text.count("\n") + 1)
        where = f" (column {column})" if column else " (at the end)"
        cure = "It is written in TOML: https://toml.io/en/v1.0.0"
        problems.append(Problem(f"{name}:{line}", f"{fact[:1].lower()}{fact[1:]}{where}", (cure,)))
    except RecursionError:
        problems.append(Problem(name, "it is nested too deep", ("Make it flat.",)))
    return {}


def _lay_over(
    below: dict[str, Any],
    above: dict[str, Any],
    path: KeyPath,
    places: dict[KeyPath, Located],
    found: Mapping[KeyPath, Located],
) -> None:
    """Merge tables; a value that is none takes the place of what was there, and so do its lines."""
    for key, value in above.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay_over(below[key], value, here, places, found)
            continue
        below[key] = value
        for old in [old for old in places if old[: len(here)] == here]:
            del places[old]
        places |= {new: place for new, place in found.items() if new[: len(here)] == here}
