"""A clone with a devtls.toml on a private machine: asked about once, then served whole."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.real.love_cat import (
    READY,
    assert_nothing_runs,
    bring_small_app,
    devtls,
    page_of,
    small_app,
    status_of,
    stop,
    up,
)
from tests.real.running import wait_until

if TYPE_CHECKING:
    from tests.real.machine import Machine
    from tests.real.running import Running

WEB, API = small_app("127.0.0.1", "PORT", "web"), small_app("127.0.0.1", "PORT", "api")
FILE = f"""\
name = "shop"

[domains."shop.test"]
aliases = ["www.shop.test"]
headers = {{ X-Cat = "purr $1", Server-Timing = "" }}
nginx = '''
gzip on;
location = /healthz {{
    return 200 "fine\\n";
}}
'''

[domains."*.wild.test"]
hosts = ["one.wild.test"]

[services.web]
command = "{WEB}"
replicas = 2

[services.api]
command = {json.dumps(API.split())}
cwd = "backend"
env = {{ MODE = "dev" }}

[[routes]]
service = "web"

[[routes]]
path = "/api"
domain = "shop.test"
service = "api"
strip = true
nginx = '''
add_header X-Route api;
location ~ /secret {{ deny all; }}
location ~ /passed {{ add_header X-Inner yes; }}
'''

[[routes]]
path = "/docs"
root = "dist"
fallback = "index.html"

[[routes]]
path = "/old"
redirect = "/new"
"""
ANY = ("--timeout", "60")  # words that say nothing of the project: without any, `up` serves the example
QUESTION = r"Run and serve this\? \[y/N\]: "


@pytest.fixture
def clone(machine: Machine) -> str:
    place = bring_small_app(machine, "shop")
    make = "mkdir -p backend dist src/deep && cp small.py backend && echo home > dist/index.html && git init -q"
    machine.run(["sh", "-c", make], cwd=place, check=True)
    machine.write(f"{place}/devtls.toml", FILE)
    return place


def state_of(machine: Machine) -> str:
    """All that devtls keeps of dev's, and the hosts file."""
    found = machine.run(["find", "/home/dev/.local/share", "/home/dev/.local/state", "-type", "f"]).stdout
    return found + machine.read("/etc/hosts")


def is_reading(machine: Machine, running: Running) -> bool:
    """Whether it sleeps: Python overlooks a signal that comes between a prompt and the read that follows it."""
    return machine.read(f"/proc/{running.pid}/stat").rpartition(")")[2].split()[0] == "S"


def head_of(machine: Machine, url: str) -> str:
    words = ["curl", "-sS", "-o", "/dev/null", "-D", "-", "--max-time", "20", url]
    return machine.run(words).output.lower()


def test_who_does_not_trust_a_clone_has_nothing_of_it(machine: Machine, clone: str) -> None:
    before = state_of(machine)
    for answer, status in (("n\n", 1), ("\x03", 130)):
        running = up(machine, clone, "-d")
        running.wait_for(QUESTION)
        assert "services.web.command" in running.output
        assert 'return 200 "fine' in running.output
        wait_until(partial(is_reading, machine, running), "it waits for an answer")
        running.write(answer)
        assert running.wait() == status, running.output
        assert state_of(machine) == before
        assert_nothing_runs(machine)
    refused = devtls(machine, clone, "up", "-d")
    assert (refused.status, refused.stdout) == (2, "")
    assert "devtls up --trust-project" in refused.stderr
    assert state_of(machine) == before


def test_a_clone_is_served_whole_once_somebody_says_yes(machine: Machine, clone: str) -> None:
    running = up(machine, f"{clone}/src/deep", *ANY)
    running.wait_for(QUESTION)
    running.write("y\n")
    running.wait_for(READY)
    assert page_of(machine, "https://shop.test/").startswith("web / 300")
    assert {page_of(machine, f"https://{host}/").split()[3] for host in ("www.shop.test", "one.wild.test")} == {
        "www.shop.test",
        "one.wild.test",
    }
    assert page_of(machine, "https://shop.test/healthz") == "fine\n"
    assert page_of(machine, "https://shop.test/api/x?y").startswith("api /x?y 300")
    assert page_of(machine, "https://www.shop.test/api/x").startswith("api /x 300")
    assert page_of(machine, "https://one.wild.test/api/x").startswith("web /api/x 300")
    assert page_of(machine, "https://shop.test/docs/a/b") == "home\n"
    assert "location: https://shop.test/new/a" in head_of(machine, "https://shop.test/old/a")
    for path in ("", "healthz", "docs/", "api/x", "old", "api/passed"):
        assert "x-cat: purr $1\r\n" in head_of(machine, f"https://shop.test/{path}"), path
    assert "x-cat" not in head_of(machine, "https://one.wild.test/")
    assert "x-route: api" in head_of(machine, "https://shop.test/api/x")
    assert "x-inner: yes" in head_of(machine, "https://shop.test/api/passed")
    assert page_of(machine, "https://shop.test/api/passed").startswith("api /passed 300")
    assert head_of(machine, "https://shop.test/api/secret").startswith("http/2 403")

    status = status_of(machine, f"{clone}/src/deep")
    assert status["directory"] == clone
    assert [service["name"] for service in status["services"]] == ["web-1", "web-2", "api"]
    assert "web" in devtls(machine, f"{clone}/backend", "logs").stdout
    again = devtls(machine, f"{clone}/src", "up", *ANY)
    assert (again.status, "already  up" in again.output) == (0, True), again.output
    stop(running)
    assert_nothing_runs(machine)


