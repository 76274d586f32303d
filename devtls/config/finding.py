"""Which folder's devtls.toml is meant: the nearest above, as git finds its repository."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "devtls.toml"


def find_project(start: Path, home: Path | None) -> Path | None:
    """Return the nearest folder with a devtls.toml: from `start` up to the root of its git repository, or to `home`.

    Above `start` no folder is looked in that everybody may write to: what is in /tmp is anybody's.
    """
    try:
        for folder in (start, *start.parents):
            if folder != start and folder.stat().st_mode & stat.S_IWOTH:
                return None
            if (folder / NAME).is_file():
                return folder
            if folder == home or (folder / ".git").exists():
                return None
    except OSError:
        return None  # what cannot be read is nobody's project
    return None
