from __future__ import annotations

from pathlib import Path

import pytest

from devtls.checks.elsewhere import remote_hints

ROOT = Path("/home/dev/.local/share/devtls/ca/1a2b3c4d/root.pem")
SSH = {"SSH_CONNECTION": "10.0.0.5 51000 10.0.0.9 22", "USER": "dev"}
CODESPACE = {"CODESPACES": "true", "CODESPACE_NAME": "fluffy-cat"}


@pytest.mark.parametrize("environment", [{}, {"SSH_CONNECTION": "127.0.0.1 5 127.0.0.1 22"}, {"CODESPACES": "false"}])
def test_nothing_is_said_when_the_browser_is_here(environment: dict[str, str]) -> None:
    assert remote_hints(environment, ["love.cat"], [ROOT]) == ()


def test_over_ssh_a_tunnel_a_hosts_line_and_the_root_are_told() -> None:
    lines = remote_hints(SSH, ["love.cat", "api.love.cat"], [ROOT])
    assert "  ssh -N -L 8443:127.0.0.1:443 dev@10.0.0.9" in lines
    assert "  127.0.0.1 love.cat api.love.cat" in lines
    assert f"  scp 'dev@10.0.0.9:{ROOT}' devtls-1a2b3c4d.pem" in lines
    assert any("security add-trusted-cert" in line and "devtls-1a2b3c4d.pem" in line for line in lines)
    assert lines[-1] == "  https://love.cat:8443"


def test_over_ssh_on_another_port_and_ipv6() -> None:
    environment = {"SSH_CONNECTION": "2001:db8::5 51000 2001:db8::9 2222", "USER": "dev"}
    lines = remote_hints(environment, ["love.cat"], [ROOT], 8443)
    assert "  ssh -N -p 2222 -L 8443:127.0.0.1:8443 dev@2001:db8::9" in lines
    assert f"  scp -P 2222 'dev@[2001:db8::9]:{ROOT}' devtls-1a2b3c4d.pem" in lines


def test_in_codespaces_the_github_cli_is_used() -> None:
    lines = remote_hints({**SSH, **CODESPACE}, ["love.cat"], [ROOT])
    assert "  gh codespace ports forward 443:8443 --codespace fluffy-cat" in lines
    assert lines[-1] == "  https://love.cat:8443"


def test_in_wsl_windows_needs_the_hosts_line_and_the_root() -> None:
    lines = remote_hints({"WSL_DISTRO_NAME": "Debian"}, ["love.cat"], [ROOT])
    assert any("127.0.0.1 love.cat" in line for line in lines)
    share = r"\\wsl.localhost\Debian\home\dev\.local\share\devtls\ca\1a2b3c4d\root.pem"
    assert f"  certutil -addstore -user Root '{share}'" in lines
