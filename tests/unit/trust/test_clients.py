from __future__ import annotations

from pathlib import Path

import pytest

from devtls.trust.clients import CLIENTS, Client, Scene, environment_for, find_clients
from devtls.trust.listener import Target

LOVE, LOCAL = Target("love.cat", 4001, "/one"), Target("localhost", 4002, "/two")


def calls(name: str, *, is_root: bool = False, targets: tuple[Target, ...] = (LOVE, LOCAL)) -> list[str]:
    """The words, environment and files of each call, as one text each."""
    (client,) = (each for each in CLIENTS if each.name == name)
    scene = Scene(program="/usr/bin/it", targets=targets, scratch=Path("/tmp/scratch"), is_root=is_root)
    return [
        " ".join([*call.argv, *call.environment.values(), *call.files.values(), call.stdin.decode()])
        for call in client.calls(scene)
    ]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_each_client_is_led_to_every_target_by_name_port_and_path(client: Client) -> None:
    scene = Scene(program="/usr/bin/it", targets=(LOVE, LOCAL), scratch=Path("/tmp/scratch"))
    made = client.calls(scene)
    assert [target for call in made for target in call.targets] == [LOVE, LOCAL]
    for call in made:
        said = " ".join([*call.argv, *call.environment.values(), *call.files.values(), call.stdin.decode()])
        for target in call.targets:
            assert all(part in said for part in (target.host, str(target.port), target.path))


def test_an_address_is_verified_and_sent_as_no_server_name() -> None:
    target = Target("127.0.0.1", 4001, "/one")
    (openssl,), (gnutls,) = calls("openssl", targets=(target,)), calls("gnutls-cli", targets=(target,))
    assert "-noservername -verify_ip 127.0.0.1" in openssl
    assert "--verify-hostname=127.0.0.1" in gnutls
    assert "--sni-hostname" not in gnutls


def test_only_root_starts_chromium_without_its_sandbox() -> None:
    (user,), (root,) = calls("Chromium"), calls("Chromium", is_root=True)
    assert "--no-sandbox" not in user
    assert "--no-sandbox" in root


def test_a_proxy_of_the_user_leads_no_client_elsewhere() -> None:
    (client,) = (each for each in CLIENTS if each.name == "wget")
    call, _other = client.calls(Scene(program="wget", targets=(LOVE, LOCAL), scratch=Path("/tmp/scratch")))
    made = environment_for({"HTTPS_PROXY": "http://elsewhere", "https_proxy": "http://elsewhere", "HOME": "/h"}, call)
    assert made == {"HOME": "/h", "https_proxy": "http://127.0.0.1:4001"}


def test_the_first_program_on_the_path_is_the_client(tmp_path: Path) -> None:
    for name in ("nodejs", "chromium", "firefox-esr"):
        (tmp_path / name).touch(mode=0o755)
    found = [(each.client.name, Path(each.program).name) for each in find_clients({"PATH": str(tmp_path)})]
    assert found == [("Node", "nodejs"), ("Chromium", "chromium"), ("Firefox", "firefox-esr")]
