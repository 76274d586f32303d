"""An nginx configuration read back: what tests compare instead of text."""

from __future__ import annotations

import re

TOKEN = re.compile(
    r'\s+|#[^\n]*|([;{}])|"((?:\\.|[^"\\])*)"|\'((?:\\.|[^\'\\])*)\'|([^\s;{}"\'](?:\\.|\$\{|[^\s;{}])*)', re.DOTALL
)

Block = list[tuple[list[str], "Block"]]


def parse(text: str) -> Block:
    """The directives of an nginx configuration: (words, directives of its block)."""
    stack: list[Block] = [[]]
    words: list[str] = []
    place = 0
    while place < len(text):
        found = TOKEN.match(text, place)
        assert found, f"nginx would stumble at {text[place : place + 40]!r}"
        place = found.end()
        sign, *spelt = found.groups()
        if sign in {";", "{"}:
            stack[-1].append((words, []))
            if sign == "{":
                stack.append(stack[-1][-1][1])
            words = []
        elif sign == "}":
            assert not words
            stack.pop()
        else:
            words += [re.sub(r'\\(["\'\\])', r"\1", word) for word in spelt if word is not None]
    assert (len(stack), words) == (1, [])
    return stack[0]


def values(block: Block, name: str) -> list[list[str]]:
    """The parameters of each directive of this name."""
    return [words[1:] for words, _inside in block if words[0] == name]


def blocks(block: Block, name: str) -> list[tuple[list[str], Block]]:
    """The parameters and insides of each block of this name."""
    return [(words[1:], inside) for words, inside in block if words[0] == name]


def servers(block: Block) -> list[Block]:
    """The insides of each server."""
    return [inside for _words, inside in blocks(block, "server")]


def locations(server: Block) -> dict[str, Block]:
    """The insides of each location, by its words."""
    return {" ".join(words): inside for words, inside in blocks(server, "location")}
