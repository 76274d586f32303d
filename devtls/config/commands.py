"""The command of a service: its words as a shell would read them, though none ever does."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from typing import TYPE_CHECKING

from devtls.errors import DevtlsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


SHELL_WORDS = "();<>|&"  # what a shell would act on, wherever it stands outside quotes
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)


class CommandNotFoundError(DevtlsError):
    """The program that a service should run is not there; shells say 127."""

    exit_code = 127


def suggest_app(directory: Path) -> str:
    """Return a command that plausibly starts the project in a directory, for a hint."""
    try:
        scripts = json.loads((directory / "package.json").read_text("utf-8")).get("scripts", {})
    except (OSError, ValueError, AttributeError):
        scripts = {}
    for name in ("dev", "start"):
        if isinstance(scripts, dict) and name in scripts:
            return f"npm run {name}"
    for file, command in (
        ("manage.py", "python manage.py runserver"),
        ("app.js", "node app.js"),
        ("server.js", "node server.js"),
        ("app.py", "python app.py"),
        ("bin/rails", "bin/rails server"),
    ):
        if (directory / file).is_file():
            return command
    return "node app.js"


def parse_program(text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words of a command, and the variables that it sets in front of them.

    Raises:
        UsageError: it has no words, or needs a shell.
    """
    words = parse_command(text)
    assigned = {}
    while words and ASSIGNMENT.fullmatch(words[0]):
        variable, _, value = words.pop(0).partition("=")
        assigned[variable] = value
    if not words:
        raise UsageError(f"the command {text!r} is empty", "Give a program and its arguments: node app.js")
    return tuple(words), assigned


def find_program(name: str, directory: Path, environment: Mapping[str, str]) -> None:
    """See that a program is there, on the PATH or below the folder that it is started in.

    Raises:
        CommandNotFoundError: it is not.
    """
    program = name if "/" in name else shutil.which(name, path=environment.get("PATH"))
    if program is None or shutil.which(directory / program) is None:
        raise CommandNotFoundError(
            f"there is no program {name!r}",
            "Install it, or correct the command; this finds it when it is there:",
            f"  command -v {shlex.quote(name)}",
        )


def parse_command(text: str) -> list[str]:
    """Split a command in the shell's word rules; no shell ever sees it.

    Raises:
        UsageError: a quote is open, or it needs a shell.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the command {text!r} cannot be read: {error}", "Close the quotes.") from error
    shell = _find_shell_word(text)
    if shell:
        raise UsageError(
            f"the command {text!r} has {shell}, which only a shell understands, and none is used",
            "Ask for one:",
            f"  sh -c {shlex.quote(text)}",
        )
    return words


def _find_shell_word(text: str) -> str:
    """The first character that a shell would act on: outside quotes, and not behind a backslash."""
    quote = ""
    characters = iter(text)
    for character in characters:
        if character == "\\" and quote != "'":
            next(characters, "")
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in SHELL_WORDS:
            return character
    return ""
