"""Alpine: Debian's places and command, in another program, which takes dangling links out by itself.

Its Java hook (package java-cacerts) writes Java's keystore anew from the bundle. Not yet run.
"""

from __future__ import annotations

from devtls.system.root_script import Anchors
from devtls.trust.system import Family

ALPINE = Family(
    Anchors(
        directory="/usr/local/share/ca-certificates",
        suffix=".crt",
        bundle="/etc/ssl/certs/ca-certificates.crt",
        after_adding="update-ca-certificates",
        after_removing="update-ca-certificates",  # its options do nothing
    ),
    tool="update-ca-certificates",
    directory="/etc/apk",
    sign="/etc/apk",
    remedy="sudo apk add ca-certificates",
)
