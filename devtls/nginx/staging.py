"""The gateway's configuration on disk: written beside the live one, read by `nginx -t`, then swapped in."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from devtls.nginx.owners import OWNERS, render_owners
from devtls.nginx.render import render_gateway
from devtls.nginx.unknown import render_unknown
from devtls.system import files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from devtls.nginx.protocol import Registration, Setup

NAME = "nginx.conf"


class Staging:
    """Folders below `conf`, one a configuration; `live` is a symlink to the one that nginx reads."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._count = 0
        self._text = ""

    def stage(self, sites: Sequence[Registration]) -> Path:
        """Write the configuration of these sites into a folder of its own; there is at least one.

        Raises:
            DevtlsError, OSError: it cannot be written.
        """
        self._count += 1
        folder = self._setup.folder / "conf" / f"{os.getpid()}-{self._count}"
        files.make_private_directory(folder)
        port = self._setup.listen.https[0].port
        pages = render_unknown([each.facts for each in sites], port, self._setup.templates)
        for ending, page in pages.items():
            (folder / f"unknown.{ending}").write_text(page, "utf-8")
        text = render_gateway(
            self._setup.listen,
            self._setup.nginx.features,
            self._setup.templates,
            [each.site for each in sites],
            leaf=sites[0].leaf,
            pages=self.live,
            served={domain for each in sites for domain in each.domains},
            user="root" if os.geteuid() == 0 else "",
        )
        (folder / NAME).write_text(text, "utf-8")
        (folder / OWNERS).write_text(render_owners([each.pid for each in sites]), "utf-8")
        self._text = text
        return folder

    def line_of(self, site: Registration | None) -> int:
        """The line on which a site begins in what was staged last: what nginx says names lines of the whole."""
        before, found, _after = self._text.partition(site.site) if site else ("", "", "")
        return before.count("\n") + 1 if found else 1

    @property
    def live(self) -> Path:
        """What nginx reads."""
        return self._setup.folder / "live"

    def swap(self, folder: Path) -> None:
        """Make a staged folder the live one; nginx reads through the symlink at its next reload."""
        coming = self._setup.folder / "live.next"
        coming.unlink(missing_ok=True)
        coming.symlink_to(folder)
        coming.replace(self.live)
        for old in folder.parent.iterdir():
            if old != folder:
                self.discard(old)

    def discard(self, folder: Path) -> None:
        """Forget what was staged; a folder has files alone. Without shutil, which costs the keeper 0.6 MB."""
        with contextlib.suppress(OSError):
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()

    def clear(self) -> None:
        """Leave nothing."""
        self.live.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for folder in (self._setup.folder / "conf").iterdir():
                self.discard(folder)
            (self._setup.folder / "conf").rmdir()
