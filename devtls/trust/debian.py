"""Debian, Ubuntu, and all that use Debian's ca-certificates (Gentoo, Void)."""

from __future__ import annotations

from devtls.system.root_script import Anchors
from devtls.trust.system import Family

DEBIAN = Family(
    Anchors(
        directory="/usr/local/share/ca-certificates",
        suffix=".crt",
        bundle="/etc/ssl/certs/ca-certificates.crt",
        after_adding="update-ca-certificates",
        after_removing="update-ca-certificates --fresh",  # without it links to what is gone are left
        links="/etc/ssl/certs",
        java_hook="/etc/ca-certificates/update.d/jks-keystore",
    ),
    tool="update-ca-certificates",
    directory="/usr/local/share",
    sign="/etc/debian_version",
    remedy="sudo apt install ca-certificates",
)
