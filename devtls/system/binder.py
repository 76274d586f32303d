"""Sockets handed from one process to another: `python binder.py SOCKET ADDRESS:PORT…` binds, and passes them on.

Root never runs this: root gives its user the one capability, CAP_NET_BIND_SERVICE, and becomes that user first.
"""

from __future__ import annotations

import selectors
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # started by path, isolated (-I): the package is where this file is
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from devtls.errors import DevtlsError
from devtls.model import Endpoint
from devtls.system import channel, ports

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(words: Sequence[str]) -> int:
    """Bind the endpoints and pass what was had, and what was refused, to who listens on the Unix socket."""
    path, *texts = words
    binding = ports.bind([parse_endpoint(text) for text in texts])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        if not channel.is_friend(connection):
            return 1
        message: channel.Message = {
            "refused": [[each.endpoint.host, each.endpoint.port, each.reason] for each in binding.refused]
        }
        channel.send_with_descriptors(connection, message, [each.fileno() for each in binding.sockets])
    return 0


def receive(server: socket.socket, patience: float = 10.0) -> ports.Binding:
    """Accept one binder on a listening Unix socket and take its sockets.

    Raises:
        DevtlsError: none came within `patience` seconds, or it was another user's.
    """
    connection = _accept(server, patience)
    with channel.Client(connection) as client:
        connection.settimeout(patience)
        if not channel.is_friend(connection):
            raise DevtlsError("another user tried to pass sockets to devtls; they were not taken")
        try:
            received = client.receive()
        except TimeoutError:
            received = None
    if not received:
        raise DevtlsError("the program that binds the ports ended before it passed them on")
    message, descriptors = received
    refused = [ports.Refusal(Endpoint(host, port), ports.Reason(why)) for host, port, why in message["refused"]]
    sockets = tuple(socket.socket(fileno=each) for each in descriptors)
    return ports.Binding(sockets, tuple(refused))


def parse_endpoint(text: str) -> Endpoint:
    """Return the endpoint written as 127.0.0.1:443 or [::1]:443."""
    host, _, port = text.rpartition(":")
    return Endpoint(host.strip("[]"), int(port))


def _accept(server: socket.socket, patience: float) -> socket.socket:
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        if not selector.select(patience):
            raise DevtlsError("no sockets were passed on in time")
    connection, _address = server.accept()
    return connection


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
