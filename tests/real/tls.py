"""A TLS server for one certificate, and Java as its client."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CLIENT = """
import java.net.*;
import javax.net.ssl.*;

class Client {
    public static void main(String[] words) throws Exception {
        Socket plain = new Socket("127.0.0.1", Integer.parseInt(words[1]));
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        SSLSocket socket = (SSLSocket) factory.createSocket(plain, words[0], 0, true);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        try {
            socket.startHandshake();
            System.out.println("accepted");
        } catch (SSLHandshakeException error) {
            System.out.println("refused: " + error.getMessage());
        }
    }
}
"""


@contextlib.contextmanager
def serving(pem: Path, inside: Sequence[str] = ()) -> Iterator[int]:
    """Serve the chain and the key of a file on a free port of 127.0.0.1; `inside` enters another network."""
    serve = [
        *inside,
        "openssl",
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-www",
        "-cert",
        str(pem),
        "-cert_chain",
        str(pem),
    ]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout
        line = next(line for line in iter(server.stdout.readline, b"") if line.startswith(b"ACCEPT"))
        try:
            yield int(line.decode().strip().rpartition(":")[2])
        finally:
            server.kill()


def compile_client(place: Path) -> Path:
    """Make Client.class and return the directory it is in."""
    source = place / "Client.java"
    source.write_text(CLIENT)
    subprocess.run(["javac", "-d", str(place), str(source)], check=True, capture_output=True)
    return place


def ask_java(classes: Path, host: str, port: int, *, java: str = "java", inside: Sequence[str] = ()) -> str:
    """What Java says to the server: "accepted", or "refused: …"."""
    argv = [*inside, java, "-cp", os.fspath(classes), "Client", host, str(port)]
    environment = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def java_set(keystore: str, *, inside: Sequence[str] = ()) -> set[tuple[str, str]]:
    """What a keystore holds: (SHA-256, kind of entry) pairs."""
    argv = [*inside, "keytool", "-list", "-keystore", keystore, "-storepass", "changeit"]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}).stdout
    kinds = [line.split(", ")[-1].strip(" ,") for line in lines.splitlines() if line.endswith("Entry, ")]
    prints = [line.split("): ")[1] for line in lines.splitlines() if line.startswith("Certificate fingerprint")]
    assert len(kinds) == len(prints) > 0, lines
    return set(zip(prints, kinds, strict=True))
