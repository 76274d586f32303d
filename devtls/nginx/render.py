"""The gateway's whole configuration as text: what all sites share, and the servers for names that nobody serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.nginx.listen import listen_lines
from devtls.nginx.quoting import quote
from devtls.nginx.unknown import NAMES
from devtls.system.templates import fill

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from devtls.model import Leaf
    from devtls.nginx.listen import Listen


def render_gateway(  # noqa: PLR0913 - each is a part of the file
    listen: Listen,
    features: Collection[str],
    templates: Path,
    sites: Sequence[str] = (),
    *,
    leaf: Leaf,
    pages: Path,
    served: Collection[str] = (),
    user: str = "",
) -> str:
    """Return the gateway's whole configuration: one file, since the path of an included one may look like a pattern.

    Args:
        listen: the sockets it is handed.
        features: of the binary, as binary.PROBES names them.
        templates: the folder of templates.
        sites: what `render_site` made, one text a project.
        leaf: the certificate for localhost and for addresses, shown to whoever asks for a name that nobody serves.
        pages: the folder with what those are answered.
        served: the names of all sites.
        user: the user that workers run as when the master is root.
    """
    names = " ".join(name for name in NAMES if name not in served)
    certificate = (
        f"    ssl_certificate {quote(str(leaf.fullchain))};\n    ssl_certificate_key {quote(str(leaf.key))};\n"
    )
    servers = [
        fill(
            templates,
            "nginx/default.conf",
            default_listen=listen_lines(endpoints, features, tls=tls, default=True),
            listen=listen_lines(own, features, tls=tls),  # others may claim to ask by localhost
            names=names,
            certificate=certificate if tls else "",
            pages=quote(str(pages)),
        )
        for endpoints, own, tls in ((listen.https, listen.here.https, True), (listen.http, listen.here.http, False))
        if endpoints
    ]
    return fill(
        templates,
        "nginx/gateway.conf",
        user=f"user {user};\n" if user else "",
        types=fill(templates, "nginx/types.conf"),
        default_servers="\n".join(servers),
        sites="\n".join(sites),
    )
