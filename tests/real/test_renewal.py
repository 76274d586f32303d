"""Certificates that come due while a project runs, or while its machine slept: the clock is libfaketime's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.real.love_cat import READY, UP, bring_example, devtls, stop, up
from tests.real.running import wait_until

if TYPE_CHECKING:
    from tests.real.machine import Machine
    from tests.real.running import Running

CLOCK = "/root/clock"
# Root needs no sudo, which drops LD_PRELOAD. Only the date is moved: what measures how long something took goes on, as
# it does on a machine that slept.
FAKE_CLOCK = {
    "LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "FAKETIME_TIMESTAMP_FILE": CLOCK,
    "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
}

# A chat that goes on until its standard input ends: each message comes back before the next one is sent.
CHAT = """
import glob, select, ssl, sys
from websockets.sync.client import connect
context = ssl.create_default_context(cadata="".join(open(path).read() for path in glob.glob(sys.argv[1])))
with connect("wss://love.cat/chat", ssl=context, proxy=None) as socket:
    print(socket.recv(), flush=True)
    told = 0
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        socket.send(str(told))
        assert socket.recv(timeout=20) == str(told)
        told += 1
print("told", told, flush=True)
"""

# Whom the gateway serves love.cat with: the serial and the end of the certificate, as the handshake shows them.
SHOWN = """
set -eu
openssl s_client -connect 127.0.0.1:443 -servername love.cat < /dev/null 2> /dev/null |
  openssl x509 -noout -serial -enddate
"""


def shown(machine: Machine) -> str:
    return machine.run(["sh", "-c", SHOWN], user="root", check=True).stdout


def set_clock(machine: Machine, offset: str) -> None:
    machine.write(CLOCK, f"{offset}\n", user="root")


def serve(machine: Machine) -> tuple[str, Running]:
    """Serve the example under a clock of its own, which is right; what the machine needs is there already."""
    place = bring_example(machine, "root")
    for words in ((*UP[1:], "-d"), ("down",)):
        assert devtls(machine, place, *words, user="root").status == 0
    set_clock(machine, "+0d")
    running = up(machine, place, *UP[2:], user="root", env=FAKE_CLOCK)
    running.wait_for(READY)
    return place, running


def test_a_certificate_is_renewed_while_a_chat_goes_on(machine: Machine) -> None:
    place, running = serve(machine)
    roots = "/root/.local/share/devtls/ca/*/root.pem"
    chat = machine.start([str(machine.installed.python), "-c", CHAT, roots], user="root")
    chat.wait_for("Hello, World!")
    before = shown(machine)
    set_clock(machine, "+19d")
    assert shown(machine) == before
    set_clock(machine, "+21d")
    running.wait_for(r"^devtls \| the certificate of love\.cat is renewed, valid until")
    running.wait_for(r"^devtls \| the certificate of love\.cat\.localhost is renewed, valid until")
    wait_until(lambda: shown(machine) != before, "the gateway serves the new certificate")
    chat.write_all("")
    assert chat.wait() == 0, chat.output
    assert int(chat.wait_for(r"^told (\d+)$")[1]) > 0
    status = json.loads(machine.run(["devtls", "ps", "--json"], user="root", cwd=place, env=FAKE_CLOCK).stdout)
    assert status["projects"][0]["state"] == "ready", status
    stop(running)


def test_what_expired_while_the_machine_slept_is_renewed_when_it_wakes_up(machine: Machine) -> None:
    _place, running = serve(machine)
    before = shown(machine)
    set_clock(machine, "+100d")
    running.wait_for(r"^devtls \| the certificate of love\.cat is renewed, valid until")
    wait_until(lambda: shown(machine) != before, "the gateway serves the new certificate")
    stop(running)
