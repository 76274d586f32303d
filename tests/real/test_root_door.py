from __future__ import annotations

import ast
import json
import os
import re
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from devtls import hosts
from tests.real._root_door import PYTHON, USER, Machine, throw_away_machine
from tests.real.running import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 0xFFFFFFFF  # an entry that is not about one user or group
HOSTS_OF_TEST = "127.0.0.1 localhost\\n10.1.2.3 db.internal # mine"  # on purpose without a final newline


@pytest.fixture
def machine() -> Iterator[Machine]:
    with throw_away_machine() as made:
        made.root(f"printf '{HOSTS_OF_TEST}' > /etc/hosts")
        yield made


def hosts_of(machine: Machine) -> str:
    return machine.root("cat /etc/hosts")


def test_a_user_adds_a_name_by_sudo_and_takes_it_away_byte_for_byte(machine: Machine) -> None:
    before = machine.root("sha256sum /etc/hosts; stat -c '%a %U %G' /etc/hosts")
    litter = "ls /etc/.hosts* /tmp/devtls.* 2> /dev/null || :"
    others = machine.root(litter)  # /tmp is the whole machine's
    added = machine.user("hosts=love.cat")
    assert added["result"] == "RootDone", added
    assert added["done"] == ["hosts"]
    assert "127.0.0.1 love.cat # devtls\n::1 love.cat # devtls\n" in hosts_of(machine)
    assert "10.1.2.3 db.internal # mine\n" in hosts_of(machine)
    assert machine.root("getent ahosts love.cat").startswith("::1")
    machine.user("hosts=")
    assert machine.root("sha256sum /etc/hosts; stat -c '%a %U %G' /etc/hosts") == before
    assert machine.root(litter) == others


def test_a_hosts_file_that_changed_meanwhile_is_not_written(machine: Machine) -> None:
    before = hosts_of(machine)
    assert machine.user("stale=love.cat")["result"] == "HostsChanged"
    assert hosts_of(machine) == before


@pytest.mark.parametrize("line", ["10.0.0.1 bank.example", "10.0.0.1 love.cat # devtls", "127.0.0.1 $(id) # devtls"])
def test_root_refuses_an_edit_that_is_not_a_line_of_ours(machine: Machine, line: str) -> None:
    before = hosts_of(machine)
    result = machine.user(f"tamper={line}")
    assert (result["result"], result["done"]) == ("RootFailed", [])
    assert hosts_of(machine) == before


def test_a_mounted_hosts_file_is_written_in_place(machine: Machine) -> None:
    machine.root("mkdir /mnt/outside && cp /etc/hosts /mnt/outside/ && mount --bind /mnt/outside/hosts /etc/hosts")
    assert machine.user("hosts=love.cat")["result"] == "RootDone"
    assert "127.0.0.1 love.cat # devtls" in machine.root("cat /mnt/outside/hosts")
    machine.user("hosts=")
    assert machine.root("cat /mnt/outside/hosts") == HOSTS_OF_TEST.replace("\\n", "\n")


def test_a_full_disk_leaves_the_old_file(machine: Machine) -> None:
    machine.root(
        "mkdir /mnt/full && mount -t tmpfs -o size=64k,mode=755 tmpfs /mnt/full && head -c 8180 /dev/zero |"
        " tr '\\0' '#' > /mnt/full/hosts && (cat /dev/zero > /mnt/full/rest || :) 2> /dev/null"
    )
    machine.root("ln -sf /mnt/full/hosts /etc/hosts")
    before = machine.root("sha256sum /mnt/full/hosts")
    result = machine.user("hosts=love.cat,www.love.cat")
    assert (result["result"], result["done"], result["failed"]) == ("RootDone", [], [["hosts", 44]])
    assert "could not be written" in result["fact"]
    assert "No space left" in result["said"]
    assert machine.root("sha256sum /mnt/full/hosts") == before


def test_a_read_only_hosts_file_is_told_with_its_cure(machine: Machine) -> None:
    machine.root(
        "mkdir /mnt/o && cp /etc/hosts /mnt/o/ && mount --bind /mnt/o /mnt/o && mount -o remount,ro,bind /mnt/o"
    )
    machine.root("mount --bind /mnt/o/hosts /etc/hosts && mount -o remount,ro,bind /etc/hosts")
    result = machine.user("hosts=love.cat")
    assert (result["result"], result["done"], result["failed"]) == ("RootDone", [], [["hosts", 43]])
    assert "read-only" in result["fact"]


def test_an_immutable_hosts_file_is_told_with_its_cure(machine: Machine) -> None:
    place = machine.library / "hosts"
    place.write_text("127.0.0.1 localhost\n")
    subprocess.run(["chattr", "+i", place], check=True)
    try:
        machine.root('mount --bind "$1" /etc/hosts', str(place))
        result = machine.user("hosts=love.cat")
    finally:
        subprocess.run(["chattr", "-i", place], check=True)
    assert (result["result"], result["done"], result["failed"]) == ("RootDone", [], [["hosts", 42]])
    assert "immutable" in result["fact"]
    assert result["cure"][-1] == "  sudo chattr -i -a /etc/hosts"


