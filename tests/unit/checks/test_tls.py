from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from devtls.checks.question import Domain
from devtls.checks.tls import Served, judge_certificate, judge_handshake
from devtls.checks.wire import Secure
from devtls.model import Endpoint

DOMAIN = Domain("love.cat", Path("/root.pem"), 7)
WAY = Secure((Endpoint("127.0.0.1", 443),), DOMAIN)
OURS = Served(7, "CN=love.cat", "CN=devtls-1a2b3c4d issuer", "2026-12-22")
OLDER = Served(6, "CN=love.cat", "CN=devtls-1a2b3c4d issuer", "2026-01-01")
STRANGE = Served(5, "CN=TRAEFIK DEFAULT CERT", "CN=TRAEFIK DEFAULT CERT", "2027-01-01")


def refused(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "said openssl"
    return error


@pytest.mark.parametrize(
    ("verify_code", "served", "layer", "code"),
    [
        (10, OURS, "certificate", "certificate-expired"),
        (10, OLDER, "certificate", "certificate-expired"),
        (10, STRANGE, "gateway", "port-hijacked"),
        (9, OURS, "certificate", "certificate-not-yet-valid"),
        (62, OURS, "certificate", "certificate-wrong-host"),
        (47, OURS, "certificate", "certificate-wrong-host"),
        (20, OURS, "certificate", "certificate-untrusted"),
        (20, None, "certificate", "certificate-untrusted"),
        (20, STRANGE, "gateway", "port-hijacked"),
    ],
)
def test_a_certificate_that_does_not_verify_is_explained(
    verify_code: int, served: Served | None, layer: str, code: str
) -> None:
    fault = judge_certificate(DOMAIN, refused(verify_code), served)
    assert (fault.layer, fault.code) == (layer, code)
    assert fault.cure


def broken(reason: str) -> ssl.SSLError:
    error = ssl.SSLError()
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (broken("TLSV1_UNRECOGNIZED_NAME"), "domain-not-served"),
        (broken("WRONG_VERSION_NUMBER"), "port-hijacked"),
        (broken("TLSV1_ALERT_INTERNAL_ERROR"), "tls-refused"),
        (TimeoutError(), "tls-silent"),
        (ConnectionResetError(104, "Connection reset by peer"), "tls-refused"),
    ],
)
def test_a_handshake_that_fails_is_explained(error: Exception, code: str) -> None:
    fault = judge_handshake(WAY, error)
    assert (fault.layer, fault.code) == ("gateway", code)
    assert fault.cure
