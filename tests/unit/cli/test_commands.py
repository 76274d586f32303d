from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from devtls import __version__
from devtls.cli import COMMANDS, devtls

if TYPE_CHECKING:
    from tests.unit.cli.terminal import Terminal

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_command_with_its_purpose_and_how_to_begin(terminal: Terminal, option: str) -> None:
    said = terminal.type(option)
    assert said.code == 0
    for name, purpose in COMMANDS.items():
        assert f"{name} " in said.out
        assert purpose in said.out
    assert 'devtls up love.cat --app "node app.js"' in said.out


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(command: str, option: str) -> None:
    said = CliRunner().invoke(devtls, [command, option], prog_name="devtls")
    assert said.exit_code == 0
    assert said.output.startswith(f"Usage: devtls {command} ")
    assert len(said.output.splitlines()[2].strip()) > 10


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_for(command: str) -> None:
    found = devtls.get_command(devtls.make_context("devtls", [command]), command)
    assert found
    assert [each.name for each in found.params if each.param_type_name == "option" and not each.help] == []


def test_no_word_at_all_is_answered_with_the_help_and_2(terminal: Terminal) -> None:
    said = terminal.type()
    assert (said.code, said.err) == (2, "")
    assert said.out.startswith("Usage: ")


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["ps", "--nonsense"], "No such option '--nonsense'"),
        (["up", "--port", "0"], "Invalid value for '--port'"),
        (["up", "--https-port", "65536"], "Invalid value for '--https-port'"),
        (["up", "--timeout", "soon"], "Invalid value for '--timeout'"),
        (["logs", "--tail", "-1"], "Invalid value for '-n' / '--tail'"),
        (["trust", "--low-ports", "love.cat"], "--low-ports stands alone"),
        (["untrust", "--low-ports", "love.cat"], "--low-ports stands alone"),
        (["down", "extra"], "Got unexpected extra argument"),
    ],
)
def test_wrong_words_are_exit_2_on_standard_error(terminal: Terminal, words: list[str], fact: str) -> None:
    said = terminal.type(*words)
    assert (said.code, said.out) == (2, "")
    assert fact in said.err


def test_the_version_is_told(terminal: Terminal) -> None:
    assert terminal.type("--version").out == f"devtls {__version__}\n"


def run_as_program(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder / "s"), "PYTHONPATH": str(ROOT)}
    known.pop("SUDO_UID", None)
    words = (sys.executable, "-m", "devtls", *words)
    return subprocess.run(words, cwd=folder, env={**known, **environment}, capture_output=True, text=True, check=False)


def test_a_mistake_at_a_real_prompt_is_fact_cure_command_and_no_traceback(tmp_path: Path) -> None:
    ended = run_as_program("down", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.splitlines() == [
        f"devtls: nothing is up in {tmp_path}",
        "  Start it, or go to its folder; this lists what is up:",
        "    devtls ps --all",
    ]


def test_a_terminal_without_utf8_gets_an_error_it_can_show(tmp_path: Path) -> None:
    ended = run_as_program("up", folder=tmp_path, PYTHONIOENCODING="ascii")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == "    devtls up love.cat --app ..."


def test_colours_can_be_forced_and_forbidden(tmp_path: Path) -> None:
    assert "\x1b[31mdevtls:\x1b[0m" in run_as_program("down", folder=tmp_path, FORCE_COLOR="1").stderr
    assert "\x1b" not in run_as_program("down", folder=tmp_path, FORCE_COLOR="1", NO_COLOR="1").stderr


def test_a_reader_that_is_gone_is_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "devtls", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, cwd=tmp_path, env=environment, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")
