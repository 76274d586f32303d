"""Trust by environment for Java: a copy of what its Java trusts, with our roots, named in JAVA_TOOL_OPTIONS.

Every Java program says "Picked up JAVA_TOOL_OPTIONS" on standard error then, so it is done only where Java is used, and
only when that Java does not trust the roots by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from devtls.errors import DevtlsError
from devtls.system.files import locked, make_private_directory, write_atomically
from devtls.trust.certificates import parse_pem, read
from devtls.trust.java import OPTIONS, PASSWORD, find_java_keystore, find_keytool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devtls.model import Notice
    from devtls.system.run import Runner

RUNTIMES = ("java", "jshell", "kotlin", "scala", "scala-cli", "groovy", "clojure", "clj", "lein", "jbang")
BUILDERS = ("mvn", "mvnw", "gradle", "gradlew", "sbt", "ant")
PROJECTS = ("pom.xml", "build.gradle", "build.gradle.kts", "build.sbt", "project.clj", "deps.edn", "gradlew", "mvnw")
VARIABLE = "JAVA_TOOL_OPTIONS"
SECRET = "DEVTLS_STORE_PASSWORD"  # noqa: S105 - a variable for keytool: arguments are seen by every user of the machine
STORE, STORE_PASSWORD = "-Djavax.net.ssl.trustStore=", "-Djavax.net.ssl.trustStorePassword="


def uses_java(argv: Sequence[str], directory: Path) -> bool:
    """Whether a command is Java's, or is run in a Java project."""
    is_javas = bool(argv) and Path(argv[0]).name in RUNTIMES + BUILDERS
    return is_javas or any((directory / each).exists() for each in PROJECTS)


def java_options(
    environment: Mapping[str, str], roots: Sequence[Path], folder: Path, run: Runner
) -> tuple[dict[str, str], tuple[Notice, ...]]:
    """Return JAVA_TOOL_OPTIONS, if it is needed, with the user's other options kept; and what is to be told."""
    options = _split(environment.get(VARIABLE, ""))
    named = next((each.removeprefix(STORE) for each in options if each.startswith(STORE)), "")
    password = next((each.removeprefix(STORE_PASSWORD) for each in options if each.startswith(STORE_PASSWORD)), "")
    keystore = Path(named) if named else find_java_keystore(environment)
    if keystore is None or not keystore.is_file():
        return {}, ()
    content = read(keystore)
    missing = [root for root in roots if parse_pem(read(root)) not in content]
    if not missing:
        return {}, ()
    try:
        copy = _copy(keystore, missing, password or PASSWORD, folder, run)
    except (OSError, DevtlsError) as error:
        cure = ("Have that Java trust them itself:", "  devtls trust")
        return {}, ((f"Java does not trust your roots: {error}", cure),)
    kept = [each for each in options if not each.startswith((STORE, STORE_PASSWORD))]
    ours = [f"{STORE}{copy}", f"{STORE_PASSWORD}{password or PASSWORD}"]
    return {VARIABLE: " ".join([*map(_quote, kept), *map(_quote, ours)])}, ()


def _copy(keystore: Path, roots: Sequence[Path], password: str, folder: Path, run: Runner) -> Path:
    """A copy of the keystore with the roots in it, made by its own Java's keytool; made once for the same content."""
    content = keystore.read_bytes()
    digest = hashlib.sha256(content)
    for root in roots:
        digest.update(read(root))
    copy = folder / f"java-{digest.hexdigest()[:16]}.keystore"
    if copy.is_file():
        return copy
    make_private_directory(folder)
    environment = {name: value for name, value in os.environ.items() if name not in OPTIONS} | {SECRET: password}
    coming = copy.with_suffix(".new")
    with locked(folder / ".lock"):
        try:
            write_atomically(coming, content)
            for root in roots:
                words = ["-importcert", "-noprompt", "-alias", f"devtls-{root.parent.name}", "-file", os.fspath(root)]
                argv = [find_keytool(keystore), *words, "-keystore", os.fspath(coming), "-storepass:env", SECRET]
                ended = run(argv, environment=environment, check=False)
                if ended.status != 0:
                    raise DevtlsError(f"keytool said: {ended.said.strip().rpartition(chr(10))[2]}")
            coming.replace(copy)
        finally:
            with contextlib.suppress(OSError):
                coming.unlink(missing_ok=True)
        for old in folder.glob("java-*.keystore"):
            if old != copy and old.stat().st_mtime < copy.stat().st_mtime - 30 * 86400:
                old.unlink(missing_ok=True)
    return copy


def _split(options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError:  # an open quote; Java says so itself
        return options.split()


def _quote(option: str) -> str:
    """As Java reads it: spaces and quotes are kept by quotes around them."""
    return f'"{option}"' if any(each in option for each in " \t'") else option
