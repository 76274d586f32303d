from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from devtls.ca.profile import issue_leaf
from devtls.ca.team import may_sign, read_team_issuer
from devtls.errors import DevtlsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


class Team:
    """A team's authority in two files; what is not said is as it should be."""

    def __init__(
        self, folder: Path, *, permitted: str = "", days: int = 30, signs: bool = True, password: str = ""
    ) -> None:
        self.certificate, self.key = folder / "team.pem", folder / "team.key"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "our team")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(NOW - timedelta(days=90))
            .not_valid_after(NOW + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=signs, path_length=None), critical=True)
        )
        if permitted:
            builder = builder.add_extension(x509.NameConstraints([x509.DNSName(permitted)], None), critical=True)
        self.issuer = builder.sign(key, hashes.SHA256())
        self.certificate.write_bytes(self.issuer.public_bytes(PEM))
        locked = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        self.write_key(key.private_bytes(PEM, PKCS8, locked))

    def write_key(self, pem: bytes) -> None:
        self.key.write_bytes(pem)
        self.key.chmod(0o600)

    def read(self, *names: str, ask: Callable[[], str] | None = None) -> bytes:
        return read_team_issuer(self.certificate, self.key, names or ("shop.example",), NOW, ask)


def test_what_it_gives_signs_a_leaf_without_a_key_identifier_of_its_own(tmp_path: Path) -> None:
    team = Team(tmp_path)
    leaf = x509.load_pem_x509_certificates(issue_leaf(team.read(), "shop.example", now=NOW).fullchain)
    assert len(leaf) == 1, "a root is not served"
    leaf[0].verify_directly_issued_by(team.issuer)


@pytest.mark.parametrize(
    ("name", "permitted", "expected"),
    [
        ("a.dev", "a.dev", True),
        ("www.a.dev", ".a.dev", True),
        ("*.a.dev", "a.dev", True),
        ("ba.dev", "a.dev", False),
        ("10.0.0.1", "a.dev", True),  # a kind that is not listed is not limited
        ("anything.example", "", True),
    ],
)
def test_its_own_constraints_are_respected(tmp_path: Path, name: str, permitted: str, expected: bool) -> None:
    assert may_sign(Team(tmp_path, permitted=permitted).issuer, name) is expected


def test_who_cannot_sign_now_is_refused_with_why(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "and not now": {"days": -1},
        "is not a certificate authority": {"signs": False},
        r"may not sign shop\.example": {"permitted": "a.dev"},
    }
    for why, facts in cases.items():
        with pytest.raises(UsageError, match=why):
            Team(tmp_path, **facts).read()
    above = Team(tmp_path, days=-1).certificate.read_bytes()
    team = Team(tmp_path)
    team.certificate.write_bytes(team.certificate.read_bytes() + above)
    with pytest.raises(UsageError, match="and not now"):
        team.read()


def test_an_encrypted_key_is_asked_about_and_never_guessed(tmp_path: Path) -> None:
    team = Team(tmp_path, password="secret")
    assert b"BEGIN PRIVATE KEY" in team.read(ask=lambda: "secret")
    with pytest.raises(DevtlsError, match="cannot be decrypted with that password"):
        team.read(ask=lambda: "wrong")
    with pytest.raises(DevtlsError, match="there is no terminal") as refused:
        team.read()
    assert "openssl pkey -in" in refused.value.cure[-1]


def test_a_file_that_is_not_what_it_should_be_is_told(tmp_path: Path) -> None:
    team = Team(tmp_path)
    team.write_key(ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    with pytest.raises(UsageError, match="neither RSA nor of an elliptic curve"):
        team.read()
    team.write_key(b"no key")
    with pytest.raises(UsageError, match="is not a private key in PEM"):
        team.read()
    other = ec.generate_private_key(ec.SECP256R1())
    team.write_key(other.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    with pytest.raises(UsageError, match="is not the key of"):
        team.read()
    team.certificate.write_bytes(b"no certificate")
    with pytest.raises(UsageError, match="is not a certificate in PEM"):
        team.read()
    team.certificate.unlink()
    with pytest.raises(DevtlsError, match="cannot be read"):
        team.read()
