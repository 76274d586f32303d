from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.trust import Change, Held
from devtls.trust.nixos import NixStore
from tests.unit.trust.fakes import OWNER, make_authority

if TYPE_CHECKING:
    from pathlib import Path


def test_the_lines_to_add_are_told_until_the_bundle_has_the_root(tmp_path: Path) -> None:
    authority, store = make_authority(tmp_path), NixStore(tmp_path / "bundle.crt")
    (trouble,) = store.trust(authority).troubles
    assert f"  security.pki.certificateFiles = [ /etc/nixos/{authority.name}.pem ];" in trouble.cure
    assert f"  sudo install -m 644 {authority.root} /etc/nixos/{authority.name}.pem" in trouble.cure
    store.place.write_bytes(b"# shipped\n" + authority.root.read_bytes())
    assert store.trust(authority) == Change()


def test_taking_out_tells_the_line_to_take_out_while_the_root_is_there(tmp_path: Path) -> None:
    authority, store = make_authority(tmp_path), NixStore(tmp_path / "bundle.crt")
    held = Held(authority.name, authority.fingerprint)
    assert store.untrust(held) == Change()
    store.place.write_bytes(authority.root.read_bytes())
    assert store.find_held(OWNER) == (held,)
    (trouble,) = store.untrust(held).troubles
    assert f"/etc/nixos/{authority.name}.pem" in trouble.cure[0]
