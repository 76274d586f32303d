"""Every TLS client, and what our authorities may and may not vouch for, with a thief's use of the key on the disk."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from devtls.trust.clients import CLIENTS
from tests.real.browsers import firefox
from tests.real.love_cat import devtls
from tests.real.machine import Machine
from tests.real.test_browsers import authority_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.installation import Installed

NODE_MODULES = Path(__file__).parents[1] / "clients/node_modules"
NAMES = tuple(client.name for client in CLIENTS if client.name != "PHP")
OWN_ROOTS = {"Node": "NODE_EXTRA_CA_CERTS", "Bun": "NODE_EXTRA_CA_CERTS", "Deno": "DENO_CERT"}

# What is asked: the name that is asked for, the one in the certificate, and the days until it ends.
CASES = {
    "love.cat": ("love.cat", "love.cat", 30),
    "*.love.cat": ("shop.love.cat", "*.love.cat", 30),
    "an address": ("127.0.0.1", "127.0.0.1", 30),
    "example.com": ("example.com", "example.com", 30),
    "wrong host": ("shop.love.cat", "love.cat", 30),
    "expired": ("love.cat", "love.cat", -1),
}
ACCEPTED = {"love.cat", "*.love.cat", "an address"}

Answers = dict[str, dict[str, list[str]]]


def sign(issuer_pem: str, name: str, days: int) -> dict[str, str]:
    """A leaf for any name, by hand, with the key that is on the disk."""
    key = serialization.load_pem_private_key(issuer_pem.encode(), None)
    issuer = x509.load_pem_x509_certificates(issuer_pem.encode())[0]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    own = ec.generate_private_key(ec.SECP256R1())
    san: x509.GeneralName = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    now = dt.datetime.now(dt.UTC)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "a thief")]))
        .issuer_name(issuer.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([san]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain = leaf.public_bytes(pem) + issuer.public_bytes(pem)
    return {"chain": chain.decode(), "key": private.decode()}


@pytest.fixture(scope="module")
def trusting(installed: Installed) -> Iterator[Machine]:
    """A machine whose user had a Firefox profile and has typed `devtls trust love.cat`, with Bun and Deno."""
    clients = installed.directory / "clients"
    clients.mkdir(mode=0o755)
    for name, pattern in {"bun": "bun/bin/bun.exe", "deno": "@deno/*/deno"}.items():
        found = list(NODE_MODULES.glob(pattern))
        assert found, f"{name} is missing: cd tests/clients && npm ci"
        shutil.copy(found[0], clients / name)
        (clients / name).chmod(0o755)
    with Machine(installed, "free") as machine:
        assert firefox(machine, "about:blank").error == ""
        trusted = devtls(machine, "/home/dev", "trust", "love.cat")
        assert trusted.status == 0, trusted.output
        yield machine


def ask(machine: Machine, names: tuple[str, ...], profile: str, *, told_root: bool = True) -> Answers:
    """What each client answers to each case."""
    place = authority_for(machine, "love.cat")
    issuer = machine.read(f"{place}/issuer.pem")
    shown = [{"host": host, **sign(issuer, name, days)} for host, name, days in CASES.values()]
    questions = [
        {
            "client": name,
            "profile": profile if name == "Firefox" else "",
            "environment": {OWN_ROOTS[name]: f"{place}/root.pem"} if told_root and name in OWN_ROOTS else {},
            "shown": shown,
        }
        for name in names
    ]
    driver = str(machine.installed.directory / "asking.py")
    shutil.copy(Path(__file__).with_name("asking.py"), driver)
    path = f"{machine.installed.directory / 'clients'}:{machine.environment('dev')['PATH']}"
    python = str(machine.installed.devtls.with_name("python"))
    asked: dict[str, Any] = {"stdin": json.dumps(questions), "env": {"PATH": path}, "check": True}
    answers = json.loads(machine.run([python, "-I", driver], **asked).stdout)
    return {name: dict(zip(CASES, each, strict=True)) for name, each in zip(names, answers, strict=True)}


@pytest.fixture(scope="module")
def profile(trusting: Machine) -> str:
    """The Firefox profile that was there before the trust."""
    found = trusting.run(["find", "/home/dev", "-path", "*.default-esr/cert9.db"], check=True).stdout.split()
    assert len(found) == 1, found
    return found[0].removesuffix("/cert9.db")


@pytest.fixture(scope="module")
def answers(trusting: Machine, profile: str) -> Answers:
    return ask(trusting, NAMES, profile)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_it_accepts_what_the_authority_is_for_and_nothing_else(answers: Answers, name: str, case: str) -> None:
    accepts = case in ACCEPTED and (name, case) != ("Bun", "an address")  # BoringSSL knows no limits for addresses
    assert answers[name][case][0] == ("ACCEPTED" if accepts else "REFUSED"), answers[name]
