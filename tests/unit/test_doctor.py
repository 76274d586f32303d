from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from devtls.doctor import examine, host_for, judge_client, judge_ports, judge_route
from devtls.model import Authority, Verdict
from devtls.system.low_ports import Kept, LowPorts
from devtls.system.name_route import Kept as KeptRoute
from devtls.system.name_route import NameRoute, Routed
from devtls.system.paths import Paths
from devtls.trust.clients import CLIENTS, FoundClient
from devtls.trust.handshakes import Told
from devtls.trust.listener import Answer

LOVE = Authority("1a2b3c4d", ("love.cat",), Path("/ca"), fingerprint="", not_after=datetime(2030, 1, 1, tzinfo=UTC))
LOCAL = Authority("5e6f7a8b", ("localhost", "test"), Path("/ca"), fingerprint="", not_after=LOVE.not_after)


def found(name: str) -> FoundClient:
    (client,) = (each for each in CLIENTS if each.name == name)
    return FoundClient(client, f"/usr/bin/{client.programs[0]}")


@pytest.mark.parametrize(
    ("name", "system_trusts", "verdict", "cure"),
    [
        ("curl", False, Verdict.FAILED, "devtls trust"),
        ("curl", True, Verdict.NOTED, "devtls exec"),  # one that was built to read another file
        ("Node", False, Verdict.NOTED, "devtls exec"),
        ("Java", True, Verdict.FAILED, "devtls trust"),
        ("Chromium", True, Verdict.FAILED, "devtls trust"),
    ],
)
def test_a_refusal_is_cured_by_what_the_client_reads(
    name: str, *, system_trusts: bool, verdict: Verdict, cure: str
) -> None:
    told = [(LOVE, Told("love.cat", Answer.REFUSED, "tlsv1 alert unknown ca")), (LOCAL, Told("x", Answer.ACCEPTED))]
    check = judge_client(found(name), told, system_trusts=system_trusts)
    assert (check.verdict, cure in "".join(check.cure)) == (verdict, True)
    assert "love.cat" in check.fact
    assert "localhost" not in check.fact
    assert check.evidence == ("it said: tlsv1 alert unknown ca",)


def test_a_client_that_cannot_be_asked_is_neither_fine_nor_broken() -> None:
    told = [(LOVE, Told("love.cat", Answer.SILENT, said="no Java runtime"))]
    check = judge_client(found("Java"), told, system_trusts=True)
    assert (check.verdict, check.fact) == (Verdict.UNKNOWN, "could not be asked: no Java runtime")


def test_a_client_that_accepts_is_told_with_the_names() -> None:
    told = [(LOVE, Told("love.cat", Answer.ACCEPTED)), (LOCAL, Told("devtls.test", Answer.ACCEPTED))]
    assert judge_client(found("Ruby"), told, system_trusts=True).fact == "trusts love.cat, localhost, test"


def test_the_local_authority_is_asked_about_by_a_name_that_no_browser_treats_apart() -> None:
    assert (host_for(LOVE), host_for(LOCAL)) == ("love.cat", "devtls.test")


@pytest.mark.parametrize(
    ("found", "verdict", "words"),
    [
        (LowPorts(1024), None, ""),
        (LowPorts(None), None, ""),
        (LowPorts(80, Kept(1000, 1024)), Verdict.PASSED, "by user 1000"),
        (LowPorts(0), Verdict.PASSED, "not of devtls"),
        (LowPorts(1024, Kept(1000, 1024)), Verdict.NOTED, "from 1024 up only"),
        (LowPorts(80, is_changed=True), Verdict.NOTED, "not as devtls wrote it"),
    ],
)
def test_who_may_listen_on_443_is_told_when_it_is_not_root_alone(
    found: LowPorts, verdict: Verdict | None, words: str
) -> None:
    checks = list(judge_ports(found))
    assert [check.verdict for check in checks] == ([verdict] if verdict else [])
    assert all(words in check.fact for check in checks)
    assert all(bool(check.cure) == (check.verdict is Verdict.NOTED) for check in checks)


def test_whom_systemd_resolved_asks_is_told_when_that_is_the_gateway() -> None:
    assert list(judge_route(NameRoute())) == []
    kept = KeptRoute((Routed("love.cat", 1000), Routed("love.cat", 1001), Routed("other.test", 1000)))
    (check,) = judge_route(NameRoute(kept))
    assert check.verdict is Verdict.PASSED
    assert "names below love.cat, other.test: `devtls hosts route`, by user 1000 and 1001" in check.fact
    (check,) = judge_route(NameRoute(is_changed=True))
    assert (check.verdict, bool(check.cure)) == (Verdict.NOTED, True)


def test_a_name_without_an_authority_is_broken_and_says_the_command(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path / "data", tmp_path / "state")
    checks = examine(["love.cat"], paths, {"PATH": ""})
    (check,) = (each for each in checks if each.layer == "authority")
    assert (check.verdict, check.cure[-1]) == (Verdict.FAILED, "  devtls trust love.cat")
    assert not paths.data.exists()