# As setfacl -m u:nobody:r writes it: the version, then tag, rights and id of each entry (linux/posix_acl_xattr.h).
ACL = struct.pack(
    "<I" + "HHI" * 5, 2, *(1, 6, NOBODY), *(2, 4, 65534), *(4, 4, NOBODY), *(16, 4, NOBODY), *(32, 0, NOBODY)
)
ATTRIBUTES = {
    "trusted.mark": b"kept",
    "security.selinux": b"system_u:object_r:net_conf_t:s0\0",
    "system.posix_acl_access": ACL,
}


@pytest.mark.parametrize("place", ["file", "mount"])
def test_owner_mode_acl_label_and_extended_attributes_of_the_hosts_file_are_kept(machine: Machine, place: str) -> None:
    machine.root(f"chown daemon:{USER} /etc/hosts && chmod 640 /etc/hosts")
    if place == "mount":
        machine.root(
            "mkdir /mnt/outside && cp -a /etc/hosts /mnt/outside/ && mount --bind /mnt/outside/hosts /etc/hosts"
        )
    marks = "; ".join(f"os.setxattr('/etc/hosts', {name!r}, {value!r})" for name, value in ATTRIBUTES.items())
    look = "import os; print(sorted((each, os.getxattr('/etc/hosts', each)) for each in os.listxattr('/etc/hosts')))"
    machine.root(f'/usr/bin/python3 -c "import os; {marks}"')
    inode = machine.root("stat -c %i /etc/hosts")
    assert machine.user("hosts=love.cat")["result"] == "RootDone"
    assert "love.cat" in hosts_of(machine)
    assert (machine.root("stat -c %i /etc/hosts") == inode) == (place == "mount")
    assert machine.root("stat -c '%a %U %G' /etc/hosts") == f"640 daemon {USER}\n"
    assert ast.literal_eval(machine.root(f'/usr/bin/python3 -c "{look}"')) == sorted(ATTRIBUTES.items())


def test_the_file_reaches_the_disk_before_its_name_and_the_directory_after(machine: Machine) -> None:
    trace = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2", "-o", "/mnt/trace"]
    program = ["env", f"PYTHONPATH={machine.library}", PYTHON, str(machine.library / "_root_door.py"), "hosts=love.cat"]
    machine.root('"$@"', *trace, *program)
    calls = machine.root("cat /mnt/trace")
    assert re.search(
        r'fsync\(\d+</etc/(\.hosts\.devtls\.\w+)>\) += 0(?s:.*)rename.*"/etc/\1".*"/etc/hosts".* = 0(?s:.*)'
        r"fsync\(\d+</etc>\) += 0",
        calls,
    ), calls


def test_an_edit_that_is_ended_halfway_leaves_the_file_and_no_copy(machine: Machine) -> None:
    before = hosts_of(machine)
    script = """#!/bin/sh\nkill -TERM "$PPID"\nexec /mnt/cp.real "$@"\n"""
    machine.root('cp /usr/bin/cp /mnt/cp.real && printf "$1" > /mnt/cp && chmod 755 /mnt/cp', script)
    machine.root("mount --bind /mnt/cp /usr/bin/cp")
    result = machine.user("hosts=love.cat")
    assert (result["result"], "143" in result["fact"]) == ("RootFailed", True)
    assert hosts_of(machine) == before
    assert machine.root("ls /etc/.hosts* 2> /dev/null || :") == ""


