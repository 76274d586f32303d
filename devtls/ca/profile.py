"""What is in a certificate: values in, PEM out, no files.

Every client measured refuses a foreign name from these authorities, because the constraints stand in the issuer as
well as in the root: Java 17 and 25 ignore the constraints of an anchor.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

AUTHORITY_DAYS = 1095  # Apple allows private roots more; three years keep prompts rare and a lost key short-lived
LEAF_DAYS = 30
BACKDATED = timedelta(hours=1)  # a clock an hour behind still accepts it; all 19 clients refuse a future notBefore
ORGANIZATION = "devtls development CA"
LEAF_ORGANIZATION = "devtls development certificate"
LONGEST_COMMON_NAME = 64  # RFC 5280, upper bound ub-common-name
# A constraint that lists no address allows them all, so the loopback networks are always listed.
LOOPBACK = ("127.0.0.0/8", "::1/128")


class AuthorityPem(Struct, frozen=True):
    """A new authority: the root, and the issuer's key, certificate and root in one PEM so that they never mismatch."""

    id: str
    root: bytes
    issuer: bytes
    fingerprint: str
    not_after: datetime


class LeafPem(Struct, frozen=True):
    """A new leaf: its chain without the root, and its key as PKCS#8."""

    fullchain: bytes
    key: bytes
    serial: int
    not_after: datetime


def make_authority(subtrees: Sequence[str], *, owner: str, now: datetime) -> AuthorityPem:
    """Return a root that signed one issuer, both limited to `subtrees` and the loopback addresses.

    The root's key exists only in this call. Names are unique, since OpenSSL and GnuTLS confuse two roots of one name.

    Args:
        subtrees: DNS names; each may be signed, with all below it.
        owner: "user@host", so that a person who finds the root in a store knows whose it is.
        now: aware, UTC.
    """
    from cryptography.hazmat.primitives import hashes, serialization

    identity = secrets.token_hex(4)
    root_key, issuer_key = _new_key(), _new_key()
    until = _whole(now) + timedelta(days=AUTHORITY_DAYS)
    root_name = _name(ORGANIZATION, _fit(f"devtls {owner}", f" {identity}"))
    issuer_name = _name(ORGANIZATION, f"devtls issuer {identity}")
    root = (
        _authority(root_name, root_key.public_key(), subtrees, path_length=1, now=now, until=until)
        .issuer_name(root_name)
        .sign(root_key, hashes.SHA256())
    )
    issuer = (
        _authority(issuer_name, issuer_key.public_key(), subtrees, path_length=0, now=now, until=until)
        .issuer_name(root_name)
        .add_extension(_authority_key_identifier(root), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = root.public_bytes(serialization.Encoding.PEM)
    return AuthorityPem(
        id=identity,
        root=pem,
        issuer=_key_pem(issuer_key) + issuer.public_bytes(serialization.Encoding.PEM) + pem,
        fingerprint=root.fingerprint(hashes.SHA256()).hex(),
        not_after=until,
    )


def issue_leaf(issuer_pem: bytes, host: str, *, now: datetime, days: int = LEAF_DAYS) -> LeafPem:
    """Return a certificate for one host name, which never outlives its issuer.

    It has no common name: OpenSSL and GnuTLS would hold that against the constraints too.

    Raises:
        ValueError: `issuer_pem` is not the key and certificates of an issuer.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509.oid import ExtendedKeyUsageOID

    signing_key = serialization.load_pem_private_key(issuer_pem, password=None)
    issuer, *_root = x509.load_pem_x509_certificates(issuer_pem)
    if not isinstance(signing_key, EllipticCurvePrivateKey) or signing_key.public_key() != issuer.public_key():
        raise ValueError("the issuer's key and certificate do not belong together")
    key, serial = _new_key(), x509.random_serial_number()
    until = min(_whole(now) + timedelta(days=days), issuer.not_valid_after_utc)
    leaf = (
        _certificate(_name(LEAF_ORGANIZATION), key.public_key(), now=now, until=until)
        .serial_number(serial)
        .issuer_name(issuer.subject)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_authority_key_identifier(issuer), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    chain = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (leaf, issuer))
    return LeafPem(fullchain=chain, key=_key_pem(key), serial=serial, not_after=until)


def _authority(  # noqa: PLR0913 - what tells a root from an issuer, each by name
    name: x509.Name,
    key: EllipticCurvePublicKey,
    subtrees: Sequence[str],
    *,
    path_length: int,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        _certificate(name, key, now=now, until=until)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(_constraints(subtrees), critical=True)
    )


def _certificate(
    name: x509.Name, key: EllipticCurvePublicKey, *, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .not_valid_before(_whole(now) - BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _constraints(subtrees: Sequence[str]) -> x509.NameConstraints:
    """Without a leading dot: OpenSSL and the browsers leave the name itself out of ".love.cat"."""
    from cryptography import x509

    names: list[x509.GeneralName] = [x509.DNSName(name) for name in subtrees]
    addresses: list[x509.GeneralName] = [x509.IPAddress(ip_network(network)) for network in LOOPBACK]
    return x509.NameConstraints(permitted_subtrees=names + addresses, excluded_subtrees=None)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """An authority signs certificates and nothing else; a leaf on an elliptic curve only signs handshakes."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    from cryptography import x509

    identifier = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _name(organization: str, common_name: str | None = None) -> x509.Name:
    from cryptography import x509

    attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization)]
    if common_name:
        attributes.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _fit(text: str, ending: str) -> str:
    """Shorten `text`, by whole characters, so that both together fit a common name."""
    room = LONGEST_COMMON_NAME - len(ending.encode())
    return text.encode()[:room].decode("utf-8", "ignore") + ending


def _new_key() -> EllipticCurvePrivateKey:
    """P-256: both browsers refuse Ed25519."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
