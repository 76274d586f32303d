"""Private machines with devtls installed in them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real.installation import Installed, install
from tests.real.machine import Machine, Sudo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    """The wheel in an environment of its own, built once; gone when the tests end."""
    # Not pytest's own temporary folder: that is its user's alone.
    directory = Path(tempfile.mkdtemp(prefix="devtls-test-", dir="/var/tmp"))
    try:
        yield install(directory)
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def make_machine(installed: Installed) -> Iterator[Callable[[Sudo], Machine]]:
    """Makes machines, which end with the test: `make_machine("password")`."""
    made: list[Machine] = []

    def make(sudo: Sudo = "free") -> Machine:
        made.append(Machine(installed, sudo))
        return made[-1]

    yield make
    for machine in made:
        machine.close()


@pytest.fixture
def machine(make_machine: Callable[[Sudo], Machine]) -> Machine:
    """A machine whose user dev may sudo without a password."""
    return make_machine("free")
