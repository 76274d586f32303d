from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from devtls.errors import DevtlsError
from devtls.model import Endpoint
from devtls.system import binder, channel, ports

if TYPE_CHECKING:
    from pathlib import Path


def test_sockets_bound_in_another_process_arrive_and_listen(tmp_path: Path) -> None:
    place = tmp_path / 'it\'s "ö"'
    server = channel.listen(place)
    taken = socket.create_server(("127.0.0.1", 0))
    free = ports.find_free_port(taken.getsockname()[1] + 1)
    words = [str(place), f"127.0.0.1:{free}", f"127.0.0.1:{taken.getsockname()[1]}"]
    with server, taken:
        subprocess.run([sys.executable, "-I", str(binder.__file__), *words], check=True, cwd="/")
        binding = binder.receive(server)
    assert binding.refused == (ports.Refusal(Endpoint("127.0.0.1", words_port(words[2])), ports.Reason.TAKEN),)
    assert binding.endpoints() == (Endpoint("127.0.0.1", free),)
    with binding.sockets[0] as listener, socket.create_connection(("127.0.0.1", free)):
        assert not listener.get_inheritable()


def words_port(text: str) -> int:
    return binder.parse_endpoint(text).port


def test_a_binder_that_ends_early_is_a_fact(tmp_path: Path) -> None:
    server = channel.listen(tmp_path / "s")
    with server:
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(str(tmp_path / "s"))
        with pytest.raises(DevtlsError, match="ended before it passed them on"):
            binder.receive(server)


def test_a_binder_that_never_comes_is_a_fact(tmp_path: Path) -> None:
    with channel.listen(tmp_path / "s") as server, pytest.raises(DevtlsError, match="no sockets were passed on"):
        binder.receive(server, patience=0)


@pytest.mark.parametrize("endpoint", [Endpoint("127.0.0.1", 443), Endpoint("::1", 80)])
def test_an_endpoint_is_read_as_it_is_written(endpoint: Endpoint) -> None:
    assert binder.parse_endpoint(str(endpoint)) == endpoint
