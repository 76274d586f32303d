"""What is in a certificate: values in, PEM out, no files.

Every client measured refuses a foreign name from these authorities, because the constraints stand in the issuer as
well as in the root: Java 17 and 25 ignore the constraints of an anchor.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from devtls.model import is_address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    PrivateKey: TypeAlias = EllipticCurvePrivateKey | RSAPrivateKey
    PublicKey: TypeAlias = EllipticCurvePublicKey | RSAPublicKey

AUTHORITY_DAYS = 1095  # Apple allows private roots more; three years keep prompts rare and a lost key short-lived
LEAF_DAYS = 30
EXPORTED_DAYS = 397  # of files that nobody renews; Apple takes 825 from private roots, 398 has been everybody's habit
BACKDATED = timedelta(hours=1)  # a clock an hour behind still accepts it; all 19 clients refuse a future notBefore
ORGANIZATION = "devtls development CA"
LEAF_ORGANIZATION = "devtls development certificate"
LONGEST_COMMON_NAME = 64  # RFC 5280, upper bound ub-common-name
# A constraint that lists no address allows them all, so the loopback networks are always listed; and one that lists no
# name allows them all, so there is always a name: RFC 6761 keeps this one from ever being anybody's.
LOOPBACK = ("127.0.0.0/8", "::1/128")
NOBODY = "invalid"
RSA_BITS = 2048
PKCS12_PASSWORD = b"changeit"  # what mkcert's users and Java's tools expect; it guards nothing


class AuthorityPem(Struct, frozen=True):
    """A new authority: the root, and the issuer's key, certificate and root in one PEM so that they never mismatch.

    Attributes:
        fingerprint: SHA-256 of the root's DER, hexadecimal.
        spki: SHA-256 of the issuer's public key, base64, by which a browser can be told to accept what it signs.
    """

    id: str
    root: bytes
    issuer: bytes
    fingerprint: str
    not_before: datetime
    not_after: datetime
    spki: str


class LeafPem(Struct, frozen=True):
    """A new leaf: its chain without the root, and its key as PKCS#8.

    Attributes:
        names: as they stand in it.
    """

    names: tuple[str, ...]
    fullchain: bytes
    key: bytes
    serial: int
    not_after: datetime


def make_authority(names: Sequence[str], *, owner: str, now: datetime) -> AuthorityPem:
    """Return a root that signed one issuer, both limited to `names` and the loopback addresses.

    The root's key exists only in this call. Names are unique, since OpenSSL and GnuTLS confuse two roots of one name.

    Args:
        names: DNS names, each of which may be signed with all below it; and addresses.
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
        _authority(root_name, root_key.public_key(), names, path_length=1, now=now, until=until)
        .issuer_name(root_name)
        .sign(root_key, hashes.SHA256())
    )
    issuer = (
        _authority(issuer_name, issuer_key.public_key(), names, path_length=0, now=now, until=until)
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
        not_before=_whole(now) - BACKDATED,
        not_after=until,
        spki=_digest(issuer_key.public_key()),
    )


def issue_leaf(
    issuer_pem: bytes,
    *names: str,
    now: datetime,
    days: int = LEAF_DAYS,
    is_client: bool = False,
    is_rsa: bool = False,
) -> LeafPem:
    """Return a certificate for host names, wildcards and addresses, which never outlives its issuer.

    It has no common name: OpenSSL and GnuTLS would hold that against the constraints too.

    Args:
        issuer_pem: the issuer's key, its certificate, and what is above it.
        names: what it is for.
        now: aware, UTC.
        days: how long it lives.
        is_client: it may also say who a client is.
        is_rsa: an RSA key, for programs that know no other.

    Raises:
        ValueError: `issuer_pem` is not the key and certificates of an issuer.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID

    signing_key = load_key(issuer_pem)
    issuer, *above = x509.load_pem_x509_certificates(issuer_pem)
    if signing_key.public_key() != issuer.public_key():
        raise ValueError("the issuer's key and certificate do not belong together")
    key, serial = _new_rsa_key() if is_rsa else _new_key(), x509.random_serial_number()
    until = min(_whole(now) + timedelta(days=days), issuer.not_valid_after_utc)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if is_client else [])]
    leaf = (
        _certificate(_name(LEAF_ORGANIZATION), key.public_key(), now=now, until=until)
        .serial_number(serial)
        .issuer_name(issuer.subject)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False, enciphers=is_rsa), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_authority_key_identifier(issuer), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    between = [each for each in (issuer, *above) if each.issuer != each.subject]
    chain = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (leaf, *between))
    return LeafPem(names=names, fullchain=chain, key=_key_pem(key), serial=serial, not_after=until)


def load_key(pem: bytes, password: bytes | None = None) -> PrivateKey:
    """Return the private key in a PEM.

    Raises:
        ValueError: there is none, of a kind that can sign certificates; or the password is wrong.
        TypeError: it is encrypted and there is no password, or the other way round.
    """
    from cryptography.hazmat.primitives import serialization

    return check_key(serialization.load_pem_private_key(pem, password))


def check_key(key: PrivateKeyTypes) -> PrivateKey:
    """Return a key that can sign certificates here.

    Raises:
        ValueError: it is of another kind.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey):
        raise ValueError("the key is neither RSA nor of an elliptic curve")  # noqa: TRY004 - the file is wrong, not a type
    return key


def render_pkcs12(leaf: LeafPem) -> bytes:
    """Return key and chain as PKCS#12, in the old form that Java, macOS and Windows read of any age."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

    certificate, *chain = x509.load_pem_x509_certificates(leaf.fullchain)
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(2048)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA1())  # noqa: S303 - see above; the password is public
        .build(PKCS12_PASSWORD)
    )
    name = leaf.names[0].encode()
    return pkcs12.serialize_key_and_certificates(name, load_key(leaf.key), certificate, chain, encryption)


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    return x509.IPAddress(ip_address(name)) if is_address(name) else x509.DNSName(name)


def _authority(  # noqa: PLR0913 - what tells a root from an issuer, each by name
    name: x509.Name,
    key: EllipticCurvePublicKey,
    names: Sequence[str],
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
        .add_extension(_constraints(names), critical=True)
    )


def _certificate(name: x509.Name, key: PublicKey, *, now: datetime, until: datetime) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .not_valid_before(_whole(now) - BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _constraints(permitted: Sequence[str]) -> x509.NameConstraints:
    """Without a leading dot: OpenSSL and the browsers leave the name itself out of ".love.cat"."""
    from cryptography import x509

    domains = [name for name in permitted if not is_address(name)] or [NOBODY]
    networks = [*LOOPBACK, *(name for name in permitted if is_address(name))]
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in domains]
    addresses: list[x509.GeneralName] = [x509.IPAddress(ip_network(network)) for network in networks]
    return x509.NameConstraints(permitted_subtrees=names + addresses, excluded_subtrees=None)


def _key_usage(*, signs_certificates: bool, enciphers: bool = False) -> x509.KeyUsage:
    """An authority signs certificates and nothing else; a leaf signs handshakes, one of RSA also takes a key."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=enciphers,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    from cryptography import x509

    try:
        identifier = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:  # an old authority of a team
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())  # type: ignore[arg-type] # it has signed
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


def _new_rsa_key() -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, RSA_BITS)


def _digest(key: PublicKey) -> str:
    """SHA-256 of a SubjectPublicKeyInfo, base64."""
    from cryptography.hazmat.primitives import serialization

    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def _key_pem(key: PrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
