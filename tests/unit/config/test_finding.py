from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.config.finding import find_project

if TYPE_CHECKING:
    from pathlib import Path


def test_the_nearest_file_above_is_meant(tmp_path: Path) -> None:
    deep = tmp_path / "shop/src/deep"
    deep.mkdir(parents=True)
    assert find_project(deep, tmp_path) is None
    (tmp_path / "shop/devtls.toml").touch()
    assert find_project(deep, tmp_path) == find_project(tmp_path / "shop", tmp_path) == tmp_path / "shop"
    (tmp_path / "shop/src/devtls.toml").touch()
    assert find_project(deep, None) == tmp_path / "shop/src"


def test_neither_above_the_repository_nor_above_home(tmp_path: Path) -> None:
    (tmp_path / "devtls.toml").touch()
    (tmp_path / "shop/src").mkdir(parents=True)
    assert find_project(tmp_path / "shop/src", tmp_path / "shop") is None
    (tmp_path / "shop/.git").mkdir()
    assert find_project(tmp_path / "shop/src", None) is None


def test_a_folder_above_that_everybody_may_write_to_is_not_looked_in(tmp_path: Path) -> None:
    (tmp_path / "devtls.toml").touch()
    (tmp_path / "shop").mkdir()
    tmp_path.chmod(0o1777)
    assert find_project(tmp_path / "shop", None) is None
    assert find_project(tmp_path, None) == tmp_path


def test_a_folder_of_that_name_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "devtls.toml").mkdir()
    assert find_project(tmp_path, tmp_path) is None
