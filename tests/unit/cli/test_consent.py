from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from devtls.cli.consent import Consent
from devtls.cli.declared import read_declared
from devtls.errors import DevtlsError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.terminal import Terminal

FILE = '[domains."{name}"]\n[services.web]\ncommand = ["true"]\n'


class Person(io.StringIO):
    """Standard input of somebody at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clone(terminal: Terminal) -> Path:
    (terminal.folder / "devtls.toml").write_text(FILE.format(name="love.test"), "utf-8")
    return terminal.folder


def require(terminal: Terminal, *allowed: str, is_given: bool = False) -> None:
    file, project = read_declared(terminal.folder, terminal.paths, None)
    Consent(file, project, terminal.paths, allowed).require(is_given=is_given)


def answer(patch: pytest.MonkeyPatch, *lines: str) -> io.StringIO:
    """Sit at the terminal and type these lines; return what is said there."""
    said = Person()
    patch.setattr(sys, "stdin", Person("".join(f"{line}\n" for line in lines)))
    patch.setattr(sys, "stderr", said)
    return said


@pytest.mark.usefixtures("clone")
def test_without_a_terminal_a_new_file_is_refused_with_the_cure(terminal: Terminal) -> None:
    with pytest.raises(UsageError, match=r"devtls\.toml is new in .*shop: what it runs is not trusted yet$") as refused:
        require(terminal)
    assert refused.value.cure[-1] == "  devtls up --trust-project"
    assert not terminal.paths.data.exists()


def test_what_was_trusted_is_asked_for_again_once_it_changed(terminal: Terminal, clone: Path) -> None:
    require(terminal, is_given=True)
    require(terminal)
    (clone / "devtls.local.toml").write_text("[services.web]\nport = 4000\n", "utf-8")
    with pytest.raises(UsageError, match=r"devtls\.toml and devtls\.local\.toml have changed since you trusted"):
        require(terminal)
    (clone / "devtls.local.toml").unlink()
    require(terminal)


def test_the_record_is_the_users_and_not_the_clones(terminal: Terminal, clone: Path) -> None:
    require(terminal, is_given=True)
    assert [path.name for path in clone.iterdir()] == ["devtls.toml"]
    (record,) = (terminal.paths.data / "trusted-projects").iterdir()
    assert record.stat().st_mode & 0o077 == 0
    record.write_text("[]", "utf-8")
    with pytest.raises(UsageError):
        require(terminal)


@pytest.mark.usefixtures("clone")
def test_a_person_sees_all_of_it_and_is_asked_once(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    said = answer(monkeypatch, "y")
    require(terminal)
    lines = said.getvalue().splitlines()
    assert [" ".join(line.split()) for line in lines[1:3]] == [
        '[domains."love.test"] # devtls.toml:1',
        'services.web.command = ["true"] # devtls.toml:3',
    ]
    said = answer(monkeypatch)
    require(terminal)
    assert said.getvalue() == ""


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("word", ["n", ""])
def test_no_is_the_answer_unless_somebody_says_yes(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    answer(monkeypatch, word)
    with pytest.raises(DevtlsError, match="nothing was done"):
        require(terminal)
    assert not terminal.paths.data.exists()


def test_a_real_domain_is_asked_for_by_its_name_whatever_else_is_trusted(
    terminal: Terminal, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "devtls.toml").write_text(FILE.format(name="www.love.cat"), "utf-8")
    with pytest.raises(UsageError, match=r"www\.love\.cat may be somebody's real site") as refused:
        require(terminal, is_given=True)
    assert refused.value.cure[-1] == "  devtls up --trust-project --allow-domain www.love.cat"
    answer(monkeypatch, "y")
    with pytest.raises(DevtlsError, match="nothing was done"):
        require(terminal, is_given=True)
    answer(monkeypatch, "www.love.cat")
    require(terminal, is_given=True)


def test_a_real_domain_that_was_accepted_is_not_asked_for_again(terminal: Terminal, clone: Path) -> None:
    (clone / "devtls.toml").write_text(FILE.format(name="love.cat"), "utf-8")
    require(terminal, "love.cat", is_given=True)
    (clone / "devtls.toml").write_text(FILE.format(name="www.love.cat"), "utf-8")
    require(terminal, is_given=True)
    (clone / "devtls.toml").write_text(FILE.format(name="purr.cat"), "utf-8")
    with pytest.raises(UsageError, match=r"purr\.cat"):
        require(terminal, is_given=True)


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.test"], "a domain"),
        (["--app", "true"], "--app"),
        (["--route", "/a=1"], "--route"),
        (["--replicas", "1"], "--replicas"),
        (["--header", "A: b", "-d"], "--header"),
    ],
)
def test_words_that_say_what_the_file_says_are_refused(terminal: Terminal, words: list[str], told: str) -> None:
    said = terminal.type("up", *words)
    assert (said.code, said.out) == (2, "")
    assert (
        said.err.splitlines()[0] == f"devtls: {told} was given, and {terminal.folder}/devtls.toml says what is served"
    )
    assert not terminal.paths.data.exists()


@pytest.mark.usefixtures("clone")
def test_up_is_refused_in_the_same_way_and_a_dry_run_asks_nothing(terminal: Terminal) -> None:
    said = terminal.type("up", "-d", "--https-port", "9443")
    assert (said.code, said.out) == (2, "")
    assert "is not trusted yet" in said.err
    assert not terminal.paths.state.exists()


@pytest.mark.parametrize("words", [["--trust-project"], ["--allow-domain", "love.cat"]])
def test_there_is_nothing_to_trust_without_a_file(terminal: Terminal, words: list[str]) -> None:
    said = terminal.type("up", "love.test", "--app", "true", *words)
    assert said.code == 2
    assert said.err.startswith(f"devtls: {words[0]} is about a devtls.toml, and there is none")
