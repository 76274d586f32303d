"""What is asked of the running system, and the JSON in which questions and answers travel."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devtls.model import Check, Endpoint, Verdict

HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class Domain:
    """A host name that is served: the one root that may vouch for it, and the serial that must be shown."""

    name: str
    root: Path
    serial: int


@dataclass(frozen=True, slots=True)
class Question:
    """Do these domains work for a browser?

    Attributes:
        domains: what is served through nginx.
        port: where nginx listens with TLS.
        service: where the app itself listens; None when nothing can be asked directly.
        websocket_path: named by the user; None means: find it.
        seen_paths: request paths of WebSocket handshakes in the access log, the newest first.
        site: the nginx file that serves the domains; only read, for evidence.
        address: where nginx is asked when a name does not lead to this machine.
        timeout: seconds for one probe.
    """

    domains: tuple[Domain, ...]
    port: int = HTTPS_PORT
    service: Endpoint | None = None
    websocket_path: str | None = None
    seen_paths: tuple[str, ...] = ()
    site: Path | None = None
    address: str = "127.0.0.1"
    timeout: float = 10.0

    def authority(self, domain: Domain) -> str:
        """What a browser writes into `Host`: the port is left out when it is 443."""
        return domain.name if self.port == HTTPS_PORT else f"{domain.name}:{self.port}"


def encode_question(question: Question) -> str:
    """One line of JSON."""
    return json.dumps(asdict(question), default=str, separators=(",", ":"))


def decode_question(line: str | bytes) -> Question:
    """The other way round.

    Raises:
        ValueError: it is not a question; so do KeyError and TypeError tell, for a part that is missing or odd.
    """
    parts: dict[str, Any] = json.loads(line)
    service, site = parts.get("service"), parts.get("site")
    return Question(
        domains=tuple(Domain(part["name"], Path(part["root"]), int(part["serial"])) for part in parts["domains"]),
        port=int(parts.get("port", HTTPS_PORT)),
        service=Endpoint(service["host"], int(service["port"])) if service else None,
        websocket_path=parts.get("websocket_path"),
        seen_paths=tuple(parts.get("seen_paths", ())),
        site=Path(site) if site else None,
        address=parts.get("address", "127.0.0.1"),
        timeout=float(parts.get("timeout", 10.0)),
    )


def encode_checks(checks: tuple[Check, ...], *, is_final: bool = True) -> str:
    """One line of JSON: {"checks": [...], "final": bool}; what is not final is green so far."""
    return json.dumps({"checks": [asdict(check) for check in checks], "final": is_final}, separators=(",", ":"))


def is_final(line: str | bytes) -> bool:
    """Whether no other line follows for the same question."""
    return bool(json.loads(line).get("final", True))


def decode_checks(line: str | bytes) -> tuple[Check, ...]:
    """The other way round; raises as `decode_question` does."""
    return tuple(
        Check(
            subject=part["subject"],
            verdict=Verdict(part["verdict"]),
            fact=part["fact"],
            layer=part["layer"],
            code=part["code"],
            cure=tuple(part["cure"]),
            evidence=tuple(part["evidence"]),
        )
        for part in json.loads(line)["checks"]
    )
