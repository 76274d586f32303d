"""A TLS connection as a browser makes it, trusting one root only, and what is at fault when it fails."""

from __future__ import annotations

import ssl  # noqa: TID253 - this module is imported inside functions, by the prober alone
from typing import TYPE_CHECKING

from msgspec import Struct

from devtls.checks.observation import Fault, ProbeError
from devtls.checks.wire import SHORTEST_WAIT, Deadline, Secure, gateway_fault, open_tcp

if TYPE_CHECKING:
    import socket

    from devtls.checks.question import Domain

# Numbers of x509_vfy.h: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
NOT_YET_VALID, EXPIRED, NAME_NOT_PERMITTED, HOST_MISMATCH = 9, 10, 47, 62
MOMENT = 3.0  # seconds for the second look at a certificate that was refused


class Served(Struct, frozen=True):
    """A certificate as it was shown, by whoever showed it."""

    serial: int
    subject: str
    issuer: str
    not_after: str


def open_tls(way: Secure, deadline: Deadline) -> ssl.SSLSocket:
    """Connect, verify the certificate and its serial, and offer HTTP/1.1 only, as browsers do for a WebSocket.

    Raises:
        ProbeError: with the fault.
    """
    context = _trust(way.domain)
    try:
        secured = _shake_hands(way, deadline, context)
    except ssl.SSLCertVerificationError as error:
        raise ProbeError(judge_certificate(way.domain, error, _look_at(way))) from error
    except (OSError, EOFError) as error:
        raise ProbeError(judge_handshake(way, error)) from error
    found = secured.getpeercert() or {}
    serial = int(str(found.get("serialNumber", "0")), 16)
    if serial != way.domain.serial:
        secured.close()
        raise ProbeError(_stale(way.domain, serial))
    return secured


def last_day(secured: socket.socket) -> str:
    """The last day of the certificate that a server showed, "2026-12-22"; nothing without TLS."""
    if not isinstance(secured, ssl.SSLSocket):
        return ""
    import time

    not_after = str((secured.getpeercert() or {})["notAfter"])
    return time.strftime("%Y-%m-%d", time.gmtime(ssl.cert_time_to_seconds(not_after)))


def judge_handshake(way: Secure, error: Exception) -> Fault:
    """Name what is at fault when TLS did not come about; pure."""
    place, name = str(way.endpoints[-1]), way.domain.name
    reason = getattr(error, "reason", None) or ""
    if "UNRECOGNIZED_NAME" in reason:
        again = ("Start this project again:", f"  devtls up {name}")
        return Fault("gateway", "domain-not-served", f"what listens on {place} does not serve {name}", again)
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}:
        return Fault(
            "gateway", "port-hijacked", f"{place} answers, but not with TLS", _find_owner(way.endpoints[-1].port)
        )
    if isinstance(error, TimeoutError):
        return Fault(
            "gateway",
            "tls-silent",
            f"{place} accepts, but does not answer with TLS",
            _find_owner(way.endpoints[-1].port),
        )
    said = reason.replace("_", " ").lower() or getattr(error, "strerror", None) or str(error) or "closed"
    return Fault(
        "gateway", "tls-refused", f"{place} broke off the TLS handshake: {said}", _find_owner(way.endpoints[-1].port)
    )


def judge_certificate(domain: Domain, error: ssl.SSLCertVerificationError, served: Served | None) -> Fault:
    """Name what is at fault with a certificate that does not verify; pure."""
    evidence = (
        () if served is None else (f"served: {served.subject}, issued by {served.issuer}, until {served.not_after}",)
    )
    renew = ("Start this project again; a new certificate is made when one is needed:", f"  devtls up {domain.name}")
    if served is not None and served.serial != domain.serial and "devtls" not in served.issuer:
        fact = f"another server answers with its own certificate ({served.subject})"
        return Fault("gateway", "port-hijacked", fact, _find_owner(None), evidence)
    if error.verify_code == EXPIRED:
        until = f" on {served.not_after}" if served else ""
        return Fault("certificate", "certificate-expired", f"the certificate expired{until}", renew, evidence)
    if error.verify_code == NOT_YET_VALID:
        clock = ("Set this machine's clock; then look:", "  date")
        return Fault("certificate", "certificate-not-yet-valid", "the certificate is not valid yet", clock, evidence)
    if error.verify_code in {HOST_MISMATCH, NAME_NOT_PERMITTED}:
        return Fault(
            "certificate", "certificate-wrong-host", f"the certificate is not for {domain.name}", renew, evidence
        )
    fact = f"the certificate does not lead to {domain.root}: {error.verify_message}"
    return Fault("certificate", "certificate-untrusted", fact, renew, evidence)


def _trust(domain: Domain) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(domain.root)
    except (OSError, ssl.SSLError) as error:
        fact = f"cannot read the root {domain.root}: {error.strerror or error}"
        cure = ("Start this project again:", f"  devtls up {domain.name}")
        raise ProbeError(Fault("certificate", "root-unreadable", fact, cure)) from error
    return context


def _shake_hands(way: Secure, deadline: Deadline, context: ssl.SSLContext) -> ssl.SSLSocket:
    connection = open_tcp(way.endpoints, deadline, gateway_fault)
    connection.settimeout(max(SHORTEST_WAIT, deadline.left))
    try:
        return context.wrap_socket(connection, server_hostname=way.domain.name)
    except BaseException:
        connection.close()
        raise


def _look_at(way: Secure) -> Served | None:
    """Ask again without verifying, only to tell what is served there."""
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _shake_hands(way, Deadline(MOMENT), context) as secured:
            found = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError, ProbeError):
        return None
    subject, issuer = (name.rfc4514_string() or "no name" for name in (found.subject, found.issuer))
    return Served(found.serial_number, subject, issuer, f"{found.not_valid_after_utc:%Y-%m-%d}")


def _stale(domain: Domain, serial: int) -> Fault:
    return Fault(
        "gateway",
        "certificate-stale",
        "an older certificate of the same CA is served",
        ("Start the gateway anew:", "  devtls down", f"  devtls up {domain.name}"),
        (f"served serial {serial:x}, expected {domain.serial:x}",),
    )


def _find_owner(port: int | None) -> tuple[str, ...]:
    ports = f"port {port}" if port else "the port"
    pattern = f"sport = :{port}" if port else "sport = :443"
    return (
        f"Something else answers on {ports} (k3s, Docker, a VPN often redirect it). Find it:",
        f"  sudo ss -ltnp '{pattern}'",
        "  sudo iptables -t nat -S",
        "Or serve on another port:",
        "  devtls up --https-port 8443",
    )
