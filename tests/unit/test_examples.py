"""The examples are complete in themselves: they fetch nothing while they run, and their locks fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

EXAMPLES = sorted(path for path in (Path(__file__).parents[2] / "examples").iterdir() if path.is_dir())
LOVE_CAT = next(path for path in EXAMPLES if path.name == "love-cat")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_how_it_is_started(example: Path) -> None:
    assert "devtls up" in (example / "README.md").read_text("utf-8")


@pytest.mark.parametrize("lock", [path / "package-lock.json" for path in EXAMPLES if (path / "package.json").exists()])
def test_a_lock_fits_its_package_and_pins_by_hash(lock: Path) -> None:
    package = json.loads(lock.with_name("package.json").read_text("utf-8"))
    packages = json.loads(lock.read_text("utf-8"))["packages"]
    assert packages[""]["dependencies"] == package["dependencies"]
    assert [name for name, facts in packages.items() if name and "integrity" not in facts] == []
    assert [name for name, facts in packages.items() if "resolved" in facts] == []


def test_the_page_of_love_cat_loads_nothing_from_elsewhere() -> None:
    page = (LOVE_CAT / "public/index.html").read_text("utf-8")
    assert set(re.findall(r"https?://[^'\"\s]+", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"<script[^>]+src=|<link[^>]+stylesheet|@import", page)


def test_love_cat_takes_its_port_and_host_from_the_environment() -> None:
    app = (LOVE_CAT / "app.js").read_text("utf-8")
    assert "process.env.PORT" in app
    assert "process.env.HOST" in app
