"""What a browser and a program get while the app cannot answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.real.browsers import chromium
from tests.real.love_cat import assert_nothing_runs, bring_example, devtls, page_of, status_of
from tests.real.running import wait_until

if TYPE_CHECKING:
    from tests.real.machine import Machine

# An app that takes its time once there is a file "slow", and ends at once when there is "broken".
APP = "if [ -e broken ]; then echo 'no <b>database</b>'; exit 7; fi; [ ! -e slow ] || sleep 6; exec node app.js"


def serve(machine: Machine) -> str:
    place = bring_example(machine)
    started = devtls(machine, place, "up", "love.cat", "--app", f'sh -c "{APP}"', "-d")
    assert started.status == 0, started.output
    return place


def test_while_the_app_starts_a_page_waits_for_it_and_becomes_the_apps(machine: Machine) -> None:
    place = serve(machine)
    machine.run(["touch", f"{place}/slow"], check=True)
    restarting = machine.start(["devtls", "restart"], cwd=place)
    wait_until(lambda: "503" in page_of(machine, "https://love.cat", "dev", "-I"), "the app is down")
    seen = chromium(machine, "https://love.cat", awaited="Hello, World!")
    assert (seen.error, seen.status) == ("", 503)
    assert "Hello, World!" in seen.text, seen.text
    assert restarting.wait() == 0, restarting.output
    assert devtls(machine, place, "down").status == 0
    assert_nothing_runs(machine)


def test_when_the_app_has_crashed_its_last_words_are_shown_to_whoever_asks(machine: Machine) -> None:
    place = serve(machine)
    machine.run(["touch", f"{place}/broken"], check=True)
    assert devtls(machine, place, "restart").status == 1
    wait_until(lambda: status_of(machine, place)["services"][0]["state"] == "failed", "it is given up")
    page = chromium(machine, "https://love.cat", awaited="web has crashed")
    assert page.status == 503
    for text in ("web has crashed", "devtls restart web", "no <b>database</b>", "reloads by itself"):
        assert text in page.text, page.text
    assert page.png.startswith(b"\x89PNG")
    facts = json.loads(page_of(machine, "https://love.cat/any?x", "dev", "-H", "Accept: application/json"))
    assert (facts["schema"], facts["state"], facts["last_lines"][-1]) == (
        "devtls.down/1",
        "crashed",
        "no <b>database</b>",
    )
    posted = page_of(machine, "https://love.cat/form", "dev", "-i", "-d", "a=1")
    assert posted.startswith("HTTP/2 503"), posted
    assert "retry-after: 1" in posted
    assert "devtls: web exited with status 7" in posted
    machine.run(["rm", f"{place}/broken"], check=True)
    assert devtls(machine, place, "restart").status == 0
    assert "<title>love.cat" in page_of(machine, "https://love.cat")
    assert devtls(machine, place, "down").status == 0


def test_what_the_app_itself_answers_is_passed_on_as_it_is(machine: Machine) -> None:
    server = (
        "import http.server as h, os\n"
        "class P(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(502); self.send_header('Content-Length', '5'); self.end_headers()\n"
        "        self.wfile.write(b'mine!')\n"
        "h.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), P).serve_forever()\n"
    )
    machine.write("/home/dev/mine/app.py", server)
    devtls(machine, "/home/dev/mine", "up", "mine.test", "--app", "python3 app.py", "-d")
    answer = page_of(machine, "https://mine.test", "dev", "-i")
    assert answer.startswith("HTTP/2 502"), answer
    assert answer.endswith("mine!")
    assert "x-devtls" not in answer
    assert devtls(machine, "/home/dev/mine", "down").status == 0
