from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from devtls.config.keys import render_schema

if TYPE_CHECKING:
    from tests.unit.cli.terminal import Terminal

FILE = """\
[domains."love.test"]
nginx = '''
gzip on;
types { text/css css; }
'''
[services.web]
command = "no-such-program"
"""


def test_each_value_is_shown_with_where_it_is_from_and_nothing_is_done(terminal: Terminal) -> None:
    (terminal.folder / "devtls.toml").write_text(FILE, "utf-8")
    (terminal.folder / "devtls.local.toml").write_text("[services.web]\nport = 4000\n", "utf-8")
    said = terminal.type("config")
    assert (said.code, said.err) == (0, "")
    assert [" ".join(line.split()) for line in said.out.splitlines()] == [
        'domains."love.test".nginx = # devtls.toml:2',
        "gzip on;",
        "types { text/css css; }",
        'services.web.command = "no-such-program" # devtls.toml:7',
        "services.web.port = 4000 # devtls.local.toml:2",
        'services.web.scheme = "http" # default',
        "services.web.replicas = 1 # default",
        "services.web.sticky = false # default",
        'services.web.cwd = "." # default',
        "gateway.prod_like = false # default",
        'routes[0].path = "/" # default',
        'routes[0].service = "web" # default',
    ]
    assert not terminal.paths.state.exists()
    assert not terminal.paths.data.exists()


def test_it_is_said_as_json_too(terminal: Terminal) -> None:
    (terminal.folder / "devtls.toml").write_text(FILE, "utf-8")
    document = terminal.type("config", "--json").document
    assert (document["schema"], document["directory"]) == ("devtls.config/1", str(terminal.folder))
    assert document["files"] == ["devtls.toml"]
    command = {"key": ["services", "web", "command"], "value": "no-such-program", "from": "devtls.toml:7"}
    assert command in document["values"]


def test_the_schema_is_printed_wherever_one_is(terminal: Terminal) -> None:
    assert json.loads(terminal.type("config", "--schema").out) == render_schema()


def test_without_a_file_it_says_how_to_begin_one(terminal: Terminal) -> None:
    said = terminal.type("config")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[0] == f"devtls: there is no devtls.toml in {terminal.folder} or above it"
    (terminal.folder / "devtls.toml").write_text("\n".join(said.err.splitlines()[2:]), "utf-8")
    assert terminal.type("config").code == 0


@pytest.mark.parametrize("command", ["config", "up"])
def test_what_is_wrong_is_told_with_its_line_the_nginx_text_at_its_own(terminal: Terminal, command: str) -> None:
    text = FILE.replace("types", "include /etc/passwd;\n\x1b[31mtypes".replace("\x1b", "")) + "prot = 3\n"
    (terminal.folder / "devtls.toml").write_text(text, "utf-8")
    said = terminal.type(command)
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == [
        "devtls.toml:9: services.web.prot: there is no such key",
        "  Did you mean port?",
    ]
    (terminal.folder / "devtls.toml").write_text(text.replace("prot = 3\n", ""), "utf-8")
    said = terminal.type(command)
    assert said.err.splitlines()[0].startswith("devtls.toml:4: `include` is not allowed here")


def test_a_mistake_is_one_document_for_scripts(terminal: Terminal) -> None:
    (terminal.folder / "devtls.toml").write_text(FILE + "prot = 3\n", "utf-8")
    document = terminal.type("config", "--json").document
    assert document["problems"] == [
        {
            "origin": "devtls.toml:8: services.web.prot",
            "fact": "there is no such key",
            "cure": ["Did you mean port?"],
        }
    ]


def test_what_a_clone_wrote_does_nothing_to_the_terminal(terminal: Terminal) -> None:
    bad = 'name = "\\u001b[2J\\u202e"\n' + FILE + 'env = { "\\u001b]0;x" = "1" }\n'
    (terminal.folder / "devtls.toml").write_text(bad, "utf-8")
    said = terminal.type("config")
    assert said.code == 2
    assert "\x1b" not in said.err
    (terminal.folder / "devtls.toml").write_text(bad.replace('env = { "\\u001b]0;x" = "1" }\n', ""), "utf-8")
    said = terminal.type("config")
    assert said.code == 0
    assert said.out.splitlines()[0].startswith('name = "\\u001b[2J\\u202e"')
