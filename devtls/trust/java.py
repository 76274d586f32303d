"""Java's keystores: one for each JDK or JRE that does not read the system's.

A JKS file and a PKCS#12 file without a password hold certificates as they are, so looking needs no Java. keytool
changes a copy, which then takes the keystore's place: a kill leaves the old one or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import stat
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.errors import DevtlsError
from devtls.system.files import PRIVATE_FILE
from devtls.trust import Change, Held, Trouble
from devtls.trust.certificates import fingerprint, identity_of, parse_bundle, parse_pem, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from devtls.model import Authority
    from devtls.system.run import Completed, Runner

PASSWORD = "changeit"  # noqa: S105 - what every JDK ships with; it guards nothing
# A certificate of X.509 version 3 of 256 bytes to 64 KiB: SEQUENCE, SEQUENCE, [0] INTEGER 2 (RFC 5280, 4.1).
CERTIFICATE = re.compile(rb"\x30\x82(..)\x30\x82..\xa0\x03\x02\x01\x02", re.DOTALL)
# What the system's own tools write, wherever its JDKs link to it.
SYSTEMS = (
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/etc/ca-certificates/extracted/java-cacerts.jks",
    "/var/lib/ca-certificates/java-cacerts",
)
# Inside a JDK or JRE, the first that exists is read; the last one is Java 8's.
KEYSTORES = ("lib/security/jssecacerts", "lib/security/cacerts", "jre/lib/security/cacerts")
NAMES = frozenset({"cacerts", "jssecacerts"})
# What a user sets for all Java programs would be said on each one's standard error, or change what it trusts.
OPTIONS = frozenset({"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"})


class JavaStore(Struct, frozen=True):
    """One keystore; its owner changes it, and where that is root, the command is told."""

    name: str
    place: Path
    keytool: str
    run: Runner
    needs_root: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether this user owns it and may replace it; whose it is, it stays."""
        try:
            is_owner = self.place.stat().st_uid == os.geteuid()
        except OSError:
            return False
        return is_owner and os.access(self.place, os.W_OK) and os.access(self.place.parent, os.W_OK)

    def is_trusted(self, authority: Authority) -> bool:
        """Whether the root is in it."""
        der = parse_pem(read(authority.root))
        return bool(der) and der in read(self.place)

    def trust(self, authority: Authority) -> Change:
        """Add the root."""
        if self.is_trusted(authority):
            return Change()
        words = ["-importcert", "-noprompt", "-alias", authority.name, "-file", os.fspath(authority.root)]
        if not self.is_ours:
            return self._trouble("it is not yours to change", "sudo", words)
        try:
            said = self._change([words], lambda copy: parse_pem(read(authority.root)) in copy)
        except DevtlsError as error:
            said = str(error)
        return Change() if self.is_trusted(authority) else self._trouble(said, "", words)

    def untrust(self, held: Held) -> Change:
        """Take the root out, whatever it is called here."""
        if self.is_ours and self._copy.exists():  # of a run that was killed, or is at it
            with _locked(self.place.parent), contextlib.suppress(OSError):
                self._copy.unlink(missing_ok=True)
        if not self.holds(held):
            return Change()
        words = ["-delete", "-alias", held.name]
        if not self.is_ours:
            return self._trouble(f"{held.name} is in it, and it is not yours to change", "sudo", words)
        try:
            aliases = self._find_aliases(held.fingerprint)
            steps = [["-delete", "-alias", alias] for alias in aliases]
            said = self._change(steps, lambda copy: not _has(copy, held)) if steps else "keytool does not list it"
        except DevtlsError as error:
            said = str(error)
        return self._trouble(said, "", words) if self.holds(held) else Change()

    def holds(self, held: Held) -> bool:
        """Whether the certificate is in it; true when it cannot be read."""
        keystore = read(self.place)
        return _has(keystore, held) if keystore else self.place.exists()

    def discard(self) -> None:
        """It came with its JDK."""

    def find_held(self, owner: str) -> tuple[Held, ...]:
        """Return the roots that devtls made for this owner, told by their subject."""
        found = ((identity_of(der, owner), der) for der in find_certificates(read(self.place)))
        return tuple(Held(f"devtls-{identity}", fingerprint(der)) for identity, der in found if identity)

    @property
    def _copy(self) -> Path:
        return self.place.with_name(f".{self.place.name}.devtls")

    def _change(self, steps: list[list[str]], is_right: Callable[[bytes], bool]) -> str:
        """Let keytool change a copy, and put it into the keystore's place if it is right; returns what it said."""
        said = ""
        with _locked(self.place.parent):
            try:
                self._make_copy()
                for step in steps:
                    ended = self._run_keytool(step, self._copy)
                    said = ended.said.strip().rpartition("\n")[2] or "keytool said nothing"
                    if ended.status != 0:
                        return said
                if not is_right(read(self._copy)):
                    return "its certificates are encrypted, so it cannot be told what is in it"
                self._copy.replace(self.place)
            except OSError as error:
                return f"{self._copy} cannot be written: {error.strerror}"
            finally:
                with contextlib.suppress(OSError):
                    self._copy.unlink(missing_ok=True)
        return said

    def _make_copy(self) -> None:
        """Never through a link that somebody has put there."""
        self._copy.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._copy, flags, PRIVATE_FILE), "wb") as copy:
            os.fchmod(copy.fileno(), stat.S_IMODE(self.place.stat().st_mode))
            copy.write(self.place.read_bytes())

    def _find_aliases(self, wanted: str) -> list[str]:
        """What the certificate is called in it, each name there is; a keystore has no two entries of one name."""
        listed = self._run_keytool(["-list", "-rfc"], self.place)
        entries = listed.stdout.split(b"Alias name: ")[1:]
        return [
            entry.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
            for entry in entries
            if any(fingerprint(der) == wanted for der in parse_bundle(entry))
        ]

    def _run_keytool(self, words: list[str], keystore: Path) -> Completed:
        argv = [self.keytool, "-J-Duser.language=en", *words, "-keystore", os.fspath(keystore)]
        environment = {name: value for name, value in os.environ.items() if name not in OPTIONS}
        return self.run([*argv, "-storepass", PASSWORD], environment=environment, check=False)

    def _trouble(self, said: str, sudo: str, words: list[str]) -> Change:
        command = shlex.join([self.keytool, *words, "-keystore", os.fspath(self.place)])
        cure = (
            f"Its password is {PASSWORD} unless somebody changed it:",
            f"  {sudo} {command}" if sudo else f"  {command}",
        )
        return Change(troubles=(Trouble(self.name, said, cure),))


