r"""The Windows that this Linux runs inside (WSL): its PowerShell, and its hosts file. Not yet run.

Browsers there read C:\Windows\System32\drivers\etc\hosts; Windows passes what they send to 127.0.0.1 on to the Linux
side: https://learn.microsoft.com/windows/wsl/networking. Reading the file needs no right; writing it needs an
administrator, whom Windows asks in a window of its own.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.system.files import read_or_none
from devtls.system.root import describe_edit
from devtls.system.root_script import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtls.model import Notice
    from devtls.system.run import Runner

KERNEL = Path("/proc/sys/kernel/osrelease")  # "…-microsoft-standard-WSL2"
POWERSHELL = Path("/mnt/c/Windows/System32/WindowsPowerShell/v1.0/powershell.exe")
HOSTS = r"C:\Windows\System32\drivers\etc\hosts"  # as people there call it
PATIENCE = 300.0  # seconds, for a person to answer the window
LONGEST_COMMAND = 32_000  # characters; CreateProcess takes 32,767 with the program's name and the final NUL

# What an administrator runs. Contents are numbers and base64, so nothing in them is a word of PowerShell. Old and new
# are known by their SHA-256: it writes what was shown, over what was read, or nothing. Replace keeps the file's rights.
SCRIPT = r"""
$ErrorActionPreference = 'Stop'
$hosts = [Environment]::SystemDirectory + '\drivers\etc\hosts'
$new = $hosts + '.devtls'
$aside = $hosts + '.devtls.old'
$sha256 = [Security.Cryptography.SHA256]::Create()
try {
  [byte[]] $old = [IO.File]::ReadAllBytes($hosts)
  if ([BitConverter]::ToString($sha256.ComputeHash($old)) -ne '%(old)s') { exit %(changed)d }
  [byte[]] $lines = [Convert]::FromBase64String('%(lines)s')
  $whole = New-Object IO.MemoryStream
  $whole.Write($old, 0, %(start)d)
  $whole.Write($lines, 0, $lines.Length)
  $whole.Write($old, %(end)d, $old.Length - %(end)d)
  if ([BitConverter]::ToString($sha256.ComputeHash($whole.ToArray())) -ne '%(new)s') { exit %(refused)d }
  $file = [IO.File]::Create($new)
  try { $whole.WriteTo($file); $file.Flush($true) } finally { $file.Close() }
  [IO.File]::Replace($new, $hosts, $aside)
  [IO.File]::Delete($aside)
} catch {
  if (-not [IO.File]::Exists($hosts)) { [IO.File]::Move($aside, $hosts) }
  [IO.File]::Delete($new)
  exit %(failed)d
}
"""

# It starts another PowerShell, which Windows lets be an administrator after a person answered its window. There is no
# double quote in it, since it crosses two command lines. The script is base64 of UTF-16.
COMMAND = (
    "$ErrorActionPreference = 'Stop'; $ended = Start-Process -Verb RunAs -WindowStyle Hidden -Wait -PassThru"
    " -FilePath (Join-Path $PSHOME 'powershell.exe')"
    " -ArgumentList '-NoProfile', '-NonInteractive', '-EncodedCommand', '%s'; exit $ended.ExitCode"
)


class Windows(Struct, frozen=True):
    """Its PowerShell, and its hosts file, both as this Linux sees them."""

    powershell: Path
    hosts: Path


class WindowsCall(Struct, frozen=True):
    """What Windows is asked to run; as root.RootCall.

    Attributes:
        argv: what this Linux runs; in it is the script, as PowerShell takes it.
        text: what is printed to the user before: each change, then the whole command.
        who: runs it.
    """

    argv: tuple[str, ...]
    text: str
    who: str = "administrator of Windows"


def find_windows(*, kernel: Path = KERNEL, powershell: Path = POWERSHELL) -> Windows | None:
    """Return the Windows around us, when there is one and its programs can be started."""
    try:
        is_inside = b"microsoft" in (read_or_none(kernel) or b"").lower()
    except OSError:
        return None
    system = powershell.parents[2]
    return Windows(powershell, system / "drivers/etc/hosts") if is_inside and powershell.exists() else None


def read_hosts(windows: Windows) -> bytes:
    """Return the hosts file of Windows; nothing when there is none.

    Raises:
        OSError: it cannot be read.
    """
    return read_or_none(windows.hosts) or b""


def quote(text: str) -> str:
    """A string of PowerShell: nothing in it is special but the quote itself."""
    return "'{}'".format(text.replace("'", "''"))


def splice(old: bytes, new: bytes) -> tuple[int, int, bytes]:
    """Return (start, end, lines), so that `new` is `old[:start] + lines + old[end:]`."""
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    return start, len(old) - end, new[start : len(new) - end]


def _common(one: bytes, other: bytes) -> int:
    """How many bytes are the same from the beginning on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def render_call(windows: Windows, old: bytes, new: bytes) -> WindowsCall:
    """Return the call that replaces the hosts file of Windows, if it still is `old`."""
    start, end, lines = splice(old, new)
    script = SCRIPT % {
        "old": _digest(old),
        "new": _digest(new),
        "start": start,
        "end": end,
        "lines": base64.b64encode(lines).decode(),
        "changed": Status.CHANGED_MEANWHILE,
        "refused": Status.REFUSED,
        "failed": Status.NOT_WRITTEN,
    }
    encoded = base64.b64encode(script.encode("utf-16-le")).decode()
    argv = (os.fspath(windows.powershell), "-NoProfile", "-Command", COMMAND % encoded)
    shown = [f"  {line}" for line in script.strip().splitlines()]
    changes = [f"edit {HOSTS}:", *describe_edit(old, new)]
    command = shlex.join((*argv[:-1], COMMAND % "SCRIPT"))
    return WindowsCall(argv, "\n".join([*changes, command, "where SCRIPT is:", *shown]))


def edit_hosts(
    windows: Windows,
    change: Callable[[bytes], bytes],
    *,
    is_interactive: bool,
    asking: Callable[[WindowsCall], None],
    run: Runner,
) -> Notice | None:
    """Have an administrator of Windows make a change to its hosts file; return why that was not possible, or None.

    Args:
        windows: where.
        change: the file as it is -> the file as it should be.
        is_interactive: a person is there to answer the window; nobody else is shown one.
        asking: is told the call before it runs.
        run: how programs are run.

    Raises:
        OSError: the file cannot be read.
    """
    old = read_hosts(windows)
    new = change(old)
    if new == old:
        return None
    call = render_call(windows, old, new)
    if not is_interactive:
        reason = "nobody is there to answer the window in which Windows asks"
    elif len(shlex.join(call.argv)) > LONGEST_COMMAND:
        reason = "these are more names than a command of Windows can take"
    else:
        asking(call)
        reason = _call(call, run)
    if read_hosts(windows) == new:  # what is said is not believed, only what is there
        return None
    cure = ("Run it in a terminal and answer Yes in that window, or do it yourself, as administrator:",)
    return f"{HOSTS} was not edited: {reason}", cure + tuple(describe_edit(old, new))


def _call(call: WindowsCall, run: Runner) -> str:
    """Run it; return what came of it, in words."""
    try:
        ended = run(call.argv, check=False, timeout=PATIENCE)
    except DevtlsError as error:
        return str(error)
    if ended.status == Status.CHANGED_MEANWHILE:
        return "it was changed meanwhile"
    said = ended.said.strip().splitlines()
    return said[0] if said else f"what it ran ended with status {ended.status}"


def _digest(data: bytes) -> str:
    """SHA-256 as .NET's BitConverter writes it."""
    return hashlib.sha256(data).digest().hex("-").upper()
