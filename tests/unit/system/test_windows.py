from __future__ import annotations

import base64
import hashlib
import re
import shlex
import textwrap
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtls import hosts
from devtls.errors import DevtlsError
from devtls.system.root_script import Status
from devtls.system.run import Completed
from devtls.system.windows import HOSTS, Windows, WindowsCall, edit_hosts, find_windows, quote, render_call, splice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

OLD = b"# Copyright (c) 1993-2009 Microsoft Corp.\r\n127.0.0.1 localhost\r\n"


class PowerShell:
    """Does what an administrator's PowerShell would, by its manual, with the numbers in the script: not a Windows."""

    def __init__(self, file: Path, *, before: Callable[[], object] = lambda: None) -> None:
        self.file = file
        self.before = before
        self.asked: list[tuple[str, ...]] = []
        self.refusal = ""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        assert (stdin, environment, check) == (b"", None, False)
        assert timeout > 60
        self.asked.append(tuple(argv))
        self.before()
        status = 1 if self.refusal else self._obey(script_in(argv))
        return Completed(tuple(argv), status, b"", self.refusal)

    def _obey(self, script: str) -> int:
        old, new = re.findall(r"-ne '([0-9A-F-]+)'", script)
        (lines,) = re.findall(r"FromBase64String\('(.*)'\)", script)
        (start,) = re.findall(r"Write\(\$old, 0, (\d+)\)", script)
        (end,) = re.findall(r"Write\(\$old, (\d+), \$old.Length - \1\)", script)
        data = self.file.read_bytes()
        if digest(data) != old:
            return Status.CHANGED_MEANWHILE
        whole = data[: int(start)] + base64.b64decode(lines, validate=True) + data[int(end) :]
        assert digest(whole) == new
        self.file.write_bytes(whole)
        return 0


def script_in(argv: Sequence[str]) -> str:
    (encoded,) = re.findall(r"'-EncodedCommand', '([A-Za-z0-9+/=]+)'", argv[-1])
    return base64.b64decode(encoded).decode("utf-16-le")


def digest(data: bytes) -> str:
    """As [BitConverter]::ToString writes it."""
    return "-".join(f"{byte:02X}" for byte in hashlib.sha256(data).digest())


@pytest.fixture
def windows(tmp_path: Path) -> Windows:
    file = tmp_path / "hosts"
    file.write_bytes(OLD)
    return Windows(tmp_path / "powershell.exe", file)


def adding(*names: str) -> Callable[[bytes], bytes]:
    return lambda data: hosts.render(data, names, ipv6=False)


def never_asked(_call: WindowsCall) -> None:
    pytest.fail("nobody should be asked")


def test_an_edit_is_made_and_taken_back_byte_for_byte(windows: Windows) -> None:
    powershell, told = PowerShell(windows.hosts), list[WindowsCall]()
    assert edit_hosts(windows, adding("love.cat"), is_interactive=True, asking=told.append, run=powershell) is None
    assert windows.hosts.read_bytes() == OLD + (b"# devtls: begin\r\n127.0.0.1 love.cat # devtls\r\n# devtls: end\r\n")
    assert edit_hosts(windows, hosts.remove, is_interactive=True, asking=told.append, run=powershell) is None
    assert windows.hosts.read_bytes() == OLD
    assert [call.argv for call in told] == powershell.asked


def shown(call: WindowsCall) -> str:
    """The script in what is printed."""
    return textwrap.dedent(call.text.partition("\nwhere SCRIPT is:\n")[2])


def test_what_is_told_is_what_runs(windows: Windows) -> None:
    call = render_call(windows, OLD, adding("love.cat")(OLD))
    assert script_in(call.argv).strip() == shown(call)
    changes, command = call.text.partition("\nwhere SCRIPT is:\n")[0].rsplit("\n", 1)
    assert changes.splitlines()[0] == rf"edit {HOSTS}:"
    assert "  + 127.0.0.1 love.cat # devtls" in changes.splitlines()
    (encoded,) = re.findall(r"'-EncodedCommand', '(.+?)'", call.argv[-1])
    assert [each.replace(encoded, "SCRIPT") for each in call.argv] == shlex.split(command)
    assert call.argv[:3] == (str(windows.powershell), "-NoProfile", "-Command")
    assert "Start-Process -Verb RunAs " in call.argv[3]
    assert '"' not in call.argv[3]


def test_contents_are_numbers_and_base64_whatever_they_are(windows: Windows) -> None:
    evil = b"'; Remove-Item C:\\ -Recurse #\r\n"
    call = render_call(windows, OLD, OLD + evil)
    assert "Remove-Item" not in shown(call)
    assert "Remove-Item" not in " ".join(call.argv)


def test_the_whole_is_put_in_place_at_once_or_the_old_one_is_put_back(windows: Windows) -> None:
    script = shown(render_call(windows, OLD, adding("love.cat")(OLD)))
    order = ["ReadAllBytes($hosts)", "exit 40", "exit 41", "Create($new)", "Flush($true)", "Replace($new, $hosts"]
    assert [script.index(each) for each in order] == sorted(script.index(each) for each in order)
    assert "[IO.File]::Move($aside, $hosts)" in script.partition("} catch {")[2]


