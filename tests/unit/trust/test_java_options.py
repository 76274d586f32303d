from __future__ import annotations

import base64
import shutil
from typing import TYPE_CHECKING

import pytest

from devtls.system.run import Completed
from devtls.trust.java_options import java_options, uses_java

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DER = b"0\x82\x01\x00 our root"


class FakeKeytool:
    """Puts the root into the keystore as keytool would, and counts."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.calls = 0
        self.passwords: list[str] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        del stdin, timeout, check
        self.calls += 1
        self.passwords.append((environment or {})[argv[argv.index("-storepass:env") + 1]])
        assert self.passwords[-1] not in argv
        with open(argv[argv.index("-keystore") + 1], "ab") as keystore:  # noqa: PTH123 - as a program does
            keystore.write(DER)
        return Completed(tuple(argv), self.status, b"", "keytool error: wrong password")


@pytest.fixture
def java(tmp_path: Path) -> Path:
    """A JDK whose keystore knows nobody of ours; and a root."""
    (tmp_path / "jdk/lib/security").mkdir(parents=True)
    (tmp_path / "jdk/lib/security/cacerts").write_bytes(b"public roots")
    (tmp_path / "ca/1a2b3c4d").mkdir(parents=True)
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(DER) + b"\n-----END CERTIFICATE-----\n"
    (tmp_path / "ca/1a2b3c4d/root.pem").write_bytes(pem)
    return tmp_path


def ask(java: Path, run: FakeKeytool, **environment: str) -> tuple[dict[str, str], list[str]]:
    words = {"JAVA_HOME": str(java / "jdk"), **environment}
    variables, notices = java_options(words, [java / "ca/1a2b3c4d/root.pem"], java / "environment", run)
    return variables, [fact for fact, _cure in notices]


def test_a_java_that_does_not_know_us_gets_a_copy_of_its_keystore_made_once(java: Path) -> None:
    run = FakeKeytool()
    variables, notices = ask(java, run)
    (copy,) = (java / "environment").glob("java-*.keystore")
    assert variables == {
        "JAVA_TOOL_OPTIONS": f"-Djavax.net.ssl.trustStore={copy} -Djavax.net.ssl.trustStorePassword=changeit"
    }
    assert (copy.read_bytes(), notices) == (b"public roots" + DER, [])
    assert ask(java, run)[0] == variables
    assert run.calls == 1
    assert (java / "jdk/lib/security/cacerts").read_bytes() == b"public roots"


def test_a_java_that_knows_us_needs_nothing(java: Path) -> None:
    (java / "jdk/lib/security/cacerts").write_bytes(b"public roots" + DER)
    assert ask(java, FakeKeytool()) == ({}, [])


def test_the_users_own_options_and_store_are_kept(java: Path) -> None:
    (java / "corporate.jks").write_bytes(b"corporate roots")
    run = FakeKeytool()
    options = f'-Xmx1g "-Dgreeting=hello you" -Djavax.net.ssl.trustStore={java}/corporate.jks'
    options += " -Djavax.net.ssl.trustStorePassword=secret"
    variables, _ = ask(java, run, JAVA_TOOL_OPTIONS=options)
    (copy,) = (java / "environment").glob("java-*.keystore")
    assert variables["JAVA_TOOL_OPTIONS"].startswith(f'-Xmx1g "-Dgreeting=hello you" -Djavax.net.ssl.trustStore={copy}')
    assert copy.read_bytes() == b"corporate roots" + DER
    assert run.passwords == ["secret"]
    assert ask(java, run, **variables) == ({}, []), "inside its own environment there is nothing to do"


def test_a_keytool_that_fails_is_told_and_leaves_nothing(java: Path) -> None:
    variables, (fact,) = ask(java, FakeKeytool(status=1))
    assert variables == {}
    assert "keytool said: keytool error: wrong password" in fact
    assert list((java / "environment").glob("java*")) == []


def test_without_java_there_is_nothing_to_do(java: Path) -> None:
    shutil.rmtree(java / "jdk")
    assert ask(java, FakeKeytool(), PATH="") == ({}, [])


@pytest.mark.parametrize(
    ("argv", "file", "expected"),
    [
        (("java", "-jar", "app.jar"), "", True),
        (("./gradlew", "run"), "", True),
        (("node", "app.js"), "pom.xml", True),
        (("node", "app.js"), "package.json", False),
        ((), "", False),
    ],
)
def test_java_is_used_by_its_programs_and_in_its_projects(
    tmp_path: Path, argv: tuple[str, ...], file: str, expected: bool
) -> None:
    if file:
        (tmp_path / file).touch()
    assert uses_java(argv, tmp_path) is expected
