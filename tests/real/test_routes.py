"""What a project's routes lead to, as a browser or a program asks for it: every kind of target, through real nginx."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.real.clients import bring_grpc
from tests.real.love_cat import OVER, READY, bring_small_app, devtls, page_of, small_app, stop, up

if TYPE_CHECKING:
    from tests.real.machine import Machine
    from tests.real.running import Running

# One request is answered by what the file /tmp/asked.json says it saw; SSE and uploads tell how far they are.
NODE_APP = """
const http = require('http'), https = require('https'), fs = require('fs'), crypto = require('crypto')
let go = () => {}, seen = 0
function answer(request, response) {
  if (request.url === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\\n\\n')
    go = () => response.end('data: second\\n\\n')
  } else if (request.url === '/go') { go(); response.end('gone\\n')
  } else if (request.url === '/seen') { response.end(String(seen))
  } else if (request.url === '/upload') {
    const hash = crypto.createHash('sha256'); seen = 0
    request.on('data', chunk => { seen += chunk.length; hash.update(chunk) })
    request.on('end', () => response.end(hash.digest('hex')))
  } else if (request.url === '/cookies') {
    response.setHeader('set-cookie', 'big=' + 'x'.repeat(6000))
    response.end(String((request.headers.cookie || '').length))
  } else response.end(JSON.stringify({ url: request.url, headers: request.headers }))
}
const [, , kind, place] = process.argv
const own = kind === 'https' ? { key: fs.readFileSync('own.key'), cert: fs.readFileSync('own.pem') } : {}
const options = { ...own, maxHeaderSize: 65536 }
const server = (kind === 'https' ? https : http).createServer(options, answer)
server.listen(place || process.env.PORT, ...(kind === 'unix' ? [] : ['127.0.0.1']), () => console.log('listening'))
"""


def node_project(machine: Machine, folder: str = "shop") -> str:
    place = f"{machine.home('dev')}/{folder}"
    machine.write(f"{place}/app.js", NODE_APP)
    return place


def start_beside(machine: Machine, place: str, *words: str) -> Running:
    """A server that devtls does not run."""
    running = machine.start(list(words), cwd=place)
    running.wait_for("listening")
    return running


def head_of(machine: Machine, url: str, *words: str) -> str:
    return machine.run(["curl", "-sS", "-o", "/dev/null", "-D", "-", "--max-time", "20", *words, url]).output


def location_of(machine: Machine, url: str) -> str:
    return machine.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", url]).output


def test_each_route_leads_where_it_says(machine: Machine) -> None:
    place = bring_small_app(machine, "shop")
    make = "mkdir -p site/sub && echo home > site/index.html && echo sub > site/sub/index.html && echo x > site/.env"
    machine.run(["sh", "-c", make], cwd=place, check=True)
    start_beside(machine, place, *small_app("127.0.0.1", "9001", "foreign").split())
    words = ["--route", "/api=9001", "--route", "/bare=9001/", "--route", "/docs=site", "--route", "api.love.cat=9001"]
    words += ["--redirect", "/old=/new", "--redirect", "www.love.cat=love.cat"]
    words += ["--header", 'X-Cat: a "b" $c']
    running = up(machine, place, "love.cat", "www.love.cat", "api.love.cat", "--app", small_app(), *words)
    running.wait_for(READY)
    assert page_of(machine, "https://love.cat/") == " / 3000 love.cat"
    assert page_of(machine, "https://love.cat/api/x") == "foreign /api/x None love.cat"
    assert page_of(machine, "https://love.cat/bare/x?y=1") == "foreign /x?y=1 None love.cat"
    assert page_of(machine, "https://love.cat/bare") == "foreign / None love.cat"
    assert page_of(machine, "https://api.love.cat/x") == "foreign /x None api.love.cat"
    assert page_of(machine, "https://love.cat/docs/", "dev", "-L") == "home\n"
    assert page_of(machine, "https://love.cat/docs/sub", "dev", "-L") == "sub\n"
    assert "404" in head_of(machine, "https://love.cat/docs/.env")
    assert " 400 " in head_of(machine, "https://love.cat/docs/../../etc/passwd", "--path-as-is")
    assert location_of(machine, "https://love.cat/old/a?b=c") == "307 https://love.cat/new/a?b=c"
    assert location_of(machine, "https://love.cat/old//evil.com") == "307 https://love.cat/new"
    assert location_of(machine, "https://www.love.cat/a?b") == "307 https://love.cat/a?b"
    assert location_of(machine, "http://love.cat:443/a") == "307 https://love.cat:443/a"
    assert 'x-cat: a "b" $c' in head_of(machine, "https://love.cat/").lower()
    stop(running)


def test_a_folder_is_a_site_and_an_app_with_a_router_of_its_own_gets_every_path(machine: Machine) -> None:
    place = f"{machine.home('dev')}/shop"
    machine.write(f"{place}/dist/index.html", "<title>spa</title>")
    machine.write(f"{place}/dist/app.js", "let a = 1")
    running = up(machine, place, "love.cat", "--root", "dist", "--spa")
    running.wait_for(READY)
    assert "wss://" not in running.output
    assert page_of(machine, "https://love.cat/deep/er") == "<title>spa</title>"
    head = head_of(machine, "https://love.cat/app.js").lower()
    assert "content-type: text/javascript; charset=utf-8" in head
    assert "cache-control: no-cache" in head
    upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "--http1.1"]
    assert " 404 " in head_of(machine, "https://love.cat/chat", *upgrade)
    assert "processes left" in stop(running)


def test_replicas_answer_in_turn_and_a_sticky_browser_stays_with_its_own(machine: Machine) -> None:
    place = bring_small_app(machine, "shop")
    running = up(machine, place, "love.cat", "--app", small_app(), "--replicas", "3")
    running.wait_for(READY)
    answers = [page_of(machine, "https://love.cat/") for _ in range(9)]
    assert {answers.count(f" / {port} love.cat") for port in (3000, 3001, 3002)} == {3}
    stop(running)
    running = up(machine, place, "love.cat", "--app", small_app(), "--replicas", "3", "--sticky")
    running.wait_for(READY)
    jar = ["-b", "jar", "-c", "jar"]
    assert len({page_of(machine, "https://love.cat/", "dev", *jar) for _ in range(6)}) == 1
    assert len({page_of(machine, "https://love.cat/") for _ in range(6)}) == 3
    port = page_of(machine, "https://love.cat/", "dev", *jar).split()[1]
    services = json.loads(devtls(machine, place, "ps", "--json").stdout)["projects"][0]["services"]
    machine.kill(next(service["pid"] for service in services if str(service["port"]) == port))
    assert page_of(machine, "https://love.cat/", "dev", *jar).startswith(" / 300")
    stop(running)


def test_a_unix_socket_and_another_tls_server_are_reached(machine: Machine) -> None:
    place = node_project(machine)
    make = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.pem -subj /CN=x"
    )
    machine.run(["sh", "-c", make], cwd=place, check=True)
    start_beside(machine, place, "node", "app.js", "unix", f"{place}/app.sock")
    start_beside(machine, place, "node", "app.js", "https", "9443")
    routes = ["--route", f"/unix=unix:{place}/app.sock", "--route", "/tls=https://localhost:9443/"]
    running = up(machine, place, "love.cat", "--app", "node app.js http", *routes)
    running.wait_for(READY)
    assert json.loads(page_of(machine, "https://love.cat/unix/a"))["url"] == "/unix/a"
    seen = json.loads(page_of(machine, "https://love.cat/tls/a"))
    assert (seen["url"], seen["headers"]["host"], seen["headers"]["x-forwarded-prefix"]) == ("/a", "love.cat", "/tls")
    assert seen["headers"]["x-forwarded-proto"] == "https"
    stop(running)


def test_streams_uploads_and_big_headers_pass_as_they_come(machine: Machine) -> None:
    place = node_project(machine)
    running = up(machine, place, "love.cat", "--app", "node app.js http")
    running.wait_for(READY)
    events = machine.start(["curl", "-sSN", "--max-time", "60", "https://love.cat/events"])
    events.wait_for("data: first")  # while the answer is not over
    assert page_of(machine, "https://love.cat/go") == "gone\n"
    assert events.wait() == 0
    assert "data: second" in events.output
    size = 50 * 1024 * 1024
    script = f"(head -c {size // 2} /dev/zero; while [ ! -e on ]; do sleep 0.05; done; head -c {size // 2} /dev/zero)"
    ask = f"{script} | curl -sS --max-time 120 -T - https://love.cat/upload -X POST"
    upload = machine.start(["sh", "-c", ask], cwd=place)
    for _ in range(200):
        if int(page_of(machine, "https://love.cat/seen")) == size // 2:
            break
    else:
        pytest.fail("the app does not see the first half before the second is sent")
    machine.write(f"{place}/on", "")
    upload.wait_for(hashlib.sha256(bytes(size)).hexdigest(), 60)
    cookie = "big=" + "x" * 28000
    assert page_of(machine, "https://love.cat/cookies", "dev", "-H", f"Cookie: {cookie}") == str(len(cookie))
    assert "HTTP/2 200" in head_of(machine, "https://love.cat/", "--http2")
    stop(running)


def test_as_in_production_big_bodies_and_headers_are_refused(machine: Machine) -> None:
    place = node_project(machine)
    running = up(machine, place, "love.cat", "--prod-like", "--app", "node app.js http")
    running.wait_for(READY)
    body = ["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@-", "https://love.cat/upload"]
    answered = machine.run(["curl", "-sS", *body], stdin="x" * 1_100_000).output
    assert answered == "413"
    cookie = "big=" + "x" * 28000
    assert " 400 " in head_of(machine, "https://love.cat/cookies", "--http1.1", "-H", f"Cookie: {cookie}")
    stop(running)


GRPC_SERVER = """
const grpc = require('@grpc/grpc-js'), same = x => x
const way = (path, stream) => ({ path, requestStream: false, responseStream: stream, requestSerialize: same,
  requestDeserialize: same, responseSerialize: same, responseDeserialize: same })
