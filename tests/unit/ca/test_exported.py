from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from devtls.ca.exported import Files, name_files, refuse_foreign, write_files
from devtls.ca.profile import LeafPem, issue_leaf, make_authority
from devtls.errors import ConflictError, DevtlsError

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def leaf() -> LeafPem:
    return issue_leaf(make_authority(["love.cat"], owner="ann@box", now=NOW).issuer, "love.cat", now=NOW)


@pytest.mark.parametrize(
    ("names", "client", "pkcs12", "expected"),
    [
        (("love.cat",), False, False, ["love.cat-key.pem", "love.cat.pem"]),
        (("love.cat", "::1"), False, False, ["love.cat+1-key.pem", "love.cat+1.pem"]),
        (("*.love.cat",), True, False, ["_wildcard.love.cat-client-key.pem", "_wildcard.love.cat-client.pem"]),
        (("::1", "a.test"), False, True, ["__1+1.p12"]),
    ],
)
def test_files_are_named_as_mkcert_names_them(
    names: tuple[str, ...], client: bool, pkcs12: bool, expected: list[str]
) -> None:
    files = name_files(Path("x"), names, is_client=client, as_pkcs12=pkcs12)
    assert [path.name for path in files.paths] == expected


@pytest.mark.parametrize("pkcs12", [False, True])
def test_what_we_wrote_may_be_written_again(tmp_path: Path, leaf: LeafPem, pkcs12: bool) -> None:
    files = name_files(tmp_path, ("love.cat",), is_client=False, as_pkcs12=pkcs12)
    refuse_foreign(files)
    write_files(files, leaf)
    refuse_foreign(files)
    modes = {path.name: path.stat().st_mode & 0o777 for path in files.paths}
    assert modes == ({"love.cat.p12": 0o600} if pkcs12 else {"love.cat-key.pem": 0o600, "love.cat.pem": 0o644})


def test_anything_else_in_the_way_is_somebody_elses(tmp_path: Path, leaf: LeafPem) -> None:
    files = name_files(tmp_path, ("love.cat",), is_client=False, as_pkcs12=False)
    assert files.key
    assert files.certificate
    write_files(files, leaf)
    mine = files.key.read_bytes()
    for content in (b"", b"text", issue_leaf_key()):
        files.key.write_bytes(content)
        with pytest.raises(ConflictError, match=r"love\.cat-key\.pem is there already"):
            refuse_foreign(files)
    files.key.write_bytes(mine)
    files.certificate.unlink()
    with pytest.raises(ConflictError, match="key"):
        refuse_foreign(files)
    files.certificate.symlink_to(tmp_path / "nowhere")
    files.key.unlink()
    with pytest.raises(ConflictError, match=r"love\.cat\.pem is there already"):
        refuse_foreign(files)


def issue_leaf_key() -> bytes:
    return issue_leaf(make_authority(["other.cat"], owner="bob@box", now=NOW).issuer, "other.cat", now=NOW).key


def test_when_the_second_file_cannot_be_written_the_first_is_as_it_was(tmp_path: Path, leaf: LeafPem) -> None:
    files = Files(tmp_path / "missing" / "love.cat.pem", tmp_path / "love.cat-key.pem", None)
    with pytest.raises(DevtlsError, match="cannot write"):
        write_files(files, leaf)
    assert list(tmp_path.iterdir()) == []
    assert files.key
    files.key.write_bytes(b"before")
    with pytest.raises(DevtlsError, match="cannot write"):
        write_files(files, leaf)
    assert files.key.read_bytes() == b"before"
