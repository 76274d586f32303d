from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devtls.ca.profile import AuthorityPem, LeafPem, issue_leaf, make_authority

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> AuthorityPem:
    return make_authority(("love.cat",), owner="ann@box", now=NOW)


def certificates(pem: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem)


def handshake(leaf: LeafPem, name: str, root: bytes, place: Path) -> str:
    """Shake hands over a socket pair; returns what the client says of the certificate."""
    (place / "chain.pem").write_bytes(leaf.fullchain)
    (place / "key.pem").write_bytes(leaf.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(place / "chain.pem", place / "key.pem")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # Python 3.13's default
    client.load_verify_locations(cadata=root.decode())
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(ours, server_hostname=name).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        thread.join()
    return "accepted"


def test_a_client_that_trusts_the_root_accepts_the_name(authority: AuthorityPem, tmp_path: Path) -> None:
    leaf = issue_leaf(authority.issuer, "chat.love.cat", now=NOW)
    assert handshake(leaf, "chat.love.cat", authority.root, tmp_path) == "accepted"


def test_a_client_refuses_a_foreign_name_signed_by_the_same_issuer(authority: AuthorityPem, tmp_path: Path) -> None:
    leaf = issue_leaf(authority.issuer, "example.com", now=NOW)
    assert handshake(leaf, "example.com", authority.root, tmp_path) == "permitted subtree violation"


def test_a_client_refuses_the_wrong_host_and_the_wrong_authority(authority: AuthorityPem, tmp_path: Path) -> None:
    leaf = issue_leaf(authority.issuer, "love.cat", now=NOW)
    other = make_authority(("love.cat",), owner="ann@box", now=NOW)
    assert "Hostname mismatch" in handshake(leaf, "www.love.cat", authority.root, tmp_path)
    assert "unable to get" in handshake(leaf, "love.cat", other.root, tmp_path)


def test_root_and_issuer_are_both_limited_to_the_domain_and_loopback(authority: AuthorityPem) -> None:
    issuer, root = certificates(authority.issuer)
    for certificate, length in ((root, 1), (issuer, 0)):
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints)
        assert constraints.critical
        permitted = constraints.value.permitted_subtrees or []
        assert [each.value for each in permitted] == ["love.cat", ip_network("127.0.0.0/8"), ip_network("::1/128")]
        assert constraints.value.excluded_subtrees is None
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, length)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)


def test_names_are_unique_and_identifiers_chain(authority: AuthorityPem) -> None:
    issuer, root = certificates(authority.issuer)
    assert root.subject == root.issuer == issuer.issuer
    assert root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == f"devtls ann@box {authority.id}"
    assert issuer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == f"devtls issuer {authority.id}"
    of_root = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    by_issuer = issuer.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert of_root == by_issuer
    issuer.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)


def test_the_only_key_that_survives_is_the_issuers(authority: AuthorityPem) -> None:
    assert authority.issuer.count(b"PRIVATE KEY-----\n") == 2
    assert b"PRIVATE" not in authority.root
    key = serialization.load_pem_private_key(authority.issuer, None)
    issuer, root = certificates(authority.issuer)
    assert key.public_key() == issuer.public_key() != root.public_key()
    assert authority.fingerprint == root.fingerprint(hashes.SHA256()).hex()


def test_a_leaf_has_one_dns_name_no_common_name_and_only_what_a_server_needs(authority: AuthorityPem) -> None:
    made = issue_leaf(authority.issuer, "love.cat", now=NOW)
    leaf, issuer = certificates(made.fullchain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert (names.critical, list(names.value)) == (False, [x509.DNSName("love.cat")])
    assert [each.oid for each in leaf.subject] == [NameOID.ORGANIZATION_NAME]
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.digital_signature, usage.value.key_encipherment) == (True, True, False)
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(purposes.value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, False)
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    assert leaf.serial_number == made.serial > 0
    leaf.verify_directly_issued_by(issuer)


def test_a_leaf_begins_an_hour_ago_and_lasts_thirty_days(authority: AuthorityPem) -> None:
    leaf = certificates(issue_leaf(authority.issuer, "love.cat", now=NOW).fullchain)[0]
    moment = NOW.replace(microsecond=0)
    assert leaf.not_valid_before_utc == moment - timedelta(hours=1)
    assert leaf.not_valid_after_utc == moment + timedelta(days=30)


def test_a_leaf_never_outlives_its_issuer(authority: AuthorityPem) -> None:
    made = issue_leaf(authority.issuer, "love.cat", now=authority.not_after - timedelta(days=3))
    assert made.not_after == authority.not_after == certificates(made.fullchain)[0].not_valid_after_utc


@pytest.mark.parametrize("owner", ["x" * 300, "jürgen@" + "ä" * 60])
def test_a_long_owner_is_shortened_to_what_a_common_name_may_hold(owner: str) -> None:
    made = make_authority(("test",), owner=owner, now=NOW)
    name = certificates(made.root)[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert isinstance(name, str)
    assert len(name.encode()) <= 64
    assert name.endswith(f" {made.id}")


def test_a_key_and_certificate_of_different_issuers_do_not_sign(authority: AuthorityPem) -> None:
    other = make_authority(("love.cat",), owner="ann@box", now=NOW)
    end = b"-----END PRIVATE KEY-----\n"
    mixed = authority.issuer.split(end)[0] + end + other.issuer.split(end)[1]
    with pytest.raises(ValueError, match="do not belong together"):
        issue_leaf(mixed, "love.cat", now=NOW)