def test_of_three_who_edit_at_once_each_gets_its_name(machine: Machine) -> None:
    names = ["a.test", "b.test", "c.test"]
    argv = machine.user_argv([PYTHON, str(machine.library / "_root_door.py")])
    running = [
        subprocess.Popen([*argv, f"add={name}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in names
    ]
    said = [each.communicate() for each in running]
    assert all(json.loads(out)["result"] == "RootDone" for out, _err in said), said
    assert sorted(hosts.names_in_block(hosts_of(machine).encode())) == names


def test_an_edit_waits_for_the_one_that_is_under_way(machine: Machine) -> None:
    holder_argv = machine.inside(["flock", "/run/devtls.lock", "sh", "-c", "echo held; read line"])
    with subprocess.Popen(holder_argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin
        assert holder.stdout
        holder.stdout.readline()
        edit = machine.user_argv([PYTHON, str(machine.library / "_root_door.py"), "hosts=love.cat"])
        with subprocess.Popen(edit, stdout=subprocess.PIPE, text=True) as waiting:
            wait_until(lambda: "flock" in machine.root("ps -eo args | grep '[f]lock -w' || :"), "it waits for the lock")
            assert "love.cat" not in hosts_of(machine)
            holder.stdin.write("\n")
            holder.stdin.flush()
            out, _err = waiting.communicate()
    assert json.loads(out)["result"] == "RootDone"
    assert "love.cat" in hosts_of(machine)


def test_a_lock_that_is_never_freed_ends_the_wait_and_is_told(machine: Machine) -> None:
    # As busybox' flock, which knows no -w: then nobody is waited for.
    script = """#!/bin/sh\n[ "$1" != -w ] || exit 1\nexec /mnt/flock.real "$@"\n"""
    machine.root('cp /usr/bin/flock /mnt/flock.real && printf "$1" > /mnt/flock && chmod 755 /mnt/flock', script)
    machine.root("mount --bind /mnt/flock /usr/bin/flock")
    before = hosts_of(machine)
    holder_argv = machine.inside(["/mnt/flock.real", "/run/devtls.lock", "sh", "-c", "echo held; read line"])
    with subprocess.Popen(holder_argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        holder.stdout.readline()
        result = machine.user("hosts=love.cat")
        holder.kill()
    assert (result["result"], "does not end" in result["fact"]) == ("RootFailed", True)
    assert hosts_of(machine) == before


def test_nobody_but_root_can_hold_the_lock(machine: Machine) -> None:
    assert machine.user("hosts=love.cat")["result"] == "RootDone"
    assert machine.root("stat -c '%a %U' /run/devtls.lock") == "600 root\n"
    assert machine.as_user(["flock", "-n", "/run/devtls.lock", "true"]).returncode != 0
    assert machine.as_user(["touch", "/run/other.lock"]).returncode != 0


def test_a_hosts_file_of_a_hundred_thousand_lines_is_edited_too(machine: Machine) -> None:
    machine.root("seq -f '0.0.0.0 ads%.0f.example' 100000 >> /etc/hosts")
    before = machine.root("sha256sum /etc/hosts")
    assert machine.user("hosts=love.cat")["result"] == "RootDone"
    assert machine.user("hosts=")["result"] == "RootDone"
    assert machine.root("sha256sum /etc/hosts") == before


def test_a_link_into_a_directory_of_the_user_is_not_followed(machine: Machine) -> None:
    machine.root(f"cp /etc/hosts /home/{USER}/hosts && ln -sf /home/{USER}/hosts /etc/hosts")
    result = machine.user("hosts=love.cat")
    assert result["result"] == "RootFailed"
    assert "link" in result["fact"]


def test_the_user_binds_443_and_80_on_both_families_without_being_root(machine: Machine) -> None:
    direct = machine.as_user(["/usr/bin/python3", "-c", "import socket; socket.socket().bind(('127.0.0.1', 443))"])
    assert "PermissionError" in direct.stderr
    result = machine.user(f"bind={machine.home}")
    assert result["result"] == "RootDone", result
    assert sorted(result["bound"]) == sorted(["127.0.0.1:443", "[::1]:443", "127.0.0.1:80", "[::1]:80"])
    assert not any(result["inheritable"])


def test_hosts_and_ports_are_one_call(machine: Machine) -> None:
    result = machine.user("hosts=love.cat", f"bind={machine.home}")
    assert (result["done"], len(result["bound"])) == (["hosts"], 4)


def test_the_binder_keeps_one_capability_and_cannot_become_root(machine: Machine) -> None:
    flags = "--inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service"
    become = f"setpriv --reuid {USER} --regid {USER} --init-groups {flags} --bounding-set=-all,+net_bind_service --"
    status = machine.root(f"{become} grep Cap /proc/self/status")
    assert {line.split()[1] for line in status.splitlines()} == {"0000000000000400"}
    assert "uid=0" not in machine.root(f"{become} sudo -n id 2>&1 || :")


def test_a_port_that_is_taken_is_told_and_the_other_one_is_had(machine: Machine) -> None:
    listen = "import socket, time; s = socket.create_server(('0.0.0.0', 80)); print(flush=True); time.sleep(600)"
    argv = machine.inside(["/usr/bin/python3", "-c", listen])
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        result = machine.user(f"bind={machine.home}")
        holder.kill()
    assert sorted(result["bound"]) == ["127.0.0.1:443", "[::1]:443"]
    assert result["refused"] == [["127.0.0.1:80", "taken"]]


def test_without_a_right_to_sudo_nothing_is_run_and_the_reason_is_told(machine: Machine) -> None:
    machine.root(f"rm /etc/sudoers.d/{USER}")
    result = machine.user("hosts=love.cat")
    assert (result["result"], result["reason"]) == (
        "RootRefused",
        "sudo needs a password, and there is no terminal to ask on",
    )


def test_sudo_asks_on_the_terminal_while_the_script_reads_what_it_writes(machine: Machine) -> None:
    machine.root(f"echo '{USER}:secret word' | chpasswd && echo '{USER} ALL=(ALL) ALL' > /etc/sudoers.d/{USER}")
    terminal, other_end = os.openpty()
    program = ["setsid", "--ctty", "--wait", "/usr/bin/python3", str(machine.library / "_root_door.py")]
    with subprocess.Popen(
        machine.user_argv([*program, "interactive", "hosts=love.cat"]),
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
    ):
        os.close(other_end)
        said = read_until(terminal, b"password for")
        os.write(terminal, b"secret word\n")
        said += read_until(terminal, b"}")
    os.close(terminal)
    assert b'"result": "RootDone"' in said, said
    assert "127.0.0.1 love.cat # devtls" in hosts_of(machine)


def read_until(terminal: int, words: bytes) -> bytes:
    said = b""
    while words not in said:
        said += os.read(terminal, 4096)
    return said
