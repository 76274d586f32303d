from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from devtls.trust import Change, Held
from devtls.trust.certificates import parse_pem
from devtls.trust.macos import find_store
from tests.unit.trust.fakes import OWNER, FakeTools, make_authority

if TYPE_CHECKING:
    from pathlib import Path

    from devtls.model import Authority


class Keychain(FakeTools):
    """Says what security(1) would, by its manual: not a Mac."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(self.say)
        self.pem, self.id = authority.root.read_text(), authority.id
        self.is_there = self.is_trusted = False

    def say(self, argv: tuple[str, ...]) -> tuple[int, str]:
        match argv[1]:
            case "find-certificate" if not self.is_there:
                return 44, "security: SecKeychainSearchCopyNext: The specified item could not be found in the keychain."
            case "find-certificate":
                return 0, self.pem
            case "dump-trust-settings" if not self.is_trusted:
                return 1, "SecTrustSettingsCopyCertificates: No Trust Settings were found."
            case "dump-trust-settings":
                return (
                    0,
                    f"Number of trusted certs = 1\nCert 0: devtls me@here {self.id}\n   Number of trust settings : 2",
                )
            case "add-trusted-cert":
                self.is_there = self.is_trusted = True
            case _:
                self.is_there = self.is_trusted = False
        return 0, ""


def test_a_root_is_added_for_tls_and_deleted_by_its_hash(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    keychain = Keychain(authority)
    store = find_store(tmp_path, keychain, lambda _place, _fingerprint: False)
    held = Held(authority.name, authority.fingerprint)
    place = str(tmp_path / "Library/Keychains/login.keychain-db")
    assert store.trust(authority) == Change()
    words = ("-r", "trustRoot", "-p", "ssl", "-p", "basic", "-k", place, str(authority.root))
    assert keychain.asked[-1][1:] == ("add-trusted-cert", *words)
    assert store.is_trusted(authority)
    assert store.find_held(OWNER) == (held,)
    assert store.untrust(held) == Change()
    digest = hashlib.sha1(parse_pem(authority.root.read_bytes()), usedforsecurity=False).hexdigest().upper()
    (deletion,) = (argv for argv in keychain.asked if "delete-certificate" in argv)
    assert deletion == ("/usr/bin/security", "delete-certificate", "-Z", digest, "-t", place)
    assert not store.holds(held)


def test_present_without_trust_is_not_trusted(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    keychain = Keychain(authority)
    keychain.is_there = True
    assert not find_store(tmp_path, keychain, lambda _place, _fingerprint: False).is_trusted(authority)


def test_a_receipt_is_believed_and_nobody_is_asked(tmp_path: Path) -> None:
    tools = FakeTools()
    assert find_store(tmp_path, tools, lambda _place, _fingerprint: True).is_trusted(make_authority(tmp_path))
    assert tools.asked == []


def test_a_refusal_is_trouble_with_the_command(tmp_path: Path) -> None:
    tools = FakeTools(lambda _argv: (1, "The authorization was cancelled by the user."))
    store = find_store(tmp_path, tools, lambda _place, _fingerprint: False)
    (trouble,) = store.trust(make_authority(tmp_path)).troubles
    assert "cancelled" in trouble.fact
    assert trouble.cure[-1].startswith("  /usr/bin/security add-trusted-cert ")


def test_a_keychain_that_does_not_answer_may_hold_anything(tmp_path: Path) -> None:
    store = find_store(tmp_path, FakeTools(lambda _argv: None), lambda _place, _fingerprint: False)
    assert store.holds(Held("devtls-1a2b3c4d", "0"))
    assert store.find_held(OWNER) == ()