def find_stores(
    home: Path, environment: Mapping[str, str], run: Runner, *, top: Path = Path("/")
) -> tuple[tuple[JavaStore, ...], tuple[Trouble, ...]]:
    """Return the keystore of each JDK and JRE that has one of its own, each once, and what is wrong with JAVA_HOME."""
    systems = {os.path.realpath(top / each.lstrip("/")) for each in SYSTEMS}
    found: dict[Path, JavaStore] = {}
    for java in _find_homes(home, environment, top):
        keystore = _find_keystore(java)
        if keystore and os.fspath(keystore) not in systems and keystore not in found:
            found[keystore] = JavaStore(
                f"Java, {_name(java, home)}", keystore, find_keytool(keystore, environment), run
            )
    java_home = environment.get("JAVA_HOME", "")
    if java_home and not _find_keystore(Path(java_home)):
        return tuple(found.values()), (_bad_home(java_home),)
    return tuple(found.values()), ()


def find_java_keystore(environment: Mapping[str, str]) -> Path | None:
    """Where the Java that programs of this environment run takes its roots from: JAVA_HOME's, or the PATH's."""
    homes = [Path(environment["JAVA_HOME"])] if environment.get("JAVA_HOME") else []
    if program := shutil.which("java", path=environment.get("PATH", "")):
        homes.append(Path(os.path.realpath(program)).parent.parent)
    return next((keystore for home in homes if (keystore := _find_keystore(home))), None)


def find_certificates(keystore: bytes) -> Iterator[bytes]:
    """Return the DER of each certificate that a keystore holds in the clear."""
    for match in CERTIFICATE.finditer(keystore):
        yield keystore[match.start() : match.start() + 4 + int.from_bytes(match.group(1), "big")]


def _has(keystore: bytes, held: Held) -> bool:
    return any(fingerprint(der) == held.fingerprint for der in find_certificates(keystore))


def _find_homes(home: Path, environment: Mapping[str, str], top: Path) -> Iterator[Path]:
    if java_home := environment.get("JAVA_HOME"):
        yield Path(java_home)
    if program := shutil.which("java", path=environment.get("PATH", "")):
        yield Path(os.path.realpath(program)).parent.parent
    installers = (
        Path(environment.get("SDKMAN_DIR") or home / ".sdkman") / "candidates/java",
        Path(environment.get("MISE_DATA_DIR") or home / ".local/share/mise") / "installs/java",
        Path(environment.get("ASDF_DATA_DIR") or home / ".asdf") / "installs/java",
        Path(environment.get("JABBA_HOME") or home / ".jabba") / "jdk",
        home / ".jdks",
        home / ".gradle/jdks",
        *(top / each for each in ("usr/lib/jvm", "usr/java", "opt/java")),
    )
    for directory in installers:
        yield from sorted(directory.glob("*"))
    for directory in (home / "Library/Java/JavaVirtualMachines", top / "Library/Java/JavaVirtualMachines"):
        yield from sorted(directory.glob("*/Contents/Home"))


def _find_keystore(java: Path) -> Path | None:
    """Where this Java takes its roots from, links followed."""
    for each in KEYSTORES:
        with contextlib.suppress(OSError):
            if (java / each).is_file():
                return (java / each).resolve()
    return None


def find_keytool(keystore: Path, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    """The keytool beside a keystore (JAVA/lib/security/cacerts) knows its kind; a JRE may have none."""
    for java in keystore.parents[2:4]:
        if os.access(java / "bin/keytool", os.X_OK):
            return os.fspath(java / "bin/keytool")
    return shutil.which("keytool", path=environment.get("PATH")) or "keytool"


def _name(java: Path, home: Path) -> str:
    return f"~/{java.relative_to(home)}" if java.is_relative_to(home) else str(java)


def _bad_home(java_home: str) -> Trouble:
    return Trouble(
        "Java",
        f"JAVA_HOME is {java_home!r}, and no Java is there; the others are found without it",
        ("Set it right, or go without:", "  unset JAVA_HOME"),
    )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory itself, so that no lock file is left in somebody's JDK."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DevtlsError(f"{directory} cannot be read: {error.strerror}") from error
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
