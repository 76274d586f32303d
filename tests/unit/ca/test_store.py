from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devtls.ca import store
from devtls.errors import DevtlsError
from devtls.system.paths import Paths

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "data", tmp_path / "state")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_authority_is_found_again_and_its_key_is_private(paths: Paths) -> None:
    mask = os.umask(0)
    try:
        made = store.create_authority(paths, ("love.cat",), NOW)
    finally:
        os.umask(mask)
    assert store.load_authorities(paths) == (made,)
    assert mode_of(made.directory) == 0o700
    assert mode_of(made.directory / "issuer.pem") == 0o600
    assert mode_of(made.root) == 0o644


def test_an_authority_that_covers_the_names_is_not_made_twice(paths: Paths) -> None:
    made = store.create_authority(paths, ("love.cat",), NOW)
    assert store.create_authority(paths, ("love.cat",), NOW) == made
    assert store.create_authority(paths, ("shop.love.cat",), NOW) == made
    assert store.create_authority(paths, ("other.cat",), NOW) != made


def test_six_first_runs_at_once_end_with_one_authority(paths: Paths) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import *; from devtls.ca import store;"
        "from devtls.system.paths import Paths; place = Path(sys.argv[1]); paths = Paths(place, place / 'data', place);"
        "now = datetime.now(UTC); ca = store.create_authority(paths, ('love.cat',), now);"
        "print(ca.id, store.issue(paths, ca, 'love.cat', now).serial)"
    )
    argv = [sys.executable, "-c", code, str(paths.home)]
    runs = [subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    said = {each.communicate()[0] for each in runs}
    assert [each.returncode for each in runs] == [0] * 6
    assert len(said) == 1
    assert len(store.load_authorities(paths)) == 1


def test_what_a_killed_run_left_behind_is_no_authority_and_is_swept(paths: Paths) -> None:
    leftover = paths.authorities / ".new-1234"
    leftover.mkdir(parents=True)
    (leftover / "issuer.pem").write_text("half")
    assert store.load_authorities(paths) == ()
    store.create_authority(paths, ("love.cat",), NOW)
    assert not leftover.exists()


def test_an_authority_that_ends_soon_gets_a_successor_and_both_stay(paths: Paths) -> None:
    old = store.create_authority(paths, ("love.cat",), NOW)
    late = old.not_after - 59 * DAY
    assert store.find_authority([old], "love.cat") == old
    assert store.find_authority([old], "love.cat", late) is None
    new = store.create_authority(paths, ("love.cat",), late)
    assert store.load_authorities(paths) == (old, new)
    assert store.find_authority([old, new], "www.love.cat") == new


def test_a_leaf_is_found_again_until_a_third_of_its_life_is_left(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    leaf = store.issue(paths, authority, "love.cat", NOW)
    assert store.load_leaf(paths, "love.cat", NOW) == leaf
    assert store.load_leaf(paths, "love.cat", NOW + 19 * DAY) == leaf
    assert store.load_leaf(paths, "love.cat", NOW + 20 * DAY) is None
    assert (mode_of(leaf.key), mode_of(leaf.fullchain)) == (0o600, 0o644)
    assert leaf.key.parent.name == f"{leaf.serial:040x}"


def test_an_authority_that_ends_soon_and_has_no_successor_still_signs(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    late = authority.not_after - 40 * DAY
    leaf = store.issue(paths, authority, "love.cat", late)
    assert store.load_leaf(paths, "love.cat", late) == leaf


def test_a_leaf_that_another_process_made_a_moment_later_is_taken(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    leaf = store.issue(paths, authority, "love.cat", NOW + timedelta(seconds=1))
    assert store.issue(paths, authority, "love.cat", NOW) == leaf
    assert store.load_leaf(paths, "love.cat", NOW - DAY) is None


def test_renewal_keeps_the_leaf_before_and_no_older_one(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    first, second, third = (store.issue(paths, authority, "love.cat", NOW + n * 25 * DAY) for n in range(3))
    assert len({first.serial, second.serial, third.serial}) == 3
    assert not first.key.exists()
    assert second.key.exists()
    assert (paths.leaves / "love.cat" / "live").resolve() == third.key.parent


@pytest.mark.parametrize("name", ["fullchain.pem", "privkey.pem", "facts.json"])
def test_a_leaf_that_lacks_a_file_is_due(paths: Paths, name: str) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    leaf = store.issue(paths, authority, "love.cat", NOW)
    (leaf.key.parent / name).unlink()
    assert store.load_leaf(paths, "love.cat", NOW) is None
    assert store.issue(paths, authority, "love.cat", NOW) != leaf


def test_a_leaf_of_another_issuer_is_due(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    store.issue(paths, authority, "love.cat", NOW)
    authority.directory.rename(paths.data / "elsewhere")
    assert store.load_leaf(paths, "love.cat", NOW) is None
    store.create_authority(paths, ("love.cat",), NOW)
    assert store.load_leaf(paths, "love.cat", NOW) is None


def test_looking_needs_no_cryptography(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    store.issue(paths, authority, "love.cat", NOW)
    code = (
        "import sys; from pathlib import Path; from datetime import *; from devtls.ca import store;"
        "from devtls.system.paths import Paths; place = Path(sys.argv[1]); paths = Paths(place, place / 'data', place);"
        "now = datetime(2026, 11, 22, 12, tzinfo=UTC);"
        "assert store.load_authorities(paths) and store.load_leaf(paths, 'love.cat', now);"
        "assert not {'cryptography', 'ssl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(paths.home)], cwd=ROOT, check=True)


def test_a_key_that_others_can_read_is_refused_with_the_command_that_cures_it(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    leaf = store.issue(paths, authority, "love.cat", NOW)
    leaf.key.chmod(0o640)
    with pytest.raises(DevtlsError, match="can be read by others") as caught:
        store.load_leaf(paths, "love.cat", NOW)
    assert caught.value.cure[-1] == f"  chmod 600 {leaf.key}"
    (authority.directory / "issuer.pem").chmod(0o604)
    with pytest.raises(DevtlsError, match=r"issuer\.pem can be read by others"):
        store.issue(paths, authority, "www.love.cat", NOW)


def test_a_truncated_issuer_is_no_authority_and_is_named(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    issuer = authority.directory / "issuer.pem"
    issuer.write_bytes(issuer.read_bytes()[:-400])
    assert store.load_authorities(paths) == ()
    assert store.find_broken(paths) == (authority.directory,)
    aside = store.set_aside(authority.directory, NOW)
    assert aside.name.startswith(f"{authority.id}.broken-20261122T120000")
    assert (aside / "issuer.pem").exists()
    assert store.find_broken(paths) == ()


def test_an_issuer_that_cannot_be_read_is_set_aside_and_said(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    issuer = authority.directory / "issuer.pem"
    issuer.write_bytes(issuer.read_bytes().replace(b"M", b"!"))
    with pytest.raises(DevtlsError, match="is damaged; it was moved to") as caught:
        store.issue(paths, authority, "love.cat", NOW)
    assert caught.value.cure
    assert not authority.directory.exists()
    assert len(list(paths.authorities.glob("*.broken-*"))) == 1


def test_a_root_that_was_exchanged_is_no_authority(paths: Paths) -> None:
    one = store.create_authority(paths, ("love.cat",), NOW)
    other = store.create_authority(paths, ("other.cat",), NOW)
    one.root.write_bytes(other.root.read_bytes())
    assert store.load_authorities(paths) == (other,)


def test_an_authority_does_not_sign_for_a_name_that_is_not_its_own(paths: Paths) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    with pytest.raises(DevtlsError, match=r"cannot sign for glove\.cat"):
        store.issue(paths, authority, "glove.cat", NOW)


def test_a_directory_that_cannot_be_made_is_a_fact_and_not_a_traceback(paths: Paths) -> None:
    paths.data.parent.mkdir(exist_ok=True)
    paths.data.write_text("a file is in the way")
    with pytest.raises(DevtlsError, match="cannot be made: Not a directory"):
        store.create_authority(paths, ("love.cat",), NOW)


def test_the_narrowest_authority_signs_and_one_for_all_the_names_is_made_once(paths: Paths) -> None:
    wide = store.create_authority(paths, ("love.cat", "shop.dev", "192.168.1.20"), NOW)
    assert (wide.subtrees, wide.addresses) == (("love.cat", "shop.dev"), ("192.168.1.20",))
    assert store.create_authority(paths, ("love.cat",), NOW) == wide
    assert [wide.covers(name) for name in ("*.love.cat", "192.168.1.20", "127.0.0.1", "::1", "192.168.1.21")] == [
        *[True] * 4,
        False,
    ]
    (paths.authorities / wide.id).rename(paths.authorities / "aside")
    narrow = store.create_authority(paths, ("love.cat",), NOW)
    (paths.authorities / "aside").rename(paths.authorities / wide.id)
    both = store.load_authorities(paths)
    assert set(both) == {wide, narrow}
    assert store.find_authority(both, "love.cat", NOW) == narrow
    assert store.find_common_authority(both, ("love.cat", "shop.dev"), NOW) == wide


def test_an_authority_that_begins_later_is_kept_and_not_used(paths: Paths) -> None:
    ahead = store.create_authority(paths, ("love.cat",), NOW + timedelta(days=400))
    assert store.find_authority([ahead], "love.cat", NOW) is None
    assert store.create_authority(paths, ("love.cat",), NOW) != ahead
    assert ahead in store.load_authorities(paths)


def test_a_clock_from_before_devtls_is_told_with_its_cure(paths: Paths) -> None:
    with pytest.raises(DevtlsError, match="clock says 2020-01-01") as refused:
        store.create_authority(paths, ("love.cat",), datetime(2020, 1, 1, tzinfo=UTC))
    assert refused.value.cure[-1] == "  sudo timedatectl set-ntp true"
    assert store.load_authorities(paths) == ()


@pytest.mark.parametrize("name", ["fullchain.pem", "privkey.pem"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_certificate_is_found_and_not_served(paths: Paths, name: str, damage: str) -> None:
    authority = store.create_authority(paths, ("love.cat",), NOW)
    leaf = store.issue(paths, authority, "love.cat", NOW)
    assert store.find_broken_leaf(paths, "love.cat") is None
    file = leaf.key.with_name(name)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    else:
        file.unlink()
    assert store.load_leaf(paths, "love.cat", NOW) is None
    broken = store.find_broken_leaf(paths, "love.cat")
    assert broken == leaf.key.parent
    aside = store.set_aside(broken, NOW)
    again = store.issue(paths, authority, "love.cat", NOW)
    assert again.serial != leaf.serial
    assert store.issue(paths, authority, "love.cat", NOW + timedelta(days=25)).serial not in {leaf.serial, again.serial}
    assert aside.is_dir(), "what was moved aside is not deleted"
