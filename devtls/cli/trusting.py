"""The environment in which programs trust the user's authorities; for `env`, `exec` and the services of `up`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devtls.ca.store import load_authorities
from devtls.errors import DevtlsError
from devtls.system.paths import find_paths
from devtls.system.run import run
from devtls.trust.java_options import java_options, uses_java
from devtls.trust.runtimes import Environment, directory_of, prepare, usable_roots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from devtls.model import Project


def trusting_environment(environment: Mapping[str, str], argv: Sequence[str], directory: Path) -> Environment:
    """Return what to set for a command in a directory.

    Raises:
        DevtlsError: there is no authority to trust, or a file cannot be written.
    """
    paths = find_paths(environment)
    roots = usable_roots(load_authorities(paths), datetime.now(UTC))
    if not roots:
        raise DevtlsError(
            "there is no certificate authority to trust yet",
            "Each of these makes one:",
            "  devtls up DOMAIN --app CMD",
            "  devtls trust DOMAIN",
        )
    folder = directory_of(paths)
    prepared = prepare(environment, roots, folder)
    if not uses_java(argv, directory):
        return prepared
    java, notices = java_options(environment, roots, folder, run)
    return Environment({**prepared.variables, **java}, (*prepared.notices, *notices))


def trusting_services(environment: Mapping[str, str], project: Project) -> Environment:
    """Return what to set for the services of a project; a file that cannot be written is told, and stops nothing."""
    users = [each.argv for each in project.services if uses_java(each.argv, project.directory)]
    try:
        return trusting_environment(environment, users[0] if users else (), project.directory)
    except DevtlsError as error:
        return Environment({}, ((f"services trust what they did before: {error}", error.cure),))
