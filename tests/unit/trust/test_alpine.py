from __future__ import annotations

from devtls.system.root import InstallRoot, RemoveRoot, render_call
from devtls.trust.alpine import ALPINE


def test_alpines_command_is_called_without_options() -> None:
    anchors = ALPINE.anchors
    operations = (InstallRoot("devtls-1a2b3c4d", b"PEM", anchors), RemoveRoot("devtls-1a2b3c4d", anchors))
    add, remove = (render_call([each], uid=1000, gid=1000).text.splitlines()[0] for each in operations)
    file = "/usr/local/share/ca-certificates/devtls-1a2b3c4d.crt"
    assert add == f"trust devtls-1a2b3c4d: {file}, update-ca-certificates"
    assert remove == f"stop trusting devtls-1a2b3c4d: {file}, update-ca-certificates"
    script = render_call(operations, uid=1000, gid=1000).argv[2]
    assert "jks-keystore" not in script
