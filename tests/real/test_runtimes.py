"""`devtls env` and `devtls exec`: programs trust our authorities where no store does, and everybody else as before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.real.clients import ask, bring_clients, make_stranger, question, sign
from tests.real.love_cat import bring_example, devtls
from tests.real.machine import Machine
from tests.real.test_browsers import authority_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.installation import Installed

OF_THE_SYSTEM = ("curl", "git", "openssl", "Python", "Ruby", "Go", "Java")
OF_THEIR_OWN = ("Node", "Bun", "Deno")
DEAF = ("wget", "gnutls-cli")  # GnuTLS reads no variable: only the system's store leads them
VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "DENO_CERT", "PIP_CERT")
JAVA = "/home/dev/java"  # a project of Java's, where JAVA_TOOL_OPTIONS is set
CORPORATE = "/home/dev/corporate.pem"


class Stage:
    """A machine with an authority for love.cat that no store trusts, and two strangers."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        made = machine.run(["devtls", "cert", "love.cat"], check=True)
        assert "no store of this machine trusts" in made.stdout
        issuer = machine.read(f"{authority_for(machine, 'love.cat')}/issuer.pem")
        public, public_key = make_stranger("a public authority")
        corporate, corporate_key = make_stranger("a company's authority")
        machine.write("/usr/local/share/ca-certificates/public.crt", public, user="root")
        machine.run(["update-ca-certificates"], user="root", check=True)
        machine.write(CORPORATE, corporate)
        machine.write(f"{JAVA}/pom.xml", "")
        self.love = {"host": "love.cat", **sign(issuer, "love.cat", 30)}
        self.public = {"host": "public.example", **sign(public_key, "public.example", 30)}
        self.corporate = {"host": "company.example", **sign(corporate_key, "company.example", 30)}

    def environment(self, **preset: str) -> dict[str, str]:
        """What `devtls env` sets, where these are set already."""
        said = self.machine.run(["devtls", "env", "--json"], cwd=JAVA, env=preset, check=True)
        variables: dict[str, str] = json.loads(said.stdout)["variables"]
        return {**preset, **variables}

    def answers(
        self, clients: tuple[str, ...], shown: list[dict[str, str]], environment: dict[str, str]
    ) -> dict[str, list[str]]:
        """What each client makes of each certificate."""
        told = ask(self.machine, [question(each, shown, environment) for each in clients])
        return {name: [one[0] for one in each] for name, each in zip(clients, told, strict=True)}


@pytest.fixture(scope="module")
def stage(installed: Installed) -> Iterator[Stage]:
    bring_clients(installed)
    with Machine(installed, "free") as machine:
        yield Stage(machine)


def test_without_it_nobody_trusts_us_and_the_public_authority_is_trusted(stage: Stage) -> None:
    answers = stage.answers((*OF_THE_SYSTEM, *DEAF), [stage.love, stage.public], {})
    assert answers == {key: ["REFUSED", "ACCEPTED"] for key in (*OF_THE_SYSTEM, *DEAF)}
    assert stage.answers(OF_THEIR_OWN, [stage.love], {}) == {key: ["REFUSED"] for key in OF_THEIR_OWN}


def test_with_it_each_trusts_us_and_the_public_authority(stage: Stage) -> None:
    environment = stage.environment()
    answers = stage.answers(OF_THE_SYSTEM, [stage.love, stage.public], environment)
    assert answers == {key: ["ACCEPTED", "ACCEPTED"] for key in OF_THE_SYSTEM}
    assert stage.answers(OF_THEIR_OWN, [stage.love], environment) == {key: ["ACCEPTED"] for key in OF_THEIR_OWN}
    deaf = stage.answers(DEAF, [stage.love, stage.public], environment)
    assert deaf == {key: ["REFUSED", "ACCEPTED"] for key in DEAF}, "docs/trust.md says that they read no variable"


def test_what_a_company_had_set_is_trusted_as_before(stage: Stage) -> None:
    preset = dict.fromkeys(VARIABLES, CORPORATE)
    clients = tuple(each for each in (*OF_THE_SYSTEM, *OF_THEIR_OWN) if each != "Java")
    answers = stage.answers(clients, [stage.love, stage.corporate], stage.environment(**preset))
    assert answers == {key: ["ACCEPTED", "ACCEPTED"] for key in clients}


def test_a_system_whose_bundle_is_its_only_store_loses_nothing(stage: Stage) -> None:
    """As on Fedora: there is no directory of links beside the bundle that would save a replaced one."""
    hide = "cd /etc/ssl/certs && mkdir -p /run/links && mv *.0 /run/links"
    stage.machine.run(["sh", "-c", hide], user="root", check=True)
    try:
        environment = stage.environment()
        answers = stage.answers(("curl", "openssl", "Python", "Ruby"), [stage.love, stage.public], environment)
    finally:
        stage.machine.run(["sh", "-c", "mv /run/links/*.0 /etc/ssl/certs"], user="root", check=True)
    assert answers == {key: ["ACCEPTED", "ACCEPTED"] for key in answers}


