"""What is told of listening sockets that could not be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.errors import ConflictError
from devtls.system import ports

if TYPE_CHECKING:
    from devtls.model import Endpoint, Notice
    from devtls.plan import BindPorts


def missing(binding: ports.Binding, wanted: BindPorts) -> list[Notice]:
    """Return what is told of what was not bound: without http there is a little less.

    Raises:
        ConflictError: without https there is nothing.
    """
    refused = {refusal.endpoint for refusal in binding.refused}
    if any(endpoint in refused for endpoint in wanted.https):
        raise ConflictError(f"port {wanted.https[0].port} cannot be had any more", *_whose(wanted.https[0]))
    if any(endpoint in refused for endpoint in wanted.http):
        fact = f"port {wanted.http[0].port} cannot be had: http:// is not redirected, https:// works"
        return [(fact, _whose(wanted.http[0]))]
    return []


def _whose(endpoint: Endpoint) -> tuple[str, ...]:
    owner = ports.find_owner(endpoint)
    return (f"It is taken by {owner}.", *owner.cure(endpoint.port)) if owner else ("Run the same command again.",)
