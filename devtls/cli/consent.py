"""A clone is not trusted: what a new or changed devtls.toml would do is shown, and a person says yes or no, once."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from devtls.cli.output import is_interactive, say
from devtls.config.domains import authority_names, may_be_real
from devtls.config.effective import effective_values, printable, render_values
from devtls.errors import DevtlsError, UsageError
from devtls.model import parse_domain
from devtls.system import files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.config.project_file import ProjectFile
    from devtls.model import Project
    from devtls.system.paths import Paths


class Consent:
    """What a user agreed to, kept with the user's data and never in the clone: the files' hashes, and real domains.

    Args:
        file: what was read; its bytes are those that are hashed.
        project: what it would serve.
        paths: of the user.
        allowed: names of real domains, from the command line.
    """

    def __init__(self, file: ProjectFile, project: Project, paths: Paths, allowed: Sequence[str]) -> None:
        self._file = file
        self._project = project
        self._place = paths.data / "trusted-projects" / f"{paths.project(file.directory).name}.json"
        self._allowed = tuple(map(parse_domain, allowed))
        self._hashes = {name: hashlib.sha256(data).hexdigest() for name, data in file.contents}
        self._known = _read(files.read_or_none(self._place))

    def require(self, *, is_given: bool) -> None:
        """See that the user agreed to these files as they are, or ask; `is_given`: they say so on the command line.

        Raises:
            UsageError: nobody can be asked.
            DevtlsError: the answer is no.
        """
        if self._known.get("files") == self._hashes:
            return
        accepted = self._known.get("domains", [])
        names = [name for name in authority_names(self._project.domains) if not _is_covered(name, accepted)]
        real = [name for name in names if may_be_real(name)]
        asked_for = [name for name in real if not _is_covered(name, self._allowed)]
        if not is_interactive():
            if not is_given or asked_for:
                raise self._refusal(asked_for)
        else:
            if not is_given:
                self._ask()
            for name in asked_for:
                _ask_for_name(name)
        record = {"directory": str(self._file.directory), "files": self._hashes, "domains": [*accepted, *real]}
        files.make_private_directory(self._place.parent)
        files.write_atomically(self._place, json.dumps(record).encode())

    @property
    def _fact(self) -> str:
        names, is_one = " and ".join(self._hashes), len(self._hashes) == 1
        if self._known:
            return f"{names} {'has' if is_one else 'have'} changed since you trusted this project"
        return f"{names} {'is' if is_one else 'are'} new in {printable(os.fspath(self._file.directory))}"

    def _refusal(self, asked_for: Sequence[str]) -> UsageError:
        words = "".join(f" --allow-domain {name}" for name in asked_for)
        real = f", and {', '.join(asked_for)} may be somebody's real site" if asked_for else ""
        return UsageError(
            f"{self._fact}: what it runs is not trusted yet{real}",
            "See what it would do, then trust it as it is now:",
            "  devtls config",
            f"  devtls up --trust-project{words}",
        )

    def _ask(self) -> None:
        values = effective_values(self._file, self._project)
        lines = render_values(value for value in values if not value.is_default)
        say([f"{self._fact}. It says:", *(f"  {line}" for line in lines)], sys.stderr)
        if not click.confirm("Run and serve this?", err=True):
            raise DevtlsError(
                "nothing was done: the project is not trusted", "Change devtls.toml, then start it again."
            )


def _is_covered(name: str, by: Sequence[str]) -> bool:
    return any(name == each or name.endswith(f".{each}") for each in by)


def _ask_for_name(name: str) -> None:
    from devtls.config.domains import real_domain_notice

    notice = real_domain_notice(name)
    say([notice[0]] if notice else [], sys.stderr)
    if click.prompt(f"Type {name} to serve it on this machine", err=True, default="", show_default=False) != name:
        raise DevtlsError(f"nothing was done: {name} was not typed", "Take a name below .test in devtls.toml.")


def _read(data: bytes | None) -> dict[str, Any]:
    try:
        record = json.loads(data or b"{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
