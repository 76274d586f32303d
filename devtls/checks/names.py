"""Where a name leads, as programs on this machine see it."""

from __future__ import annotations

import socket
import threading
from typing import Final

from devtls.model import Check, Verdict

PATIENCE: Final = 2.0  # seconds; a resolver without a network takes 10 s and more to give up


def look_up(host: str, patience: float = PATIENCE) -> tuple[str, ...]:
    """Return the addresses of a host, in the order programs try them; none when it is unknown or unanswered."""
    found: list[str] = []

    def ask() -> None:
        try:
            # As bytes: a str would import the IDNA codec, and our names are ASCII already.
            answers = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(dict.fromkeys(str(address[0]) for *_, address in answers))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    return tuple(found)


def is_loopback(address: str) -> bool:
    """Whether this address, as getaddrinfo writes it, is this machine."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def addresses_to_ask(addresses: tuple[str, ...], fallback: str) -> tuple[str, ...]:
    """Where nginx is asked: where the name leads, when that is this machine."""
    return addresses if addresses and all(map(is_loopback, addresses)) else (fallback,)


def judge_name(host: str, addresses: tuple[str, ...]) -> Check:
    """Say whether a browser on this machine comes here by this name; pure."""
    local = [address for address in addresses if is_loopback(address)]
    if addresses and len(local) == len(addresses):
        return Check(host, Verdict.PASSED, f"leads to {' and '.join(addresses)}")
    if host == "localhost" or host.endswith(".localhost"):
        # https://www.w3.org/TR/secure-contexts/#localhost: browsers answer this themselves and ask nobody
        return Check(host, Verdict.PASSED, "browsers know it; other programs need a line in /etc/hosts")
    if not addresses:
        code, fact = "name-unknown", "this name does not lead anywhere"
    else:
        strangers = [address for address in addresses if address not in local]
        code, fact = "name-elsewhere", f"this name leads to {', '.join(strangers)}, not only to this machine"
    return Check(host, Verdict.FAILED, fact, "hosts", code, _cure(host, code))


def _cure(host: str, code: str) -> tuple[str, ...]:
    first = () if code == "name-unknown" else (f"If /etc/hosts has another line for {host}, take it out.",)
    return (
        *first,
        "Let devtls add the line to /etc/hosts (it asks for your password), in a terminal:",
        f"  devtls up {host}",
        "or add it yourself:",
        f"  echo '127.0.0.1 {host}' | sudo tee -a /etc/hosts",
    )