def test_a_person_is_asked_once_and_again_when_it_changed(machine: Machine, clone: str) -> None:
    before = state_of(machine)
    running = up(machine, clone, *ANY)
    running.wait_for(QUESTION)
    running.write("y\n")
    running.wait_for(READY)
    stop(running)

    running = up(machine, clone, *ANY)
    running.wait_for(READY)
    assert "Run and serve this?" not in running.output
    assert devtls(machine, f"{clone}/src", "down").status == 0
    running.wait()

    machine.write(f"{clone}/devtls.local.toml", "[services.web]\nreplicas = 1\n")
    running = up(machine, clone, *ANY)
    running.wait_for(QUESTION)
    assert "have changed since you trusted this project" in running.output
    running.write("y\n")
    running.wait_for(READY)
    assert [service["name"] for service in status_of(machine, clone)["services"]] == ["web", "api"]
    stop(running)
    machine.run(["devtls", "clean"], cwd=clone, check=True)
    assert state_of(machine) == before


def test_a_real_domain_is_typed_by_a_person_and_named_by_a_script(machine: Machine) -> None:
    place = bring_small_app(machine, "shop")
    machine.write(f"{place}/devtls.toml", f'[domains."love.cat"]\n[services.web]\ncommand = "{WEB}"\n')
    refused = devtls(machine, place, "up", "-d", "--trust-project")
    assert refused.status == 2
    assert "devtls up --trust-project --allow-domain love.cat" in refused.stderr
    running = up(machine, place, *ANY)
    running.wait_for(QUESTION)
    running.write("y\n")
    running.wait_for("Type love.cat to serve it on this machine: ")
    running.write("love.cat\n")
    running.wait_for(READY)
    assert page_of(machine, "https://love.cat/").startswith("web / 300")
    stop(running)
    assert devtls(machine, place, "up", "-d").status == 0
    assert devtls(machine, place, "down").status == 0
    machine.run(["devtls", "clean"], cwd=place, check=True)
    named = devtls(machine, place, "up", "-d", "--trust-project", "--allow-domain", "love.cat")
    assert named.status == 0, named.output
    assert devtls(machine, place, "down").status == 0


def test_what_nginx_refuses_is_told_at_its_line_and_the_others_stay_served(machine: Machine) -> None:
    other = bring_small_app(machine, "other")
    running = up(machine, other, "other.test", "--app", small_app("127.0.0.1", "PORT", "other"))
    running.wait_for(READY)
    place = bring_small_app(machine, "shop")
    nginx = "nginx = '''\ngzip on;\ngzip_comp_level eleven;\n'''"
    text = f'[domains."shop.test"]\n{nginx}\n[services.web]\ncommand = "{WEB}"\n'
    machine.write(f"{place}/devtls.toml", text)
    refused = devtls(machine, place, "up", "-d", "--trust-project")
    assert refused.status == 2, refused.output
    assert (
        'nginx refuses your own directives: devtls.toml:4: "gzip_comp_level" directive invalid number' in refused.output
    )
    assert page_of(machine, "https://other.test/").startswith("other / 300")
    machine.write(f"{place}/devtls.toml", text.replace("eleven", "9; include /etc/passwd"))
    refused = devtls(machine, place, "up", "-d", "--trust-project")
    assert (refused.status, refused.stderr.partition(" ")[0]) == (2, "devtls.toml:4:"), refused.output
    machine.write(f"{place}/devtls.toml", text.replace("eleven", "9"))
    assert devtls(machine, place, "up", "-d", "--trust-project").status == 0
    assert page_of(machine, "https://shop.test/").startswith("web / 300")
    assert devtls(machine, place, "down").status == 0
    assert page_of(machine, "https://other.test/").startswith("other / 300")
    stop(running)


def test_a_linked_worktree_serves_the_same_file_below_its_branch(machine: Machine, clone: str) -> None:
    identity = "-c user.name=dev -c user.email=dev@example.com"
    machine.write(f"{clone}/devtls.toml", FILE.replace('cwd = "backend"', 'cwd = "backend"\nport = 3000'))
    make = f"git add . && git {identity} commit -qm begin && git worktree add -q -b fix ../fix"
    machine.run(["sh", "-c", make], cwd=clone, check=True)
    assert devtls(machine, clone, "up", "-d", "--trust-project").status == 0
    branch = devtls(machine, "/home/dev/fix", "up", "-d", "--trust-project")
    assert branch.status == 0, branch.output
    assert page_of(machine, "https://shop.test/api/x") == "api /x 3000 shop.test"
    page = page_of(machine, "https://fix.shop.test/api/x")
    assert page.startswith("api /x 30")
    assert page.endswith(" fix.shop.test")
    assert page != "api /x 3000 fix.shop.test"
    assert page_of(machine, "https://fix.www.shop.test/healthz") == "fine\n"
    assert "x-cat: purr $1" in head_of(machine, "https://fix.shop.test/")
    for place in (clone, "/home/dev/fix"):
        assert devtls(machine, place, "down").status == 0
