from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from devtls.model import DomainSettings, Endpoint, External, NginxText, Project, Route, Scheme, Service
from devtls.session.setup import begin_session, words_of
from devtls.system.processes import SESSION_MARKER
from tests.unit.session.stage import make_setup

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_asked_for_is_domains_commands_and_routes_but_no_port(tmp_path: Path) -> None:
    def project(port: int) -> Project:
        services = (Service("web", ("node", "app.js"), port, tmp_path),)
        return Project(
            tmp_path, ("love.cat",), services, (Route("/", "web"), Route("/api", External(Endpoint("::1", 9))))
        )

    assert words_of(project(3000)) == {
        "domains": ["love.cat"],
        "services": {"web": ["node", "app.js"]},
        "routes": {"/": "web", "/api": "http://[::1]:9"},
        "headers": [],
        "prod_like": False,
        "websocket_path": None,
        "https_port": None,
        "app_port": None,
        "ports": {},
        "settings": [],
    }
    assert words_of(project(3001)) == words_of(project(3000))  # a port that was found free says nothing


def test_whatever_a_file_says_is_part_of_what_was_asked_for(tmp_path: Path) -> None:
    service = Service("web", ("node",), 3000, tmp_path)
    plain = Project(tmp_path, ("love.cat",), (service,), (Route("/", "web"),))
    own = NginxText("gzip on;", "devtls.toml", 3)
    changed = [
        replace(plain, fixed_ports={"web": 3000}),
        replace(plain, settings=(DomainSettings(("love.cat",), (("A", "b"),)),)),
        replace(plain, settings=(DomainSettings(("love.cat",), (), own),)),
        replace(plain, routes=(Route("/", "web", nginx=own),)),
        replace(plain, services=(replace(service, directory=tmp_path / "backend"),)),
        replace(plain, services=(replace(service, scheme=Scheme.HTTPS),)),
    ]
    words = [words_of(plain), *map(words_of, changed)]
    assert all(first != second for number, first in enumerate(words) for second in words[:number])
    assert json.loads(json.dumps(words)) == words  # they are compared with what came over a socket


def test_a_session_has_a_name_of_its_own_that_is_kept(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    names = [begin_session(setup.paths, tmp_path) for _ in range(2)]
    assert names[0] != names[1]
    assert (setup.folder / "session").read_text("ascii") == names[1]


def test_what_a_killed_session_left_is_ended_before_the_next_one_begins(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    session = begin_session(setup.paths, tmp_path)
    program = [sys.executable, "-c", "print(flush=True); input()"]
    environment = {**os.environ, SESSION_MARKER: session}
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as left:
        assert left.stdout
        left.stdout.readline()
        begin_session(setup.paths, tmp_path)
        assert left.wait() == -15


def test_a_record_that_is_no_text_is_no_hindrance(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    (setup.folder / "session").write_bytes(b"\xff\xfe")
    assert begin_session(setup.paths, tmp_path)


def test_a_session_is_met_and_logs_where_its_project_is(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    assert setup.control_socket == setup.paths.control(tmp_path)
    assert setup.log("web") == setup.folder / "logs" / "web.log"
