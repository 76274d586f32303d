"""openSUSE and SLE: p11-kit's anchors, and a program of Debian's name that runs hooks, one for each bundle, Java's too.

A hook does nothing where its file looks newer than its sources; `--fresh` has it write all the same.
https://github.com/openSUSE/ca-certificates. Not yet run.
"""

from __future__ import annotations

from devtls.system.root_script import Anchors
from devtls.trust.system import Family

SUSE = Family(
    Anchors(
        directory="/etc/pki/trust/anchors",
        suffix=".pem",
        bundle="/var/lib/ca-certificates/ca-bundle.pem",
        after_adding="update-ca-certificates --fresh",
        after_removing="update-ca-certificates --fresh",
    ),
    tool="update-ca-certificates",
    directory="/etc/pki/trust",
    sign="/etc/zypp",
    remedy="sudo zypper install ca-certificates",
)
