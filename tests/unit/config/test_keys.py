"""docs/config.md, the schema and the reader know the same keys."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from devtls.config.declared import declare_project
from devtls.config.effective import effective_values, render_values
from devtls.config.keys import find_problems, render_schema
from devtls.config.project_file import read_project_file

PAGE = (Path(__file__).parents[3] / "docs/config.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SECTIONS = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
# What an example leaves out, so that it is a whole file.
DOMAIN, API, WEB = (
    '[domains."love.cat"]\naliases = ["api.love.cat"]\n',
    '[services.api]\ncommand = "true"\n',
    '[services.web]\ncommand = "true"\n',
)


def keys_of(schema: dict[str, Any], table: dict[str, Any], path: str = "") -> set[str]:
    """Every key in the schema: "domains.*.aliases"."""
    found: set[str] = set()
    for name, facts in table["properties"].items():
        inner, below = facts, f"{path}{name}"
        if (additional := facts.get("additionalProperties")) and "$ref" in additional:
            inner, below = additional, f"{below}.*"
        inner = facts.get("items", inner)
        if "$ref" in inner:
            found |= keys_of(schema, schema["$defs"][inner["$ref"].rpartition("/")[2]], f"{below}.")
        if "$ref" not in facts:
            found.add(f"{path}{name}")
    return found


def test_each_key_of_the_schema_is_explained_and_each_that_is_explained_is_there() -> None:
    schema = render_schema()
    assert keys_of(schema, schema) == SECTIONS.keys()


@pytest.mark.parametrize("key", [key for key in SECTIONS if key not in {"services", "routes"}])
def test_each_key_has_an_example_that_says_it(key: str) -> None:
    said = "\n".join(re.findall(r"^```toml\n(.*?)^```", SECTIONS[key], re.MULTILINE | re.DOTALL))
    assert key.rpartition(".")[2] in said


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_taken(example: str, tmp_path: Path) -> None:
    for folder in ("backend", "docs/site", "dist"):
        (tmp_path / folder).mkdir(parents=True)
    document = tomllib.loads(example)
    whole = example
    if "domains" not in document:
        whole += DOMAIN
    services = document.get("services", {})
    needed = {route.get("service") for route in document.get("routes", [])} | ({"web"} if not services else set())
    whole += "".join(text for name, text in (("web", WEB), ("api", API)) if name in needed and name not in services)
    declared = tomllib.loads(whole)
    if len(declared["services"]) > 1 or "routes" in declared:
        paths = {(route.get("path", "/"), route.get("domain")) for route in document.get("routes", [])}
        first = next(iter(declared["services"]))
        whole += "" if ("/", None) in paths else f'[[routes]]\nservice = "{first}"\n'
    if "*.love.cat" in document.get("domains", {}) and "hosts" not in example:
        assert '[domains."love.cat"]' in example
    (tmp_path / "devtls.toml").write_text(whole, "utf-8")
    assert declare_project(
        read_project_file(tmp_path), environment=None, is_vetted=lambda _: True, check_nginx=lambda _own, _context: ()
    )


def test_the_readmes_example_is_taken(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (tmp_path / "devtls.toml").write_text(example, "utf-8")
    (tmp_path / "public").mkdir()
    file = read_project_file(tmp_path)
    project = declare_project(file, environment=None, is_vetted=lambda _: True, check_nginx=lambda _own, _context: ())
    said = render_values(value for value in effective_values(file, project) if not value.is_default)
    assert "\n".join(f"  {line}" for line in said) in readme


def test_the_examples_of_the_cures_are_taken() -> None:
    """Whatever key is wrong, the cure is a line that is right."""
    schema = render_schema()
    for name, table in schema["$defs"].items():
        for key, facts in table["properties"].items():
            wrong: dict[str, dict[str, Any]] = {
                "DomainKeys": {"domains": {"a": {key: 0.5}}},
                "GatewayKeys": {"gateway": {key: 0.5}},
            }
            wrong |= {
                "ServiceKeys": {"services": {"a": {"command": "x", key: 0.5}}},
                "RouteKeys": {"routes": [{key: 0.5}]},
            }
            problems = list(find_problems({"domains": {"a": {}}, **wrong[name]}, lambda _path: "devtls.toml:1"))
            assert len(problems) == 1, (key, facts)
            line = problems[0].cure[0].removeprefix("Write it as: ")
            right: dict[str, Any] = {"domains": {"a": {}}}
            said = tomllib.loads(line)
            match name:
                case "DomainKeys":
                    right = {"domains": {"a": said}}
                case "ServiceKeys":
                    right |= {"services": {"a": {"command": "x", **said}}}
                case "RouteKeys":
                    right |= {"routes": [said]}
            assert not list(find_problems(right, lambda _path: "devtls.toml:1"))
            assert set(said) == {key}
