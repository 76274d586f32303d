from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devtls.model import Authority
from devtls.trust.runtimes import APPENDING, REPLACING, Recipe, find_bundle, plan, prepare, usable_roots

NOW = datetime(2026, 11, 24, tzinfo=UTC)
FOLDER = Path("/data/environment")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("system.pem", "corporate.pem", "root.pem"):
        (tmp_path / name).write_text(f"{name}\n")
    return tmp_path


def test_programs_that_replace_what_they_trust_get_the_systems_bundle_too(home: Path) -> None:
    bundle, root = home / "system.pem", home / "root.pem"
    wanted = plan({}, [root], FOLDER, bundle, {})
    assert wanted.notices == ()
    assert dict(wanted.variables) == {
        **dict.fromkeys(REPLACING, Recipe(bundle, (root,))),
        **dict.fromkeys(APPENDING, Recipe(None, (root,))),
    }


def test_what_the_user_had_set_is_kept_variable_by_variable(home: Path) -> None:
    corporate, root = home / "corporate.pem", home / "root.pem"
    environment = {name: str(corporate) for name in ("REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "HTTPLIB2_CA_CERTS")}
    variables = plan(environment, [root], FOLDER, home / "system.pem", {}).variables
    for name in environment:
        assert variables[name] == Recipe(corporate, (root,))
    assert variables["SSL_CERT_FILE"].base == home / "system.pem"
    assert "NIX_SSL_CERT_FILE" not in variables, "it was not set, and its programs do well without"


def test_a_file_that_is_not_there_is_told_and_the_systems_is_taken(home: Path) -> None:
    environment = {"SSL_CERT_FILE": "/nope", "PIP_CERT": "/nope"}
    wanted = plan(environment, [home / "root.pem"], FOLDER, home / "system.pem", {})
    assert wanted.variables["SSL_CERT_FILE"].base == home / "system.pem"
    ((fact, cure),) = wanted.notices
    assert "'/nope', which cannot be read" in fact
    assert cure[-1].startswith("  unset ")


def test_without_any_bundle_nobody_loses_the_public_roots(home: Path) -> None:
    assert set(plan({}, [home / "root.pem"], FOLDER, None, {}).variables) == set(APPENDING)


def test_files_have_both_and_are_made_once(home: Path) -> None:
    (home / "corporate.pem").write_text("no newline at the end")
    environment = {"CURL_CA_BUNDLE": str(home / "corporate.pem")}
    folder = home / "environment"
    made = prepare(environment, [home / "root.pem"], folder).variables
    merged = Path(made["CURL_CA_BUNDLE"])
    assert merged.read_text() == "no newline at the end\nroot.pem\n"
    assert Path(made["NODE_EXTRA_CA_CERTS"]).read_text() == "root.pem\n"
    assert (folder.stat().st_mode & 0o777, merged.stat().st_mode & 0o777) == (0o700, 0o644)
    before = merged.stat().st_ino
    assert prepare(environment, [home / "root.pem"], folder).variables == made
    assert merged.stat().st_ino == before
    (home / "corporate.pem").write_text("renewed\n")
    assert prepare(environment, [home / "root.pem"], folder).variables == made
    assert merged.read_text() == "renewed\nroot.pem\n"


def test_inside_its_own_environment_nothing_is_merged_twice(home: Path) -> None:
    environment = {"CURL_CA_BUNDLE": str(home / "corporate.pem"), "NODE_EXTRA_CA_CERTS": str(home / "corporate.pem")}
    folder = home / "environment"
    outer = prepare(environment, [home / "root.pem"], folder).variables
    inner = prepare({**environment, **outer}, [home / "root.pem"], folder)
    assert (inner.variables, inner.notices) == (outer, ())
    assert Path(outer["CURL_CA_BUNDLE"]).read_text() == "corporate.pem\nroot.pem\n"


def test_only_roots_that_are_valid_today_are_given(home: Path) -> None:
    def authority(number: str, begin: int, end: int) -> Authority:
        day = timedelta(days=1)
        return Authority(number, ("love.cat",), home / number, "", NOW + end * day, not_before=NOW + begin * day)

    authorities = [authority("now", -1, 1), authority("past", -2, -1), authority("future", 1, 2)]
    assert usable_roots(authorities, NOW) == (home / "now/root.pem",)


def test_the_systems_bundle_is_found_wherever_it_is_kept(home: Path) -> None:
    assert find_bundle(["/nope", str(home / "system.pem")]) == home / "system.pem"


def test_a_folder_that_the_user_named_is_left_as_it_is_and_told(home: Path) -> None:
    wanted = plan({"REQUESTS_CA_BUNDLE": str(home)}, [home / "root.pem"], FOLDER, home / "system.pem", {})
    assert "REQUESTS_CA_BUNDLE" not in wanted.variables
    ((fact, cure),) = wanted.notices
    assert "REQUESTS_CA_BUNDLE is a folder" in fact
    assert cure[-1] == f"  export REQUESTS_CA_BUNDLE={home / 'system.pem'}"


def test_a_relative_file_is_the_one_of_this_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    wanted = plan({"PIP_CERT": "corporate.pem"}, [home / "root.pem"], FOLDER, home / "system.pem", {})
    assert wanted.variables["PIP_CERT"].base == home / "corporate.pem"


def test_what_was_deleted_is_made_again_and_a_lost_index_takes_nothing_away(home: Path) -> None:
    environment, folder = {"PIP_CERT": str(home / "corporate.pem")}, home / "environment"
    made = prepare(environment, [home / "root.pem"], folder).variables
    merged = Path(made["PIP_CERT"])
    merged.unlink()
    assert prepare(environment, [home / "root.pem"], folder).variables == made
    assert merged.read_text() == "corporate.pem\nroot.pem\n"
    (folder / "index.json").write_text('{"roots.pem": []}')
    inside = {**environment, **made}
    assert "PIP_CERT" not in prepare(inside, [home / "root.pem"], folder).variables, "it stays as it is"
    assert merged.read_text() == "corporate.pem\nroot.pem\n"
