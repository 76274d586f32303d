"""When the browser is on another machine (SSH, Codespaces, WSL): what is to be done over there; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.model import HTTPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

UNPRIVILEGED_PORTS = 1024  # a tunnel can listen from here on without root
TUNNEL_PORT = 8443
TRUST = (
    "Trust it there, as an authority for web sites:",
    "  macOS: sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {file}",
    "  Windows: certutil -addstore -user Root {file}",
    "  Linux: in the browser's settings, Certificates, Authorities, Import",
)


def remote_hints(
    environment: Mapping[str, str], domains: Sequence[str], roots: Sequence[Path], port: int = HTTPS
) -> tuple[str, ...]:
    """Return the lines for the machine where the browser is; none when that is here.

    A line that begins with two spaces is to be typed or pasted there.
    """
    if not domains:
        return ()
    if environment.get("CODESPACES") == "true" and (name := environment.get("CODESPACE_NAME")):
        return _codespace(name, domains, roots, port)
    if (connection := environment.get("SSH_CONNECTION", "").split()) and not _is_local(connection[0]):
        return _ssh(environment, connection, domains, roots, port)
    if distribution := environment.get("WSL_DISTRO_NAME"):
        return _wsl(distribution, domains, roots)
    return ()


def _is_local(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _ssh(
    environment: Mapping[str, str], connection: list[str], domains: Sequence[str], roots: Sequence[Path], port: int
) -> tuple[str, ...]:
    user = environment.get("USER") or environment.get("LOGNAME")
    server = connection[2] if len(connection) > 2 else "this-machine"  # noqa: PLR2004 - client, port, server, port
    place = f"{user}@{server}" if user else server
    copy_to = f"{user}@[{server}]" if user and ":" in server else place
    ssh_port = connection[3] if len(connection) > 3 else "22"  # noqa: PLR2004 - as above
    near = _near(port)
    of_ssh, of_scp = ("", "") if ssh_port == "22" else (f"-p {ssh_port} ", f"-P {ssh_port} ")
    return (
        "This is an SSH session; for a browser on the machine you sit at, do this there:",
        "Keep a tunnel open:",
        f"  ssh -N {of_ssh}-L {near}:127.0.0.1:{port} {place}",
        *_hosts(domains),
        *(f"  scp {of_scp}'{copy_to}:{root}' {_file(root)}" for root in roots),
        *_trust(roots),
        *_open(domains, near),
    )


def _codespace(name: str, domains: Sequence[str], roots: Sequence[Path], port: int) -> tuple[str, ...]:
    near = _near(port)
    return (
        "This is a codespace; for a browser on your own machine, do this there (with the GitHub CLI):",
        "Keep a tunnel open:",
        f"  gh codespace ports forward {port}:{near} --codespace {name}",
        *_hosts(domains),
        *(f"  gh codespace cp --codespace {name} --expand 'remote:{root}' {_file(root)}" for root in roots),
        *_trust(roots),
        *_open(domains, near),
    )


def _wsl(distribution: str, domains: Sequence[str], roots: Sequence[Path]) -> tuple[str, ...]:
    """WSL passes Windows' localhost on to its own, so that no tunnel is needed."""
    share = f"\\\\wsl.localhost\\{distribution}"
    windows_roots = [share + str(root).replace("/", "\\") for root in roots]
    return (
        "This is WSL; for a browser on Windows, do this in a PowerShell run as administrator:",
        f'  Add-Content C:\\Windows\\System32\\drivers\\etc\\hosts "`n127.0.0.1 {" ".join(domains)}"',
        *(f"  certutil -addstore -user Root '{root}'" for root in windows_roots),
    )


def _near(port: int) -> int:
    return port if port >= UNPRIVILEGED_PORTS else TUNNEL_PORT


def _hosts(domains: Sequence[str]) -> tuple[str, ...]:
    return ("Add to the hosts file:", f"  127.0.0.1 {' '.join(domains)}", "Fetch the root certificate:")


def _file(root: Path) -> str:
    """A name that tells the authorities apart: each root is called root.pem, in a directory of its own."""
    return f"devtls-{root.parent.name or 'root'}.pem"


def _trust(roots: Sequence[Path]) -> tuple[str, ...]:
    return tuple(line.format(file=_file(root)) for root in roots for line in TRUST)


def _open(domains: Sequence[str], near: int) -> tuple[str, ...]:
    port = "" if near == HTTPS else f":{near}"
    return ("Then open there:", f"  https://{domains[0]}{port}")
