from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from devtls.system.low_ports import FILE, VALUE, Kept, LowPorts, look_at_low_ports, parse_file, render_file
from devtls.system.root_script import render_script

if TYPE_CHECKING:
    from pathlib import Path

KEPT = Kept(1000, 1024)


class Stage:
    """The setting and its file somewhere else, where root's own script is run upon them."""

    def __init__(self, folder: Path) -> None:
        self.value, self.file = folder / "value", folder / "sysctl.d" / FILE.name
        self.file.parent.mkdir()
        self.value.write_text("1024\n")

    def run(self, *words: str) -> list[str]:
        """What root says of it."""
        script = render_script({words[0]}).replace(str(VALUE), str(self.value)).replace(str(FILE), str(self.file))
        argv = ["/bin/sh", "-c", script, "devtls", *words]
        ended = subprocess.run(argv, capture_output=True, text=True, check=False, env={}, input="")
        return [line for line in ended.stdout.splitlines() if line != "devtls: started"] or [str(ended.returncode)]

    def look(self) -> LowPorts:
        """What devtls sees of it."""
        return look_at_low_ports(self.value, self.file)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_what_root_writes_is_what_is_read(stage: Stage) -> None:
    assert stage.run("lower-ports", "1000") == ["devtls: done lower-ports"]
    assert stage.file.read_text() == render_file(KEPT)
    assert stage.look() == LowPorts(80, KEPT)
    assert [each.name for each in stage.file.parent.iterdir()] == [FILE.name]


def test_what_was_there_before_is_given_back(stage: Stage) -> None:
    stage.value.write_text("443\n")
    stage.run("lower-ports", "1000")
    assert stage.run("restore-ports") == ["devtls: done restore-ports"]
    assert (stage.look(), list(stage.file.parent.iterdir())) == (LowPorts(443), [])


def test_asking_twice_changes_nothing(stage: Stage) -> None:
    stage.run("lower-ports", "1000")
    assert stage.run("lower-ports", "2000") == ["devtls: done lower-ports"]
    assert stage.look() == LowPorts(80, KEPT)
    stage.run("restore-ports")
    assert stage.run("restore-ports") == ["devtls: done restore-ports"]
    assert stage.look() == LowPorts(1024)


def test_a_value_that_was_raised_since_is_lowered_again_and_the_first_one_is_remembered(stage: Stage) -> None:
    stage.run("lower-ports", "1000")
    stage.value.write_text("500\n")
    stage.run("lower-ports", "1000")
    assert stage.look() == LowPorts(80, KEPT)


def test_a_value_that_somebody_set_since_is_left(stage: Stage) -> None:
    stage.run("lower-ports", "1000")
    stage.value.write_text("0\n")
    stage.run("restore-ports")
    assert stage.look() == LowPorts(0)


@pytest.mark.parametrize(
    "text", ["", "net.ipv4.ip_unprivileged_port_start=80\n", f"{render_file(KEPT)}vm.swappiness=1\n"]
)
def test_a_file_that_is_not_as_devtls_wrote_it_is_never_touched(stage: Stage, text: str) -> None:
    stage.file.write_text(text)
    assert stage.run("lower-ports", "1000") == ["devtls: failed 61 lower-ports"]
    assert stage.run("restore-ports") == ["devtls: failed 61 restore-ports"]
    assert (stage.file.read_text(), stage.look()) == (text, LowPorts(1024, is_changed=True))


def test_a_link_is_not_followed(stage: Stage, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(render_file(KEPT))
    stage.file.symlink_to(elsewhere)
    assert stage.run("restore-ports") == ["devtls: failed 61 restore-ports"]
    assert stage.look() == LowPorts(1024, is_changed=True)
    stage.file.unlink()
    stage.file.symlink_to(tmp_path / "nowhere")
    assert stage.run("lower-ports", "1000") == ["devtls: failed 61 lower-ports"]
    assert stage.look() == LowPorts(1024, is_changed=True)


def test_a_value_that_cannot_be_set_leaves_no_file(stage: Stage) -> None:
    stage.value = stage.value.rename(stage.value.with_name("1024"))
    refusing = "set_ports() { false; }"
    script = render_script({"lower-ports"}).replace(str(VALUE), str(stage.value)).replace(str(FILE), str(stage.file))
    script = script.replace('set_ports() { echo "$1" > "$port_value" && [ "$(cat "$port_value")" = "$1" ]; }', refusing)
    assert refusing in script
    argv = ["/bin/sh", "-c", script, "devtls", "lower-ports", "1000"]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True, input="")
    assert ended.stdout.splitlines()[-1] == "devtls: failed 62 lower-ports"
    assert stage.look() == LowPorts(1024)


def test_without_a_folder_for_it_nothing_is_set(stage: Stage) -> None:
    stage.file.parent.rmdir()
    assert stage.run("lower-ports", "1000") == ["devtls: failed 60 lower-ports"]
    assert stage.look() == LowPorts(1024)


@pytest.mark.parametrize("user", ["", "dev", "1000; id", "-1"])
def test_root_takes_a_number_for_the_user(stage: Stage, user: str) -> None:
    assert stage.run("lower-ports", user) == ["41"]
    assert stage.look() == LowPorts(1024)


def test_a_system_without_the_setting_has_none(tmp_path: Path) -> None:
    found = look_at_low_ports(tmp_path / "value", tmp_path / "file")
    assert (found, found.is_low) == (LowPorts(None), False)


@pytest.mark.parametrize(("start", "is_low"), [(0, True), (80, True), (81, False), (1024, False)])
def test_80_and_443_must_both_be_had(start: int, *, is_low: bool) -> None:
    assert LowPorts(start).is_low is is_low


def test_a_file_is_read_to_the_byte() -> None:
    assert parse_file(render_file(KEPT)) == KEPT
    assert parse_file(render_file(KEPT).replace("=80", "=0")) is None
    assert parse_file(render_file(KEPT).replace("1024", "01024")) is None
