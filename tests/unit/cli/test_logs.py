from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtls.cli.logs import BLOCK, last_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.terminal import Terminal


def write_log(terminal: Terminal, name: str, *lines: str) -> None:
    folder = terminal.project / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.log").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def at(second: int, text: str) -> str:
    return f"2030-01-01T12:00:{second:02}.000+00:00 {text}"


def test_logs_are_the_lines_of_all_services_in_the_order_they_came(terminal: Terminal) -> None:
    write_log(terminal, "web", at(1, "one"), at(3, "three"))
    write_log(terminal, "api", at(2, "two"))
    said = terminal.type("logs")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [f"web | {at(1, 'one')}", f"api | {at(2, 'two')}", f"web | {at(3, 'three')}"]


def test_logs_of_one_service_are_its_own(terminal: Terminal) -> None:
    write_log(terminal, "web", at(1, "one"))
    write_log(terminal, "api", at(2, "two"))
    assert terminal.type("logs", "api").out == f"api | {at(2, 'two')}\n"


def test_the_tail_is_of_all_lines_together(terminal: Terminal) -> None:
    write_log(terminal, "web", *(at(second, "w") for second in (1, 3, 5)))
    write_log(terminal, "api", *(at(second, "a") for second in (2, 4)))
    assert terminal.type("logs", "--tail", "2").out.splitlines() == [f"api | {at(4, 'a')}", f"web | {at(5, 'w')}"]
    assert terminal.type("logs", "-n", "0").out == ""


def test_logs_where_nothing_ever_was_is_exit_3_with_how_to_begin(terminal: Terminal) -> None:
    said = terminal.type("logs")
    assert (said.code, said.out) == (3, "")
    assert said.err.splitlines()[::2] == [
        "devtls: nothing was ever up in this folder",
        "    devtls up DOMAIN --app CMD",
    ]


def test_an_unknown_service_is_exit_2_naming_those_there_are(terminal: Terminal) -> None:
    write_log(terminal, "web")
    write_log(terminal, "api")
    said = terminal.type("logs", "nobody")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == ["devtls: there is no service 'nobody'", "  There is api, web."]


def test_following_goes_on_with_the_lines_of_what_is_wanted_until_the_session_ends(terminal: Terminal) -> None:
    write_log(terminal, "web", at(1, "one"))
    write_log(terminal, "api")
    lines = [
        {"event": "line", "service": "web", "text": "two\nthree\n"},
        {"event": "line", "service": "api", "text": "not asked for\n"},
    ]
    with terminal.session({"follow": lines}) as heard:
        said = terminal.type("logs", "-f", "web")
    assert said.code == 0
    assert said.out.splitlines() == [f"web | {at(1, 'one')}", "web | two", "web | three"]
    assert heard == [{"do": "follow"}]


def test_following_what_is_down_shows_what_there_is_and_is_exit_3(terminal: Terminal) -> None:
    write_log(terminal, "web", at(1, "one"))
    said = terminal.type("logs", "-f")
    assert (said.code, said.out) == (3, f"web | {at(1, 'one')}\n")
    assert "nothing is up in" in said.err


@pytest.mark.parametrize(("count", "lines"), [(0, []), (1, ["c"]), (2, ["b", "c"]), (5, ["a", "b", "c"])])
def test_the_last_lines_of_a_log_are_read_from_its_end(tmp_path: Path, count: int, lines: list[str]) -> None:
    (tmp_path / "log").write_text("a\nb\nc\n", "utf-8")
    assert last_lines(tmp_path / "log", count) == lines


def test_the_last_lines_of_a_large_log_are_whole(tmp_path: Path) -> None:
    lines = [f"{number} {'é' * 700}" for number in range(200)]
    (tmp_path / "log").write_text("\n".join(lines) + "\n", "utf-8")
    assert (tmp_path / "log").stat().st_size > 3 * BLOCK
    for count in (1, 90, 199, 200):
        assert last_lines(tmp_path / "log", count) == lines[-count:]


def test_a_log_that_is_not_there_or_empty_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "nothing") == []
    (tmp_path / "log").touch()
    assert last_lines(tmp_path / "log") == []


def test_a_line_of_an_app_stays_one_line_whatever_is_in_it(terminal: Terminal) -> None:
    write_log(terminal, "web", at(1, "a\u2028b\x0cc"), at(2, "two"))
    assert terminal.type("logs").out == f"web | {at(1, chr(0x2028).join('ab'))}\x0cc\nweb | {at(2, 'two')}\n"
