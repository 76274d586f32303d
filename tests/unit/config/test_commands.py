from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.config.commands import parse_command, suggest_app
from devtls.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({}, "node app.js"),
        ({"package.json": json.dumps({"scripts": {"start": "x", "dev": "y"}})}, "npm run dev"),
        ({"package.json": json.dumps({"scripts": {"start": "x"}})}, "npm run start"),
        ({"package.json": json.dumps({"scripts": {}}), "server.js": ""}, "node server.js"),
        ({"package.json": '{"scripts": ["dev"]}', "app.py": ""}, "python app.py"),
        ({"package.json": "[]", "app.py": ""}, "python app.py"),
        ({"package.json": "not json", "app.py": ""}, "python app.py"),
    ],
)
def test_the_hint_knows_how_a_folder_is_started(tmp_path: Path, files: dict[str, str], command: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    assert suggest_app(tmp_path) == command


@given(st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=5))
@settings(deadline=None)
def test_any_words_survive_quoting(given_words: list[str]) -> None:
    text = shlex.join(given_words)
    try:
        assert parse_command(text) == given_words
    except UsageError as refused:
        assert "only a shell understands" in refused.message  # noqa: PT017 - both ways are right


@pytest.mark.parametrize(
    "text",
    ["cd a && node b", "node a | tee b", "node a > log", "node a &", "node a 2>&1", "node a; rm b", "node a;rm b"],
)
def test_a_command_that_needs_a_shell_says_how_to_ask_for_one(text: str) -> None:
    with pytest.raises(UsageError, match="which only a shell understands") as refused:
        parse_command(text)
    assert parse_command(refused.value.cure[-1]) == ["sh", "-c", text]


def test_an_operator_inside_quotes_is_an_argument() -> None:
    assert parse_command("sh -c 'a && b'") == ["sh", "-c", "a && b"]


def test_an_open_quote_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="cannot be read") as refused:
        parse_command("node 'app.js")
    assert refused.value.cure == ("Close the quotes.",)
