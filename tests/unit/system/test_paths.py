from __future__ import annotations

import os
from pathlib import Path

import pytest

from devtls.errors import DevtlsError
from devtls.system.paths import LONGEST_SOCKET_PATH, Paths, find_paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "data", tmp_path / "state")


def test_what_is_kept_is_apart_from_what_may_be_lost(paths: Paths) -> None:
    assert {paths.authorities.parent, paths.leaves.parent} == {paths.data}
    assert paths.gateway.parent == paths.state


def test_a_project_is_its_real_folder(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "link").symlink_to("shop")
    assert paths.project(tmp_path / "link") == paths.project(tmp_path / "shop")
    assert paths.project(tmp_path / "blog") != paths.project(tmp_path / "shop")
    assert paths.project(tmp_path / "shop").parent == paths.state / "projects"


def test_a_folder_whose_name_is_no_text_is_a_project_too(paths: Paths) -> None:
    assert paths.project(Path(os.fsdecode(b"/srv/\xff"))).name.isalnum()


def test_a_socket_is_in_its_place_as_long_as_its_path_fits(paths: Paths) -> None:
    place = Path("/") / ("d" * (LONGEST_SOCKET_PATH - len("//control.sock")))
    assert paths.socket(place, "control.sock") == place / "control.sock"


def test_a_socket_whose_path_would_be_too_long_is_in_a_short_private_directory(paths: Paths) -> None:
    place = Path("/") / ("d" * (LONGEST_SOCKET_PATH - len("//control.sock") + 1))
    path = paths.socket(place, "control.sock")
    assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
    assert path.name.endswith("-control.sock")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_uid == os.getuid()
    assert paths.socket(place, "control.sock") == path
    assert paths.socket(place / "x", "control.sock") != path


def test_the_length_of_a_path_is_counted_in_bytes(paths: Paths) -> None:
    place = Path("/") / ("é" * 60)
    assert paths.socket(place, "log.sock").parent != place


def test_the_folders_follow_the_platforms_conventions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    found = find_paths({"HOME": str(tmp_path / "home")})
    assert found == Paths(tmp_path / "home", tmp_path / "d" / "devtls", tmp_path / "s" / "devtls")


def test_a_user_without_home_in_the_environment_has_one_all_the_same() -> None:
    assert find_paths({}).home == Path.home()


@pytest.mark.parametrize("name", ["my $HOME", "tab\there", os.fsdecode(b"J\xf6rg")])
def test_a_folder_that_nginx_cannot_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))
    with pytest.raises(DevtlsError, match="nginx cannot name") as raised:
        find_paths(os.environ)
    assert raised.value.cure[-1].startswith("  export XDG_DATA_HOME=")
