from __future__ import annotations

from devtls.system.root import InstallRoot, RemoveRoot, render_call
from devtls.trust.suse import SUSE


def test_suse_writes_its_bundles_even_where_they_look_new() -> None:
    anchors = SUSE.anchors
    operations = (InstallRoot("devtls-1a2b3c4d", b"PEM", anchors), RemoveRoot("devtls-1a2b3c4d", anchors))
    add, remove = (render_call([each], uid=1000, gid=1000).text.splitlines()[0] for each in operations)
    file = "/etc/pki/trust/anchors/devtls-1a2b3c4d.pem"
    assert add == f"trust devtls-1a2b3c4d: {file}, update-ca-certificates --fresh"
    assert remove == f"stop trusting devtls-1a2b3c4d: {file}, update-ca-certificates --fresh"
    script = render_call(operations, uid=1000, gid=1000).argv[2]
    assert "jks-keystore" not in script
