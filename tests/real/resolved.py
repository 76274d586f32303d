"""A real systemd-resolved inside a private machine, and a name server there that stands for the internet.

It is never installed where the tests run, for its package takes /etc/resolv.conf over: it is downloaded, unpacked
beside devtls, and started inside by hand on a bus of its own. The one stand-in is `systemctl`, since no systemd runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.real.running import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.real.installation import Installed
    from tests.real.machine import Machine

PACKAGES = (
    "systemd-resolved",
    "libnss-resolve",
    "libsystemd-shared",
)  # of one version: the library's interface is nobody else's
INTERNET = "203.0.113.7"  # RFC 5737: where every name leads that the internet knows
UPSTREAM = "10.9.9.1"

# $1: the unpacked packages. /run is the machine's own; /usr is not, so what is put in /usr/bin is in an overlay.
START = r"""
set -eu
mkdir -p /run/overlay/bin/upper /run/overlay/bin/work /run/systemd /run/dbus /etc/dbus-1/system.d
mount -t overlay -o lowerdir=/usr/bin,upperdir=/run/overlay/bin/upper,workdir=/run/overlay/bin/work overlay /usr/bin
ip link add eth0 type veth peer name eth1
ip address add 10.9.9.1/24 dev eth0
ip link set eth0 up
ip link set eth1 up
ip route add default via 10.9.9.254
id systemd-resolve > /dev/null 2>&1 || useradd --system --no-create-home systemd-resolve
id messagebus > /dev/null 2>&1 || useradd --system --no-create-home messagebus
cp "$1/usr/share/dbus-1/system.d/org.freedesktop.resolve1.conf" /etc/dbus-1/system.d/
cp "$1/etc/systemd/resolved.conf" /etc/systemd/
library=$(dirname "$(find "$1" -name 'libsystemd-shared-*.so')")
resolved=$(find "$1" -name systemd-resolved -type f -perm -u+x)
cat > /usr/bin/resolvectl <<END
#!/bin/sh
LD_LIBRARY_PATH=$library exec $1/usr/bin/resolvectl "\$@"
END
cat > /usr/bin/systemctl <<END
#!/bin/sh
echo "\$*" >> /run/told
running() { pid=\$(cat /run/resolved.pid 2> /dev/null) && kill -0 "\$pid" 2> /dev/null; }
case "\$*" in
  'is-active --quiet systemd-resolved') running ;;
  'reload-or-restart systemd-resolved')
    ! running || kill "\$pid"
    while running; do sleep 0.01; done
    setsid --fork sh -c 'echo \$\$ > /run/resolved.pid; LD_LIBRARY_PATH=$library exec $resolved' \
      < /dev/null > /run/resolved.log 2>&1
    for _ in \$(seq 200); do ! resolvectl dns > /dev/null 2>&1 || exit 0; sleep 0.05; done
    exit 1 ;;
  *) exit 1 ;;
esac
END
chmod 755 /usr/bin/resolvectl /usr/bin/systemctl
dbus-daemon --system --fork --nopidfile
systemctl reload-or-restart systemd-resolved || { cat /run/resolved.log >&2; exit 1; }
resolvectl dns eth0 10.9.9.1
echo 'nameserver 127.0.0.53' > /etc/resolv.conf.new && mv /etc/resolv.conf.new /etc/resolv.conf
sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf
"""

# Says where every name leads, but that those below nx. are not there; and tells what it was asked.
NAME_SERVER = f"""
import dnslib
from dnslib.server import BaseResolver, DNSLogger, DNSServer
class Internet(BaseResolver):
    def resolve(self, request, handler):
        reply, name = request.reply(), str(request.q.qname)
        print(name, flush=True)
        if name.startswith("nx."):
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        elif request.q.qtype == dnslib.QTYPE.A:
            reply.add_answer(dnslib.RR(name, rdata=dnslib.A("{INTERNET}"), ttl=0))
        return reply
DNSServer(Internet(), address="{UPSTREAM}", port=53, logger=DNSLogger("")).start()
"""

LOOK_UP = """
import json, socket, sys
try:
    print(json.dumps(sorted({each[4][0] for each in socket.getaddrinfo(sys.argv[1], None)})))
except socket.gaierror as error:
    print(json.dumps(error.strerror))
"""


def unpack_resolved(installed: Installed) -> Path:
    """Download and unpack systemd-resolved beside devtls, once; nothing of it is installed."""
    place = installed.directory / "resolved"
    if (place / "root").is_dir():
        return place / "root"
    if missing := [each for each in ("apt-get", "dpkg-deb", "dbus-daemon") if not shutil.which(each)]:
        pytest.fail(f"these programs are missing: {', '.join(missing)}")
    place.mkdir(exist_ok=True)
    _run(["apt-get", "download", *PACKAGES], place)
    for package in place.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(package), "root"], place)
    _run(["chmod", "-R", "a+rX", str(place)], place)
    return place / "root"


def start_resolved(machine: Machine) -> None:
    """Have the machine's programs ask systemd-resolved, and that one the internet, by way of eth0."""
    root = unpack_resolved(machine.installed)
    machine.run(["sh", "-c", START, "sh", str(root)], user="root", check=True)
    python = machine.installed.devtls.with_name("python")
    machine.start([str(python), "-I", "-c", NAME_SERVER], user="root")
    wait_until(lambda: look_up(machine, "www.example.org") == [INTERNET], "the internet to be there")


def with_nss_resolve(machine: Machine) -> dict[str, str]:
    """Have programs ask systemd-resolved by its own library alone, as on Fedora; return what they need to find it."""
    change = ": > /etc/resolv.conf; sed -i 's/^hosts:.*/hosts: files resolve [!UNAVAIL=return] dns/' /etc/nsswitch.conf"
    machine.run(["sh", "-c", change], user="root", check=True)
    (library,) = unpack_resolved(machine.installed).rglob("libnss_resolve.so.2")
    return {"LD_LIBRARY_PATH": str(library.parent)}


def look_up(machine: Machine, name: str, user: str = "dev", env: Mapping[str, str] | None = None) -> list[str] | str:
    """Where a name leads, as getaddrinfo says, or why nowhere."""
    asked = machine.run(["/usr/bin/python3", "-I", "-c", LOOK_UP, name], user=user, env=env)
    found: list[str] | str = json.loads(asked.stdout)
    return found


def settings_of(machine: Machine) -> str:
    """What systemd-resolved was told, by files and by networks."""
    show = "find /etc/systemd | sort; cat /etc/systemd/resolved.conf; resolvectl dns; resolvectl domain"
    return machine.run(["sh", "-c", show], user="root", check=True).output


def _run(argv: list[str], place: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    ended = subprocess.run(argv, cwd=place, env=environment, umask=0o022, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        pytest.fail(f"{' '.join(argv)} failed (is `apt-get update` due?):\n{ended.stdout}{ended.stderr}")