def test_nothing_to_change_shows_no_window(windows: Windows) -> None:
    powershell = PowerShell(windows.hosts)
    assert edit_hosts(windows, hosts.remove, is_interactive=True, asking=never_asked, run=powershell) is None
    assert powershell.asked == []


def test_where_nobody_is_there_no_window_is_shown_and_the_lines_are_told(windows: Windows) -> None:
    powershell = PowerShell(windows.hosts)
    left = edit_hosts(windows, adding("love.cat"), is_interactive=False, asking=never_asked, run=powershell)
    assert left is not None
    fact, cure = left
    assert "nobody is there" in fact
    assert "  + 127.0.0.1 love.cat # devtls" in cure
    assert powershell.asked == []


def test_a_no_in_the_window_is_told_and_the_file_is_as_it_was(windows: Windows) -> None:
    powershell = PowerShell(windows.hosts)
    powershell.refusal = "The operation was canceled by the user.\r\nAt line:1 char:1"
    left = edit_hosts(windows, adding("love.cat"), is_interactive=True, asking=lambda _call: None, run=powershell)
    assert left is not None
    assert left[0] == f"{HOSTS} was not edited: The operation was canceled by the user."
    assert windows.hosts.read_bytes() == OLD


def test_a_file_that_changed_meanwhile_is_not_written(windows: Windows) -> None:
    powershell = PowerShell(windows.hosts, before=lambda: windows.hosts.write_bytes(OLD + b"10.0.0.1 db\r\n"))
    left = edit_hosts(windows, adding("love.cat"), is_interactive=True, asking=lambda _call: None, run=powershell)
    assert left is not None
    assert "changed meanwhile" in left[0]
    assert windows.hosts.read_bytes() == OLD + b"10.0.0.1 db\r\n"


def test_a_powershell_that_lies_is_not_believed(windows: Windows) -> None:
    def lying(argv: Sequence[str], **_words: object) -> Completed:
        return Completed(tuple(argv), 0, b"", "")

    left = edit_hosts(windows, adding("love.cat"), is_interactive=True, asking=lambda _call: None, run=lying)
    assert left is not None
    assert "ended with status 0" in left[0]


def test_a_powershell_that_cannot_be_started_is_told(windows: Windows) -> None:
    def missing(argv: Sequence[str], **_words: object) -> Completed:
        raise DevtlsError(f"{argv[0]} cannot be run: Exec format error")

    left = edit_hosts(windows, adding("love.cat"), is_interactive=True, asking=lambda _call: None, run=missing)
    assert left is not None
    assert "Exec format error" in left[0]


def test_more_than_a_command_line_takes_is_not_begun(windows: Windows) -> None:
    names = [f"n{number}.example.com" for number in range(400)]
    powershell = PowerShell(windows.hosts)
    left = edit_hosts(windows, adding(*names), is_interactive=True, asking=never_asked, run=powershell)
    assert left is not None
    assert "more names than" in left[0]


def test_a_long_file_takes_no_longer_command(windows: Windows) -> None:
    windows.hosts.write_bytes(b"0.0.0.0 ads.example\r\n" * 10_000)
    powershell = PowerShell(windows.hosts)
    names = [f"n{number}.test" for number in range(100)]
    assert edit_hosts(windows, adding(*names), is_interactive=True, asking=lambda _call: None, run=powershell) is None
    assert hosts.names_in_block(windows.hosts.read_bytes()) == tuple(names)


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=30))
def test_an_edit_is_a_place_and_what_comes_there(before: bytes, gone: bytes, come: bytes, after: bytes) -> None:
    old, new = before + gone + after, before + come + after
    start, end, lines = splice(old, new)
    assert old[:start] + lines + old[end:] == new
    assert start <= end
    assert len(lines) <= len(come)


def test_a_string_of_powershell_ends_where_it_should() -> None:
    assert quote(r"\\wsl$\o'me") == r"'\\wsl$\o''me'"


@pytest.mark.parametrize(
    ("release", "has_powershell", "is_found"),
    [
        ("5.15.90.1-microsoft-standard-WSL2\n", True, True),
        ("6.1.0-18-amd64\n", True, False),
        ("Microsoft", False, False),
    ],
)
def test_wsl_is_known_by_its_kernel_and_by_what_it_can_start(
    tmp_path: Path, release: str, has_powershell: bool, is_found: bool
) -> None:
    kernel = tmp_path / "osrelease"
    powershell = tmp_path / "System32/WindowsPowerShell/v1.0/powershell.exe"
    kernel.write_text(release)
    powershell.parent.mkdir(parents=True)
    if has_powershell:
        powershell.write_text("")
    found = find_windows(kernel=kernel, powershell=powershell)
    assert found == (Windows(powershell, tmp_path / "System32/drivers/etc/hosts") if is_found else None)
