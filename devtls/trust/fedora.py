"""Fedora, RHEL and their like: p11-kit's anchors, of which update-ca-trust makes every bundle, Java's too.

update-ca-trust(8). Not yet run.
"""

from __future__ import annotations

from devtls.system.root_script import Anchors
from devtls.trust.system import Family

FEDORA = Family(
    Anchors(
        directory="/etc/pki/ca-trust/source/anchors",
        suffix=".pem",
        bundle="/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        after_adding="update-ca-trust extract",
        after_removing="update-ca-trust extract",
    ),
    tool="update-ca-trust",
    directory="/etc/pki/ca-trust/source/anchors",
    sign="/etc/dnf",
    remedy="sudo dnf install ca-certificates",
)
