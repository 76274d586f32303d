from __future__ import annotations

from pathlib import Path

import pytest

from devtls.errors import DevtlsError
from devtls.system.templates import fill, find_templates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nginx").mkdir()
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "nginx" / "site.conf").write_text(text, "utf-8")


def test_fields_are_filled_and_nginx_variables_and_blocks_are_left(folder: Path) -> None:
    write(folder, "server { set $a ${b}; server_name %{host}; return 200 100%%; }")
    assert (
        fill(folder, "nginx/site.conf", host="love.cat")
        == "server { set $a ${b}; server_name love.cat; return 200 100%; }"
    )


def test_a_value_is_not_filled_again(folder: Path) -> None:
    write(folder, "%{a} %{b}")
    assert fill(folder, "nginx/site.conf", a="%{b}", b="%{a} %%") == "%{b} %{a} %%"


@pytest.mark.parametrize("text", ["%{unknown}", "100%", "%{Bad Name}"])
def test_a_template_that_cannot_be_filled_is_told_with_its_path(folder: Path, text: str) -> None:
    write(folder, text)
    with pytest.raises(DevtlsError, match=r"site\.conf cannot be filled"):
        fill(folder, "nginx/site.conf", host="love.cat")


def test_a_template_that_is_not_there_is_told_with_its_cure(folder: Path) -> None:
    with pytest.raises(DevtlsError, match=r"there is no template .*/nginx/nothing\.conf") as failed:
        fill(folder, "nginx/nothing.conf")
    assert "DEVTLS_TEMPLATES" in failed.value.cure[0]


def test_the_users_templates_go_before_ours() -> None:
    assert find_templates({"DEVTLS_TEMPLATES": "/my/templates"}) == Path("/my/templates")


@pytest.mark.parametrize("environment", [{}, {"DEVTLS_TEMPLATES": ""}])
def test_ours_are_found_wherever_devtls_is_installed(environment: dict[str, str]) -> None:
    assert (find_templates(environment) / "nginx" / "gateway.conf").is_file()
