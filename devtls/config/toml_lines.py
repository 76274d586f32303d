"""Where each key of a TOML document stands: tomllib tells values, never places."""

from __future__ import annotations

import re
import tomllib

from msgspec import Struct

Path = tuple[str | int, ...]  # ("services", "web", "port"), ("routes", 0, "path")

BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
SPACE = re.compile(r"[ \t]*")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# The first three quotes end a text, and up to two more before them belong to it: TOML 1.0, "String".
LONG_TEXT = re.compile(r'"""(?:\\.|(?!""").)*"""(?:"{0,2})' "|" r"'''(?:(?!''').)*'''(?:'{0,2})", re.DOTALL)
TEXT = re.compile(r'"(?:\\.|[^"\\])*"' "|" r"'[^']*'")
OTHER = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\]}#]+")  # a number, a word, or a time


class Place(Struct, frozen=True):
    """Where a key or an item of a list stands.

    Attributes:
        line: of the key; of a list's item its own.
        text_line: the first line of what the text says, when the value is one.
    """

    line: int
    text_line: int = 0


def find_places(document: str) -> dict[Path, Place]:
    """Return the place of each key path of a document that tomllib has read without complaint.

    A table that is only implied stands where it is first implied.
    """
    return _Scanner(document.replace("\r\n", "\n")).scan()


class _Scanner:
    """Reads a valid document from its beginning to its end; what may be wrong has been told by tomllib."""

    def __init__(self, document: str) -> None:
        self.document = document
        self.at = 0
        self.line = 1
        self.places: dict[Path, Place] = {}
        self.last: dict[Path, int] = {}  # the number of the last table of each array of tables

    def scan(self) -> dict[Path, Place]:
        table: Path = ()
        self.take(BLANK)
        while self.at < len(self.document):
            if self.is_next("["):
                table = self.header()
            else:
                self.pair(table)
            self.take(BLANK)
        return self.places

    def header(self) -> Path:
        """Enter [table] or [[table of an array]]."""
        is_array = self.is_next("[[")
        self.at += 2 if is_array else 1
        path: Path = ()
        keys = self.keys()
        self.at += 2 if is_array else 1
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            self.note(path)
            if is_array and number == len(keys):
                self.last[path] = self.last.get(path, -1) + 1
            if path in self.last:
                path = (*path, self.last[path])
                self.note(path)
        return path

    def pair(self, table: Path) -> None:
        line, path = self.line, table
        for key in self.keys():
            path = (*path, key)
            self.note(path)
        self.at += 1  # =
        self.take(SPACE)
        self.value(path, line)

    def value(self, path: Path, line: int) -> None:
        """Pass over a value; a text notes where its first line is."""
        if self.is_next("["):
            self.items(path)
        elif self.is_next("{"):
            self.at += 1
            while not self.is_closed("}"):
                self.pair(path)
                self.take(BLANK)
                self.at += self.is_next(",")
            self.at += 1
        elif self.is_next(('"""', "'''")):
            begins = self.line + self.document.startswith("\n", self.at + 3)  # a line break there is not part of it
            self.places[path] = Place(line, begins)
            self.take(LONG_TEXT)
        elif self.is_next(('"', "'")):
            self.places[path] = Place(line, self.line)
            self.take(TEXT)
        else:
            self.take(OTHER)

    def items(self, path: Path) -> None:
        self.at += 1
        number = 0
        while not self.is_closed("]"):
            self.note((*path, number))
            self.value((*path, number), self.line)
            self.take(BLANK)
            self.at += self.is_next(",")
            number += 1
        self.at += 1

    def keys(self) -> list[str]:
        """A key with its dots, and the space around it."""
        found: list[str] = []
        while not found or self.is_next("."):
            self.at += bool(found)
            self.take(SPACE)
            found.append(_decode(self.take(TEXT)) if self.is_next(('"', "'")) else self.take(BARE_KEY))
            self.take(SPACE)
        return found

    def note(self, path: Path) -> None:
        self.places.setdefault(path, Place(self.line))

    def is_closed(self, sign: str) -> bool:
        self.take(BLANK)
        return self.is_next(sign)

    def is_next(self, sign: str | tuple[str, ...]) -> bool:
        return self.document.startswith(sign, self.at)

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.document, self.at)
        if found is None:
            raise ValueError(f"line {self.line} is not TOML")
        self.at = found.end()
        self.line += found[0].count("\n")
        return found[0]


def _decode(quoted: str) -> str:
    """What a quoted key says."""
    key: str = tomllib.loads(f"key = {quoted}")["key"]
    return key
