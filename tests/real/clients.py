"""Every TLS client that can be installed here, asked inside a machine what it makes of a certificate."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    from tests.real.installation import Installed
    from tests.real.machine import Machine

NODE_MODULES = Path(__file__).parents[1] / "clients/node_modules"


def bring_clients(installed: Installed) -> None:
    """Put Bun and Deno, which Debian does not package, where all users can run them."""
    clients = installed.directory / "clients"
    if clients.is_dir():
        return
    clients.mkdir(mode=0o755)
    for name, pattern in {"bun": "bun/bin/bun.exe", "deno": "@deno/*/deno"}.items():
        found = list(NODE_MODULES.glob(pattern))
        if not found:
            pytest.fail(f"{name} is missing: cd tests/clients && npm ci")
        shutil.copy(found[0], clients / name)
        (clients / name).chmod(0o755)
    shutil.copy(Path(__file__).with_name("asking.py"), installed.directory)


def bring_grpc(installed: Installed) -> Path:
    """Put the gRPC package of Node where all users can read it; return the folder for NODE_PATH."""
    modules = installed.directory / "grpc"
    if not (NODE_MODULES / "@grpc").is_dir():
        pytest.fail("@grpc/grpc-js is missing: cd tests/clients && npm ci")
    if not modules.is_dir():
        programs = shutil.ignore_patterns("bun", "deno", "@oven", "@deno", ".bin")
        shutil.copytree(NODE_MODULES, modules, ignore=programs)
        subprocess.run(["chmod", "-R", "a+rX", str(modules)], check=True)
    return modules


def question(
    client: str, shown: list[dict[str, str]], environment: dict[str, str], profile: str = ""
) -> dict[str, Any]:
    """One client, what it is shown, and what is added to its environment."""
    return {"client": client, "profile": profile, "environment": environment, "shown": shown}


def ask(machine: Machine, questions: list[dict[str, Any]]) -> list[list[list[str]]]:
    """The answer, the alert and the words of each client for each certificate that it was shown."""
    driver = str(machine.installed.directory / "asking.py")
    path = f"{machine.installed.directory / 'clients'}:{machine.environment('dev')['PATH']}"
    python = str(machine.installed.devtls.with_name("python"))
    asked = machine.run([python, "-I", driver], stdin=json.dumps(questions), env={"PATH": path}, check=True)
    answers: list[list[list[str]]] = json.loads(asked.stdout)
    return answers


def sign(issuer_pem: str, name: str, days: int) -> dict[str, str]:
    """A leaf for any name, by hand, with a key and certificate in PEM."""
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


def make_stranger(name: str) -> tuple[str, str]:
    """An authority that devtls did not make, limited to nothing: its certificate, and key and certificate, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=99))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = made.public_bytes(pem)
    return certificate.decode(), (private + certificate).decode()
