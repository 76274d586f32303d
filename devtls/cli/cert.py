"""devtls cert."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from devtls import report
from devtls.cli.output import is_interactive, say, say_json, style_of
from devtls.errors import DevtlsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtls.ca.exported import Files
    from devtls.ca.profile import LeafPem
    from devtls.model import Authority, Notice
    from devtls.system.paths import Paths


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--out", type=click.Path(path_type=Path), default=".", help="The folder to write to. [default: this one]")
@click.option("--client", "is_client", is_flag=True, help="Also for authenticating a client.")
@click.option("--p12", "as_pkcs12", is_flag=True, help="One PKCS#12 file, password changeit, instead of two PEM files.")
@click.option("--rsa", "is_rsa", is_flag=True, help="An RSA key, for programs that know no other.")
@click.option("--ca", "team_ca", type=click.Path(path_type=Path), help="Sign with an authority of your own: its PEM.")
@click.option("--key", "team_key", type=click.Path(path_type=Path), help="The key of --ca.")
@click.option("--no-new-ca", is_flag=True, help="Fail rather than make a new certificate authority.")
@click.option("--json", "as_json", is_flag=True, help="Say what it came to as one JSON document.")
def cert(  # noqa: PLR0913, PLR0917 - one parameter an option
    names: tuple[str, ...],
    out: Path,
    is_client: bool,
    as_pkcs12: bool,
    is_rsa: bool,
    team_ca: Path | None,
    team_key: Path | None,
    no_new_ca: bool,
    as_json: bool,
) -> None:
    """Write a certificate and its key for servers that devtls does not run: host names, *.wildcards, addresses.

    It is signed by the authority that can sign these names and no other; one is made when there is none. No trust store
    is touched: `devtls trust` does that.
    """
    from devtls.ca import exported, profile
    from devtls.config.domains import parse_certificate_names, wildcard_notice
    from devtls.system.paths import find_paths

    if (team_ca is None) != (team_key is None):
        raise UsageError("--ca and --key belong together", "Give the certificate and the key of your authority.")
    paths, now = find_paths(os.environ), datetime.now(UTC)
    damaged = _set_damaged_aside(paths, now)
    known = _load_known(paths)
    wanted = parse_certificate_names(names, lambda domain: any(ca.covers(domain) for ca in known))
    files = exported.name_files(out, wanted, is_client=is_client, as_pkcs12=as_pkcs12)
    if not out.is_dir():
        raise UsageError(f"there is no folder {out}", "Make it first:", f"  mkdir -p {out}")
    exported.refuse_foreign(files)
    notices = [*damaged, *(notice for name in wanted if (notice := wildcard_notice(name)))]
    authority = None
    if team_ca and team_key:
        issuer = _read_team(team_ca, team_key, wanted, now)
    else:
        authority, told = _find_or_make(wanted, known, paths, now, may_create=not no_new_ca)
        issuer = _read_issuer(authority, now)
        notices += told
    days = profile.EXPORTED_DAYS
    leaf = profile.issue_leaf(issuer, *wanted, now=now, days=days, is_client=is_client, is_rsa=is_rsa)
    exported.write_files(files, leaf)
    if authority and not _is_trusted(authority, paths):
        notices.append(("no store of this machine trusts its authority yet", ("Have them trust it:", "  devtls trust")))
    if as_json:
        say_json(_facts(leaf, files, authority, notices))
    else:
        _tell(leaf, files, notices)


def _set_damaged_aside(paths: Paths, now: datetime) -> list[Notice]:
    from devtls.ca.store import find_broken, set_aside

    broken = [(directory, set_aside(directory, now)) for directory in find_broken(paths)]
    return [(f"the authority in {directory} is damaged; it is in {aside} now", ()) for directory, aside in broken]


def _load_known(paths: Paths) -> tuple[Authority, ...]:
    from devtls.ca.store import load_authorities

    return load_authorities(paths)


def _find_or_make(
    names: Sequence[str], known: Sequence[Authority], paths: Paths, now: datetime, *, may_create: bool
) -> tuple[Authority, list[Notice]]:
    """The authority that signs for all the names, and what is to be told when it is new."""
    from devtls.ca.store import create_authority, find_common_authority
    from devtls.config.domains import authority_names, real_domain_notice

    authority = find_common_authority(known, names, now)
    if authority:
        return authority, []
    wanted = authority_names(names)
    if not may_create:
        there = [f"  {', '.join(ca.names)}" for ca in known] or ["  none"]
        raise DevtlsError(
            f"{', '.join(wanted)} needs a new certificate authority, and --no-new-ca forbids one",
            "Leave --no-new-ca out, or take names that one of these covers:",
            *there,
        )
    made = create_authority(paths, wanted, now)
    fact = f"a new certificate authority was made: it can sign {', '.join(wanted)}, names below, and nothing else"
    real = (real_domain_notice(domain) for domain in made.subtrees)
    return made, [(fact, ()), *(notice for notice in real if notice)]


def _read_issuer(authority: Authority, now: datetime) -> bytes:
    from devtls.ca.profile import load_key
    from devtls.ca.store import broken_issuer, read_issuer

    pem = read_issuer(authority)
    try:
        load_key(pem)
    except (ValueError, TypeError) as error:
        raise broken_issuer(authority, now) from error
    return pem


def _read_team(certificate: Path, key: Path, names: Sequence[str], now: datetime) -> bytes:
    from devtls.ca.team import read_team_issuer

    def ask() -> str:
        password: str = click.prompt(f"Password of {key}", hide_input=True, err=True)
        return password

    return read_team_issuer(certificate, key, names, now, ask if is_interactive() else None)


def _is_trusted(authority: Authority, paths: Paths) -> bool:
    """Whether some store was seen to trust it, by the receipts; `devtls doctor` looks."""
    from devtls.trust.receipts import load_receipts

    return any(each.done and each.fingerprint == authority.fingerprint for each in load_receipts(paths))


def _tell(leaf: LeafPem, files: Files, notices: Sequence[Notice]) -> None:
    style = style_of(sys.stdout)
    until = f"valid until {leaf.not_after:%Y-%m-%d}"
    lines = [f"{style.good('✓')} {', '.join(leaf.names)}"]
    if files.pkcs12:
        lines.append(f"    {files.pkcs12}  certificate and key, {until}, password changeit")
    else:
        width = max(len(str(path)) for path in files.paths)
        lines.append(f"    {str(files.certificate).ljust(width)}  certificate, {until}")
        lines.append(f"    {str(files.key).ljust(width)}  key, readable by you alone")
    say([*lines, *report.render_notices(notices, style)])


def _facts(leaf: LeafPem, files: Files, authority: Authority | None, notices: Sequence[Notice]) -> dict[str, Any]:
    places = {"certificate": files.certificate, "key": files.key, "p12": files.pkcs12}
    return {
        "schema": "devtls.cert/1",
        "names": list(leaf.names),
        **{name: str(path.absolute()) if path else None for name, path in places.items()},
        "serial": f"{leaf.serial:x}",
        "not_after": leaf.not_after.isoformat(),
        "authority": {"id": authority.id, "names": list(authority.names), "root": str(authority.root)}
        if authority
        else None,
        "notices": [{"fact": fact, "cure": list(cure)} for fact, cure in notices],
    }
