from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.config.toml_lines import Path, Place, find_places

DOCUMENT = '''# the shop
name = "shop" # 2
[domains."love.cat"]
aliases = [
  "www.love.cat", # 5
  'a.love.cat',
]
headers = { X-A = "1", X-B = "2" }
nginx = """
gzip on;
"""
services.web.port = 3000
["services"   .   'a"b']
command = \'\'\'x''
y\'\'\'
[[routes]]
path = "/"
at = 1979-05-27 07:32:00
[[routes]]
path = """/a"b"""
[[routes.inner]]
x.y = [ [1, 2], { z = [
 3 ] } ]
'''


def test_each_key_is_found_at_its_line() -> None:
    places = find_places(DOCUMENT)
    assert {path: place.line for path, place in places.items() if path} == {
        ("name",): 2,
        ("domains",): 3,
        ("domains", "love.cat"): 3,
        ("domains", "love.cat", "aliases"): 4,
        ("domains", "love.cat", "aliases", 0): 5,
        ("domains", "love.cat", "aliases", 1): 6,
        ("domains", "love.cat", "headers"): 8,
        ("domains", "love.cat", "headers", "X-A"): 8,
        ("domains", "love.cat", "headers", "X-B"): 8,
        ("domains", "love.cat", "nginx"): 9,
        ("domains", "love.cat", "services"): 12,
        ("domains", "love.cat", "services", "web"): 12,
        ("domains", "love.cat", "services", "web", "port"): 12,
        ("services",): 13,
        ("services", 'a"b'): 13,
        ("services", 'a"b', "command"): 14,
        ("routes",): 16,
        ("routes", 0): 16,
        ("routes", 0, "path"): 17,
        ("routes", 0, "at"): 18,
        ("routes", 1): 19,
        ("routes", 1, "path"): 20,
        ("routes", 1, "inner"): 21,
        ("routes", 1, "inner", 0): 21,
        ("routes", 1, "inner", 0, "x"): 22,
        ("routes", 1, "inner", 0, "x", "y"): 22,
        ("routes", 1, "inner", 0, "x", "y", 0): 22,
        ("routes", 1, "inner", 0, "x", "y", 0, 0): 22,
        ("routes", 1, "inner", 0, "x", "y", 0, 1): 22,
        ("routes", 1, "inner", 0, "x", "y", 1): 22,
        ("routes", 1, "inner", 0, "x", "y", 1, "z"): 22,
        ("routes", 1, "inner", 0, "x", "y", 1, "z", 0): 23,
    }


@pytest.mark.parametrize(
    ("document", "text_line"),
    [
        ("nginx = 'gzip on;'", 1),
        ("nginx = '''\ngzip on;'''", 2),
        ("nginx = '''gzip on;\n'''", 1),
        ('\r\nnginx = """\r\ngzip on;"""', 3),
        ('nginx = """"gzip on;""\\""""""', 1),
    ],
)
def test_a_text_begins_where_its_first_word_is(document: str, text_line: int) -> None:
    place = find_places(document)[("nginx",)]
    assert place == Place(document.count("\n", 0, document.index("nginx")) + 1, text_line)


# Documents of any shape; each value has a number of its own, by which its line is found in another way.
KEYS = st.text("ab-_1", min_size=1, max_size=3) | st.text(min_size=1, max_size=4)
SHAPES = st.recursive(
    st.sampled_from(["number", "text", "literal", "long", "long literal", "time"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
TABLES = st.lists(
    st.tuples(st.lists(KEYS, min_size=1, max_size=3), st.booleans(), st.dictionaries(KEYS, SHAPES, max_size=3)),
    max_size=5,
)


class Writer:
    """Writes values as a person would, each with a number of its own."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.count = 1000

    def choose(self, *options: str) -> str:
        chosen: str = self.draw(st.sampled_from(options))
        return chosen

    def key(self, key: str) -> str:
        is_bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
        bare = [key] if is_bare else []
        literal = [f"'{key}'"] if key.isprintable() and "'" not in key else []
        return self.choose(*bare, *literal, json.dumps(key).replace("\x7f", "\\u007f") if is_plain(key) else basic(key))

    def value(self, shape: Any, *, is_inline: bool = False) -> str:  # noqa: PLR0911 - one for each shape
        self.count += 1
        blank = self.choose("", " ", *([] if is_inline else ["\n", " # [ { ''' \"\n"]))
        match shape:
            case list():
                items = [f"{blank}{self.value(each)}{blank}" for each in shape]
                return f"[{','.join(items)}{self.choose('', ',') if items else ''}{blank}]"
            case dict():
                pairs = [f"{self.key(key)} = {self.value(each, is_inline=True)}" for key, each in shape.items()]
                return f"{{ {', '.join(pairs)} }}"
            case "number":
                return str(self.count)
            case "text":
                return f'"{self.count} \\" # \' [ = "'
            case "literal":
                return f"'{self.count} \\ # \" ] ='"
            case "long":
                return (
                    f'"""{self.choose("", chr(10))}{self.count} "" \\"""\n # [x] \'\'\' = {self.choose("", chr(34))}"""'
                )
            case "long literal":
                return f"'''{self.choose('', chr(10))}{self.count} '' \\\n # [x] \"\"\" = {self.choose('', chr(39))}'''"
        return f"{self.count}-01-01 07:32:00"


def is_plain(key: str) -> bool:
    return all(" " <= letter <= "~" for letter in key)


def basic(key: str) -> str:
    return '"' + "".join(f"\\U{ord(letter):08X}" for letter in key) + '"'


@st.composite
def documents(draw: Any) -> str:
    writer = Writer(draw)
    lines = []
    for keys, is_array, pairs in draw(TABLES):
        dotted = writer.choose(".", " . ").join(map(writer.key, keys))
        lines.append(f"[[{dotted}]]" if is_array else f"[ {dotted} ]")
        lines += [f"{writer.key(key)}{writer.choose('', ' ')}= {writer.value(shape)}" for key, shape in pairs.items()]
    newline = writer.choose("\n", "\r\n")
    return "\n".join(lines).replace("\n", newline)


def paths_of(value: Any, path: Path = ()) -> dict[Path, Any]:
    inner: dict[Path, Any] = {path: value} if path else {}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        inner |= paths_of(each, (*path, key))
    return inner


@settings(deadline=None, max_examples=150)
@given(document=documents())
def test_the_places_are_those_of_what_tomllib_reads(document: str) -> None:
    try:
        read = tomllib.loads(document)
    except tomllib.TOMLDecodeError:
        return  # a table twice, or a value where a table is
    places, found = find_places(document), paths_of(read)
    assert places.keys() == found.keys()
    lines = document.replace("\r\n", "\n").split("\n")
    for path, value in found.items():
        if isinstance(value, str | int):
            assert str(value)[:4] in lines[(places[path].text_line or places[path].line) - 1]
