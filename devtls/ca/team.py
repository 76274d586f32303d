"""A certificate authority that devtls did not make: read from the user's files, checked, and never kept."""

from __future__ import annotations

import shlex
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from devtls.ca.profile import check_key
from devtls.ca.records import refuse_readable_by_others
from devtls.errors import DevtlsError, UsageError
from devtls.model import is_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from devtls.ca.profile import PrivateKey


def read_team_issuer(
    certificate: Path, key: Path, names: Sequence[str], now: datetime, ask_password: Callable[[], str] | None
) -> bytes:
    """Return key and certificates as one PEM for `profile.issue_leaf`, once they may sign these names.

    Args:
        certificate: the authority's certificate, PEM; what is above it may follow.
        key: its private key, PEM.
        names: what is to be signed.
        now: aware, UTC.
        ask_password: asks a person for the key's password; None when there is nobody.

    Raises:
        UsageError: a file is not what it should be, or the authority may not sign a name.
        DevtlsError: a file cannot be read, or others can read the key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    pem = _read(certificate)
    try:
        issuer, *above = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise UsageError(f"{certificate} is not a certificate in PEM: {error}", *_look(certificate)) from error
    private = _read_key(key, ask_password)
    if private.public_key() != issuer.public_key():
        raise UsageError(f"{key} is not the key of {certificate}", "Give the two files that belong together.")
    for each in (issuer, *above):
        _refuse_unable(each, certificate, now)
    for name in names:
        if not all(may_sign(each, name) for each in (issuer, *above)):
            raise UsageError(f"{certificate} may not sign {name}: its name constraints forbid it", *_look(certificate))
    form = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()) + pem


def may_sign(issuer: x509.Certificate, name: str) -> bool:
    """Whether an authority's own name constraints allow a host name, wildcard or address (RFC 5280, 4.2.1.10)."""
    from cryptography import x509

    try:
        limits = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    kind = x509.IPAddress if is_address(name) else x509.DNSName
    permitted = [each for each in limits.permitted_subtrees or () if isinstance(each, kind)]
    excluded = [each for each in limits.excluded_subtrees or () if isinstance(each, kind)]
    if any(_is_within(name, each) for each in excluded):
        return False
    return not permitted or any(_is_within(name, each) for each in permitted)


def _is_within(name: str, tree: x509.GeneralName) -> bool:
    if is_address(name):
        return ip_address(name) in ip_network(str(tree.value))
    top = str(tree.value).lower().removeprefix(".")
    host = name.removeprefix("*.")
    return not top or host == top or host.endswith(f".{top}")


def _refuse_unable(issuer: x509.Certificate, path: Path, now: datetime) -> None:
    from cryptography import x509

    try:
        is_authority = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    try:
        may_sign_any = issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        may_sign_any = True
    if not (is_authority and may_sign_any):
        raise UsageError(f"{path} is not a certificate authority: it may not sign others", *_look(path))
    if not issuer.not_valid_before_utc <= now < issuer.not_valid_after_utc:
        begin, end = issuer.not_valid_before_utc, issuer.not_valid_after_utc
        raise UsageError(f"{path} is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, and not now", *_look(path))


def _read_key(path: Path, ask_password: Callable[[], str] | None) -> PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = _read(path)
    refuse_readable_by_others(path)
    password = None
    if b"ENCRYPTED" in pem:
        if ask_password is None:
            raise DevtlsError(
                f"{path} is encrypted, and there is no terminal to ask for its password on",
                "Run this in a terminal, or decrypt the key into a file of your own:",
                f"  (umask 077; openssl pkey -in {shlex.quote(str(path))} -out ca-key.pem)",
            )
        password = ask_password().encode()
    try:
        private = load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if password is not None:
            raise DevtlsError(f"{path} cannot be decrypted with that password", "Try again.") from error
        raise UsageError(f"{path} is not a private key in PEM: {error}", "Give an RSA or EC key.") from error
    try:
        return check_key(private)
    except ValueError as error:
        raise UsageError(f"{path} cannot sign here: {error}", "Give an RSA or EC key.") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DevtlsError(f"{path} cannot be read: {error.strerror}", "Check the path and its permissions.") from error


def _look(path: Path) -> tuple[str, ...]:
    return ("See what it is:", f"  openssl x509 -noout -text -in {shlex.quote(str(path))}")
