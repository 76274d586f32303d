from __future__ import annotations

from devtls.system.root import InstallRoot, RemoveRoot, render_call
from devtls.trust.debian import DEBIAN


def test_links_to_a_removed_root_go_and_java_is_told() -> None:
    anchors = DEBIAN.anchors
    operations = (InstallRoot("devtls-1a2b3c4d", b"PEM", anchors), RemoveRoot("devtls-1a2b3c4d", anchors))
    add, remove = (render_call([each], uid=1000, gid=1000).text.splitlines()[0] for each in operations)
    file = "/usr/local/share/ca-certificates/devtls-1a2b3c4d.crt"
    assert add == f"trust devtls-1a2b3c4d: {file}, update-ca-certificates"
    assert remove == f"stop trusting devtls-1a2b3c4d: {file}, update-ca-certificates --fresh"
    script = render_call(operations, uid=1000, gid=1000).argv[2]
    assert "jks-keystore" in script
