"""The environment in which programs trust the user's authorities; for `env`, `exec` and the services of `up`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devtls.ca.store import certified_hosts, load_authorities
from devtls.errors import DevtlsError
from devtls.system.paths import find_paths
from devtls.system.proxy import without_proxy
from devtls.system.run import run
from devtls.trust.java_options import java_options, uses_java
from devtls.trust.runtimes import Environment, directory_of, prepare, usable_roots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from devtls.model import Notice, Project


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


def command_environment(environment: Mapping[str, str], argv: Sequence[str], directory: Path) -> Environment:
    """Return what to set for a command of the user's own: trust, and no proxy for the names that are served here.

    Raises:
        DevtlsError: there is no authority to trust, or a file cannot be written.
    """
    prepared = trusting_environment(environment, argv, directory)
    variables = {**prepared.variables, **without_proxy(environment, certified_hosts(find_paths(environment)))}
    return Environment(variables, prepared.notices)


def trusting_services(
    environment: Mapping[str, str], project: Project
) -> tuple[dict[str, Mapping[str, str]], tuple[Notice, ...]]:
    """Return what to set for each service by its name; a file that cannot be written is told, and stops nothing."""
    variables: dict[str, Mapping[str, str]] = {}
    notices: dict[Notice, None] = {}
    for service in project.services:
        try:
            made = trusting_environment({**environment, **service.environment}, service.argv, service.directory)
        except DevtlsError as error:
            notices[f"{service.name} trusts what it did before: {error}", error.cure] = None
            continue
        variables[service.name] = made.variables
        notices |= dict.fromkeys(made.notices)
    return variables, tuple(notices)