const server = new grpc.Server()
server.addService({ say: way('/cat.Cat/Say', false), count: way('/cat.Cat/Count', true) }, {
  say: (call, done) => done(null, Buffer.from('meow ' + call.request)),
  count: call => { for (let n = 1; n <= 3; n++) call.write(Buffer.from(String(n))); call.end() } })
const here = '127.0.0.1:' + process.env.PORT
server.bindAsync(here, grpc.ServerCredentials.createInsecure(), () => console.log('listening'))
"""
GRPC_CLIENT = """
const grpc = require('@grpc/grpc-js'), same = x => x
const client = new grpc.Client(process.argv[2], grpc.credentials.createSsl())
const end = { deadline: Date.now() + 10000 }
client.makeUnaryRequest('/cat.Cat/Say', same, same, Buffer.from('mia'), new grpc.Metadata(), end, (error, answer) => {
  if (error) { console.log('code', error.code); process.exit() }
  const stream = client.makeServerStreamRequest('/cat.Cat/Count', same, same, Buffer.from(''), new grpc.Metadata(), end)
  let all = ''
  stream.on('data', part => all += part).on('end', () => { console.log(String(answer), all); process.exit() })
})
"""


def ask_by_exec(machine: Machine, place: str, env: dict[str, str], *words: str) -> str:
    """What a program says that trusts us."""
    return machine.run(["devtls", "exec", "--", *words], cwd=place, env=env).output


def test_grpc_is_spoken_and_a_service_that_is_down_is_unavailable_in_its_words(machine: Machine) -> None:
    modules = bring_grpc(machine.installed)
    place = bring_small_app(machine, "shop")
    machine.write(f"{place}/server.js", GRPC_SERVER)
    machine.write(f"{place}/client.js", GRPC_CLIENT)
    env = {"NODE_PATH": str(modules), "PORT": "50051"}
    server = machine.start(["node", "server.js"], cwd=place, env=env)
    server.wait_for("listening")
    words = ["love.cat", "rpc.love.cat", "--app", small_app(), "--route", "rpc.love.cat=grpc://127.0.0.1:50051"]
    running = up(machine, place, *words)
    running.wait_for(OVER)
    ask = ["node", "client.js", "rpc.love.cat:443"]
    assert ask_by_exec(machine, place, env, *ask) == "meow mia 123\n"
    server.send_signal("KILL")
    server.wait()
    assert ask_by_exec(machine, place, env, *ask) == "code 14\n"
    stop(running)


def test_an_app_that_speaks_grpc_alone_is_ready_without_a_page(machine: Machine) -> None:
    modules = bring_grpc(machine.installed)
    place = f"{machine.home('dev')}/rpc"
    machine.write(f"{place}/server.js", GRPC_SERVER)
    machine.write(f"{place}/client.js", GRPC_CLIENT)
    env = {"NODE_PATH": str(modules)}
    running = up(machine, place, "love.cat", "--app", "node server.js", "--scheme", "grpc", env=env)
    running.wait_for(READY)
    assert ask_by_exec(machine, place, env, "node", "client.js", "love.cat:443") == "meow mia 123\n"
    stop(running)
