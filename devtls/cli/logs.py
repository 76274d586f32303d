"""devtls logs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devtls.errors import NotRunningError, UsageError

if TYPE_CHECKING:
    from devtls.system.paths import Paths

GATEWAY = "gateway"  # no service may be called so
LOOK_EVERY = 0.2  # s between looks for new lines of the gateway
BLOCK = 65536  # bytes read at a time from the end of a log


def last_lines(log: str | Path, count: int = 20) -> list[str]:
    """Return the last lines of a log file; none when there is none."""
    try:
        with Path(log).open("rb") as file:
            file.seek(0, os.SEEK_END)
            size = file.tell()
            data = b""
            while size and data.count(b"\n") <= count:
                step = min(size, BLOCK)
                size -= step
                file.seek(size)
                data = file.read(step) + data
    except OSError:
        return []
    lines = data.decode("utf-8", "replace").split("\n")[:-1]  # not splitlines: an app's line may hold U+2028
    return lines[-count:] if count else []


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come; Ctrl+C ends it, not the project.")
@click.option("-n", "--tail", type=click.IntRange(min=0), default=100, show_default=True, help="Lines from the end.")
def logs(services: tuple[str, ...], follow: bool, tail: int) -> None:
    """Show what the services of this folder's project printed, also when it is no longer up.

    `devtls logs gateway` shows what nginx and its keeper said, from any folder.
    """
    from devtls.cli.ask import connect, project_directory
    from devtls.system.paths import find_paths

    paths = find_paths(os.environ)
    if services == (GATEWAY,):
        _show_gateway(paths, tail, follow=follow)
        return
    folder = paths.project(project_directory()) / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    unknown = [name for name in services if name not in known]
    if not known:
        raise NotRunningError("nothing was ever up in this folder", "Start it:", "  devtls up DOMAIN --app CMD")
    if unknown:
        raise UsageError(f"there is no service {unknown[0]!r}", f"There is {', '.join(known)}.")
    wanted = services or tuple(known)
    lines = [
        (line, name) for name in wanted for line in last_lines(folder / f"{name}.log", tail)
    ]  # each begins with its time
    for line, name in sorted(lines, key=lambda pair: pair[0][:29])[-tail:] if tail else []:
        sys.stdout.write(f"{name} | {line}\n")
    sys.stdout.flush()
    if not follow:
        return
    with connect(paths, timeout=None) as client:
        client.send({"do": "follow"})
        while (received := client.receive()) is not None:
            event = received[0]
            if event.get("service") in wanted:
                sys.stdout.writelines(f"{event['service']} | {line}\n" for line in event["text"].split("\n")[:-1])
                sys.stdout.flush()


def _show_gateway(paths: Paths, tail: int, *, follow: bool) -> None:
    """The two logs one after the other, each with its own way to write the time; then new lines as they come."""
    logs = [paths.gateway / "keeper.log", paths.gateway / "gateway.log"]
    if not any(log.exists() for log in logs):
        raise NotRunningError("no gateway has run yet", "It is started by the first:", "  devtls up DOMAIN --app CMD")
    read = {log: log.stat().st_size if log.exists() else 0 for log in logs}
    for log in logs:
        sys.stdout.writelines(f"{log.stem} | {line}\n" for line in last_lines(log, tail))
    sys.stdout.flush()
    while follow:
        time.sleep(LOOK_EVERY)
        for log in logs:
            read[log] = _pass_on(log, read[log])


def _pass_on(log: Path, begin: int) -> int:
    """Write the whole lines that have come since; return how far they go. A log that is shorter now is a new one."""
    try:
        with log.open("rb") as file:
            file.seek(begin if begin <= file.seek(0, os.SEEK_END) else 0)
            start, data = file.tell(), file.read()
    except OSError:
        return 0
    whole = data[: data.rfind(b"\n") + 1]
    sys.stdout.writelines(f"{log.stem} | {line}\n" for line in whole.decode("utf-8", "replace").splitlines())
    sys.stdout.flush()
    return start + len(whole)
