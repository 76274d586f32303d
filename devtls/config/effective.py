"""The effective project, key by key, each with where it comes from: for `devtls config`, and before it is trusted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct, to_builtins
from msgspec.structs import fields

from devtls.config.keys import RouteKeys, spell_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from devtls.config.project_file import ProjectFile
    from devtls.config.toml_lines import Path
    from devtls.model import Project

DEFAULT = "default"
WIDTH = 56  # characters; a longer value pushes its origin to the right


class Value(Struct, frozen=True):
    """One key of the effective project.

    Attributes:
        origin: "devtls.toml:12", or "default".
    """

    path: Path
    value: Any
    origin: str

    @property
    def is_default(self) -> bool:
        """Whether nobody said it."""
        return self.origin == DEFAULT


def effective_values(file: ProjectFile, project: Project) -> tuple[Value, ...]:
    """Return each key with its value; what is said nowhere and says nothing is left out."""
    values = [value for value in _values(file, file.keys, ()) if not (value.is_default and value.value in ("", [], {}))]
    if not file.keys.routes:
        only = RouteKeys(service=str(project.routes[0].target))
        values += [Value(("routes", 0, name), getattr(only, name), DEFAULT) for name in ("path", "service")]
    return tuple(values)


def render_values(values: Iterable[Value]) -> list[str]:
    """Return the keys as TOML would have them, each with its origin; nothing in them can act on a terminal."""
    return [line for value in values for line in _render_value(value)]


def _render_value(value: Value) -> list[str]:
    key, said = printable(spell_path(value.path)), value.value
    if said == {}:
        return [f"{f'[{key}]'.ljust(WIDTH)}  # {value.origin}"]
    if value.path[-1] == "nginx":
        lines = [f"    {printable(line)}" for line in said.strip("\n").split("\n")]
        return [f"{f'{key} = '.ljust(WIDTH)}  # {value.origin}", *lines]
    text = printable(json.dumps(said, ensure_ascii=False))
    return [f"{f'{key} = {text}'.ljust(WIDTH)}  # {value.origin}"]


def printable(text: str) -> str:
    """Text without what a terminal obeys or hides: a clone wrote it."""
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)


def _values(file: ProjectFile, table: Struct, path: Path) -> Iterator[Value]:
    for each in fields(table):
        value, here = getattr(table, each.name), (*path, each.name)
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        tables = [(key, item) for key, item in inner if isinstance(item, Struct)]
        if isinstance(value, Struct):
            yield from _values(file, value, here)
        elif tables:
            for key, item in tables:
                yield from _with_itself(file, item, (*here, key))
        elif isinstance(value, dict) and value:
            yield from (Value((*here, key), text, file.origin_of((*here, key))) for key, text in value.items())
        else:
            yield Value(here, to_builtins(value), file.origin_of(here) if here in file.places else DEFAULT)


def _with_itself(file: ProjectFile, table: Struct, path: Path) -> Iterator[Value]:
    """A table; one that says nothing is still there: [domains."love.cat"]."""
    values = list(_values(file, table, path))
    if all(value.is_default for value in values):
        yield Value(path, {}, file.origin_of(path))
    yield from values
