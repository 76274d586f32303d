"""devtls logs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from devtls.errors import NotRunningError, UsageError

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
    """Show what the services of this folder's project printed, also when it is no longer up."""
    from devtls.cli.ask import connect, project_directory
    from devtls.system.paths import find_paths

    paths = find_paths(os.environ)
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