def test_exec_becomes_the_command(stage: Stage) -> None:
    machine = stage.machine
    code = machine.run(["devtls", "exec", "--", "sh", "-c", 'test -s "$SSL_CERT_FILE" && exit 7'])
    assert (code.status, code.output) == (7, "")
    words = machine.run(["devtls", "exec", "printf", "%s|", "--json", "a b", "*"], check=True)
    assert words.stdout == "--json|a b|*|"
    nobody = machine.run(["devtls", "exec", "--", "no-such-program"])
    assert (nobody.status, "there is no program 'no-such-program'" in nobody.stderr) == (127, True)
    machine.write("/home/dev/not-a-program", "x", mode="644")
    assert machine.run(["devtls", "exec", "--", "./not-a-program"]).status == 126
    piped = machine.run(["bash", "-c", "devtls exec -- yes | head -n1; echo ${PIPESTATUS[0]}"])
    assert piped.output == "y\n141\n"
    killed = machine.run(["sh", "-c", "devtls exec -- sh -c 'kill -9 $$'; echo $?"])
    assert killed.stdout.strip() == "137"


def test_what_env_prints_is_for_the_shell_that_reads_it(stage: Stage) -> None:
    machine = stage.machine
    read = machine.run(["sh", "-c", 'eval "$(devtls env)" && test -s "$NODE_EXTRA_CA_CERTS" && echo "$SSL_CERT_FILE"'])
    assert read.status == 0, read.output
    assert "/devtls/environment/" in read.stdout
    fish = machine.run(["devtls", "env"], env={"SHELL": "/usr/bin/fish"}, check=True).stdout
    assert fish.startswith("set -gx SSL_CERT_FILE '/home/dev/")
    elsewhere = {"XDG_DATA_HOME": "/home/dev/it's here"}
    machine.run(["cp", "-R", "/home/dev/.local/share", "/home/dev/it's here"], check=True)
    quoted = machine.run(["sh", "-c", 'eval "$(devtls env)" && test -s "$SSL_CERT_FILE" && echo read'], env=elsewhere)
    assert quoted.output == "read\n"


def test_a_service_trusts_what_it_is_served_with(stage: Stage) -> None:
    """Node, which reads no store, asks its own domain through the gateway."""
    machine = stage.machine
    place = bring_example(machine)
    app = (
        'const https = require("https"); require("./app.js");'
        'setInterval(() => https.get(process.env.DEVTLS_URL, a => console.log("asked", a.statusCode))'
        '.on("error", e => console.log("asked", e.message)), 500)'
    )
    machine.write(f"{place}/asking.js", app)
    started = devtls(machine, place, "up", "love.cat", "--app", "node asking.js", "--isolated", "-d")
    assert started.status == 0, started.output
    assert "devtls exec -- curl https://love.cat" in started.output
    assert "--ignore-certificate-errors-spki-list=" in started.output
    followed = machine.start(["devtls", "logs", "-f"], cwd=place)
    followed.wait_for(r"asked 200")
    followed.send_signal("INT")
    refused = machine.run(["curl", "-sS", "https://love.cat"])
    assert refused.status != 0, "no store was touched"
    assert machine.run(["devtls", "exec", "--", "curl", "-fsS", "https://love.cat"]).status == 0
    assert devtls(machine, place, "down").status == 0
    assert machine.run(["sh", "-c", "ls /usr/local/share/ca-certificates | grep -c devtls"]).stdout.strip() == "0"


def test_exported_trust_is_read_by_those_that_it_is_for(stage: Stage) -> None:
    machine = stage.machine
    written = machine.run(["devtls", "trust", "--export", "trust", "--json"], check=True)
    assert json.loads(written.stdout)["schema"] == "devtls.export/1"
    assert machine.run(["devtls", "trust", "--export", "trust"]).status == 0
    folder = "/home/dev/trust"
    for name in ("root.pem", "combined.pem", "truststore.p12", "README.md"):
        assert machine.run(["grep", "-c", "PRIVATE KEY", f"{folder}/{name}"]).stdout.strip() == "0"
    listed = machine.run(["keytool", "-list", "-keystore", f"{folder}/truststore.p12", "-storepass", ""], check=True)
    assert ("trustedCertEntry" in listed.stdout, "PrivateKeyEntry" in listed.stdout) == (True, False)
    java = {"JAVA_TOOL_OPTIONS": f"-Djavax.net.ssl.trustStore={folder}/truststore.p12"}
    both = [stage.love, stage.public]
    assert stage.answers(("Java",), both, java) == {"Java": ["ACCEPTED", "ACCEPTED"]}
    python = {"SSL_CERT_FILE": f"{folder}/combined.pem"}
    assert stage.answers(("Python",), both, python) == {"Python": ["ACCEPTED", "ACCEPTED"]}
    assert stage.answers(("Node",), [stage.love], {"NODE_EXTRA_CA_CERTS": f"{folder}/root.pem"}) == {
        "Node": ["ACCEPTED"]
    }
    machine.write("/home/dev/mine/root.pem", "mine")
    refused = machine.run(["devtls", "trust", "--export", "mine"])
    assert (refused.status, machine.read("/home/dev/mine/root.pem")) == (4, "mine")
