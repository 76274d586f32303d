"""Arch and its like: p11-kit's anchors in another place, of which update-ca-trust makes every bundle, Java's too.

https://man.archlinux.org/man/update-ca-trust.8. Not yet run.
"""

from __future__ import annotations

from devtls.system.root_script import Anchors
from devtls.trust.system import Family

ARCH = Family(
    Anchors(
        directory="/etc/ca-certificates/trust-source/anchors",
        suffix=".crt",
        bundle="/etc/ca-certificates/extracted/tls-ca-bundle.pem",
        after_adding="update-ca-trust extract",
        after_removing="update-ca-trust extract",
    ),
    tool="update-ca-trust",
    directory="/etc/ca-certificates/trust-source",
    sign="/etc/pacman.d",
    remedy="sudo pacman -S ca-certificates",
)
