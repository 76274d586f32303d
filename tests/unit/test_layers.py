"""Imports go one way, words come out in one place, and starting costs little."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import devtls

PACKAGE = Path(devtls.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# Which parts a part may import, besides itself and the package's own version. Everything may import GROUND.
GROUND = {"errors", "model"}
MIDDLE = {"ca", "trust", "hosts", "nginx", "supervise", "checks", "pages"}
UPPER = {"plan", "look", "apply", "block", "route", "clean", "report", "session", "doctor"}
MAY_IMPORT = {
    "errors": set[str](),
    "model": {"errors"},
    "system": GROUND,
    "config": GROUND,
    **dict.fromkeys(MIDDLE, GROUND | {"system"}),
    "plan": GROUND,  # pure: what was found comes in as values
    "report": GROUND | {"plan"},
    "look": GROUND | {"plan", "system"} | MIDDLE,
    "apply": GROUND | {"plan", "look", "system"} | MIDDLE,
    "block": GROUND | {"plan", "system"} | MIDDLE,
    "route": GROUND | {"plan", "block", "system"} | MIDDLE,
    "doctor": GROUND | {"block", "system"} | MIDDLE,
    "clean": GROUND | {"block", "system"} | MIDDLE,
    "session": GROUND | {"plan", "apply", "report", "system"} | MIDDLE,
    "cli": GROUND | {"config", "system"} | MIDDLE | UPPER,
    "__main__": {"cli"},
}

# What ends the process or speaks to its user.
SPEAKS = {"print", "input", "click.echo", "click.secho", "click.prompt", "click.confirm"}
EXITS = {"exit", "quit", "SystemExit", "sys.exit", "os._exit"}

HEAVY = {
    "asyncio",
    "cryptography",
    "dnslib",
    "websockets",
    "psutil",
    "ssl",
    "idna",
    "publicsuffixlist",
    "platformdirs",
    "crossplane",
}


def parse(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text("utf-8"))


def part_of(module: str) -> str:
    """The part that a module's path belongs to: "trust/nss.py" and "trust/__init__.py" -> "trust"."""
    return module.split("/", maxsplit=1)[0].removesuffix(".py")


def imported_parts(tree: ast.Module) -> set[str]:
    """Every part of devtls that is imported anywhere in a module, for its types alone, too."""
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "devtls":
            names.update(f"devtls.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith("devtls.")} - {"__version__"}


def used_names(tree: ast.Module) -> set[str]:
    """Every name in a module, with its dots: "print", "sys.exit"."""
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)}


def is_process(module: str, tree: ast.Module) -> bool:
    """Whether a module is the beginning of a process of its own, started or forked, which has nowhere to return to."""
    return module.endswith("__main__.py") or bool({"__name__", "os.fork"} & used_names(tree))


@pytest.mark.parametrize("module", [module for module in MODULES if module != "__init__.py"])
def test_a_part_imports_only_what_its_layer_may(module: str) -> None:
    part = part_of(module)
    assert part in MAY_IMPORT, f"give {part} a place in MAY_IMPORT"
    assert imported_parts(parse(module)) - {part} <= MAY_IMPORT[part]


@pytest.mark.parametrize("module", [module for module in MODULES if part_of(module) != "cli"])
def test_only_the_cli_speaks_and_exits(module: str) -> None:
    tree = parse(module)
    assert used_names(tree) & (SPEAKS if is_process(module, tree) else SPEAKS | EXITS) == set()


def test_the_check_of_layers_sees_every_way_to_import() -> None:
    source = (
        "import devtls.trust.nss\nfrom devtls import hosts, __version__\ndef f():\n    from devtls.ca import store\n"
    )
    assert imported_parts(ast.parse(source)) == {"trust", "hosts", "ca"}


def test_telling_the_version_imports_nothing_heavy() -> None:
    words = [sys.executable, "-X", "importtime", "-m", "devtls", "--version"]
    ended = subprocess.run(words, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert "devtls" in modules
    assert modules & HEAVY == set()
