from __future__ import annotations

from datetime import UTC, datetime

from devtls.ca.profile import make_authority
from devtls.trust.certificates import fingerprint, identity_of, parse_bundle, parse_pem


def test_a_root_is_told_by_its_owner_and_no_other() -> None:
    made = make_authority(["love.cat"], owner="me@here", now=datetime.now(UTC))
    der = parse_pem(made.root)
    assert fingerprint(der) == made.fingerprint
    assert identity_of(der, "me@here") == made.id
    assert identity_of(der, "me@her") == ""
    assert identity_of(der, "you@here") == ""


def test_what_is_no_certificate_is_nothing() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"
    assert [parse_pem(each) for each in (b"", b"hello", broken)] == [b"", b"", b""]


def test_a_bundle_is_read_past_its_comments() -> None:
    made = make_authority(["love.cat"], owner="me@here", now=datetime.now(UTC))
    assert parse_bundle(b"# one\n" + made.root + b"\n# two\n" + made.root) == (parse_pem(made.root),) * 2
