from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.trust.leftovers import find_leftovers

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_on_the_disk_is_found_where_each_tool_keeps_it(tmp_path: Path) -> None:
    keys = {
        "mkcert": tmp_path / ".local/share/mkcert/rootCA-key.pem",
        "Caddy": tmp_path / ".local/share/caddy/pki/authorities/local/root.key",
        "portless": tmp_path / ".portless/ca-key.pem",
        "devcert": tmp_path / ".config/devcert/certificate-authority/private-key.key",
    }
    for key in keys.values():
        key.parent.mkdir(parents=True)
        key.touch()
    found = find_leftovers(tmp_path, {}, ())
    assert {each.tool: each.keys[0] for each in found} == keys
    assert all(each.cure == (f"  rm -r {each.keys[0].parent}",) for each in found)


def test_mkcerts_key_is_where_caroot_says(tmp_path: Path) -> None:
    (tmp_path / "rootCA-key.pem").touch()
    (found,) = find_leftovers(tmp_path / "home", {"CAROOT": str(tmp_path)}, ())
    assert found.keys == (tmp_path / "rootCA-key.pem",)


def test_a_clean_machine_has_none(tmp_path: Path) -> None:
    assert find_leftovers(tmp_path, {}, ()) == ()
