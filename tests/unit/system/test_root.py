from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from devtls import hosts
from devtls.model import Endpoint
from devtls.system import root
from devtls.system.root_script import CHECK_HOSTS, LOOK, Anchors, Status, render_script
from devtls.system.run import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EDIT = root.EditHosts(b"127.0.0.1 localhost\n", b"127.0.0.1 localhost\n# devtls: begin\n# devtls: end\n")
STARTED = b"devtls: started\n"
DEBIAN = Anchors(
    directory="/usr/local/share/ca-certificates",
    suffix=".crt",
    bundle="/etc/ssl/certs/ca-certificates.crt",
    after_adding="update-ca-certificates",
    after_removing="update-ca-certificates --fresh",
    links="/etc/ssl/certs",
    java_hook="/etc/ca-certificates/update.d/jks-keystore",
)
FEDORA = Anchors(
    "/etc/pki/ca-trust/source/anchors",
    ".pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "update-ca-trust extract",
    "update-ca-trust extract",
)


class FakeRunner:
    """Answers from a list, and keeps what was asked."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[tuple[str, ...], bytes]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        assert not check
        assert environment is None
        assert timeout > 60
        self.asked.append((tuple(argv), stdin))
        status, stdout = self.answers.pop(0)
        return Completed(tuple(argv), status, stdout, stdout.decode())


def call(*operations: root.Operation, uid: int = 1000) -> root.RootCall:
    return root.render_call(operations or (EDIT,), uid=uid, gid=1000, python="/opt/py thon", has_groups=True)


def words_of(rendered: root.RootCall) -> tuple[str, ...]:
    return rendered.argv[4:]


def test_one_static_script_is_run_and_contents_come_on_standard_input() -> None:
    rendered = call(
        root.RemoveRoot("devtls-0000000a", DEBIAN), root.InstallRoot("devtls-0000000b", b"PEM\n", DEBIAN), EDIT
    )
    assert rendered.argv[:4] == ("/bin/sh", "-c", render_script({"hosts", "install", "remove"}, DEBIAN), "devtls")
    digest = hashlib.sha256(EDIT.old).hexdigest()
    assert words_of(rendered) == (
        *("hosts", digest, str(len(EDIT.new))),
        *("install", "devtls-0000000b", "4"),
        *("remove", "devtls-0000000a"),
    )
    assert rendered.stdin == EDIT.new + b"PEM\n"


def test_the_ports_come_last_and_are_bound_as_the_user() -> None:
    endpoints = (Endpoint("127.0.0.1", 443), Endpoint("::1", 443))
    words = words_of(call(root.Bind(endpoints, Path("/run/it's ünusual/s")), EDIT))
    assert words[3:7] == ("bind", "1000", "1000", "--init-groups")
    assert words[7:9] == ("/opt/py thon", "-I")
    assert Path(words[9]).name == "binder.py"
    assert words[10:] == ("/run/it's ünusual/s", "127.0.0.1:443", "[::1]:443")


def test_everything_that_will_run_is_in_the_text() -> None:
    rendered = call(root.EditHosts(b"a\n", b"a\n127.0.0.1 love.cat # devtls\n"))
    assert rendered.text.startswith(
        "edit /etc/hosts:\n  + 127.0.0.1 love.cat # devtls\nsudo /bin/sh -c SCRIPT devtls hosts "
    )
    assert all(line in rendered.text for line in render_script({"hosts"}).splitlines())


def test_lowering_the_ports_is_told_with_what_it_means_and_asks_for_this_user() -> None:
    rendered = call(root.LowerPorts())
    assert words_of(rendered) == ("lower-ports", "1000")
    assert rendered.text.startswith("let every user of this machine listen on the ports from 80 up:\n  set net.ipv4.")
    back = call(root.RestorePorts(1024))
    assert words_of(back) == ("restore-ports",)
    assert back.text.startswith("set net.ipv4.ip_unprivileged_port_start=1024 again, and remove /etc/sysctl.d/")
    assert "lower_ports" not in back.text


def test_a_route_is_asked_for_this_user_and_told_with_what_it_means() -> None:
    rendered = call(root.RouteNames(("love.cat", "other.test")))
    assert words_of(rendered) == ("route", "1000", "2", "love.cat", "other.test")
    assert rendered.text.startswith("have systemd-resolved ask 127.0.0.1:15353 for names below love.cat, other.test:\n")
    assert "it asks there for every other name, too" in rendered.text
    back = call(root.RouteNames(()))
    assert words_of(back) == ("route", "1000", "0")
    assert back.text.startswith("have systemd-resolved ask as before: without your domains in /etc/systemd/")


def test_a_call_has_only_the_parts_that_it_needs() -> None:
    text = call(root.Bind((Endpoint("127.0.0.1", 443),), Path("/run/s"))).text
    assert "setpriv" in text
    assert "update-ca-certificates" not in text
    assert "/etc/hosts" not in text


@pytest.mark.parametrize("anchors", [DEBIAN, FEDORA], ids=lambda anchors: anchors.after_adding)
@pytest.mark.parametrize("verbs", [{verb} for verb in LOOK] + [set(LOOK)], ids=str)
def test_the_script_is_one_for_every_shell_that_is_called_sh(verbs: set[str], anchors: Anchors) -> None:
    subprocess.run(["/bin/sh", "-n", "-c", render_script(verbs, anchors)], check=True)
    subprocess.run(["bash", "--posix", "-n", "-c", render_script(verbs, anchors)], check=True)


def test_the_script_names_one_store_only() -> None:
    fedora = call(root.InstallRoot("devtls-0000000b", b"PEM\n", FEDORA))
    assert "update-ca-certificates" not in fedora.text
    assert "--- tell Java" not in fedora.text
    assert "--- tell Java" in call(root.RemoveRoot("devtls-0000000a", DEBIAN)).text
    change = "trust devtls-0000000b: /etc/pki/ca-trust/source/anchors/devtls-0000000b.pem, update-ca-trust extract"
    assert fedora.text.startswith(change)


def test_a_call_changes_one_store_and_knows_which() -> None:
    with pytest.raises(ValueError, match="one store"):
        call(root.RemoveRoot("devtls-0000000a", DEBIAN), root.RemoveRoot("devtls-0000000b", FEDORA))
    with pytest.raises(ValueError, match="not said which"):
        render_script({"install"})


@pytest.mark.parametrize("word", ["/etc/x'; rm -rf /; '", "update $(reboot)", "a\nb", "a;b"])
def test_root_is_given_plain_words_only(word: str) -> None:
    with pytest.raises(ValueError, match="root is not given"):
        render_script({"install"}, msgspec.structs.replace(FEDORA, after_adding=word))


def test_another_file_than_the_hosts_file_is_not_edited() -> None:
    with pytest.raises(ValueError, match="root edits /etc/hosts only"):
        call(root.EditHosts(b"", b"", Path("/etc/passwd")))


def test_root_itself_needs_no_sudo() -> None:
    runner = FakeRunner((0, STARTED + b"devtls: done hosts\n"))
    result = root.call_root(call(uid=0), interactive=False, run=runner, uid=0, sudo=None)
    assert result == root.RootDone(("hosts",), (), "devtls: started\ndevtls: done hosts\n")
    assert runner.asked[0][0][0] == "/bin/sh"


def test_sudo_is_asked_without_a_prompt_first() -> None:
    runner = FakeRunner((0, STARTED))
    root.call_root(call(), interactive=True, run=runner, uid=1000, sudo="/usr/bin/sudo")
    assert [argv[:3] for argv, _stdin in runner.asked] == [("/usr/bin/sudo", "-n", "--")]
    assert runner.asked[0][1] == EDIT.new


def test_at_a_terminal_sudo_may_ask_for_the_password() -> None:
    runner = FakeRunner((1, b""), (0, STARTED + b"devtls: done hosts\n"))
    result = root.call_root(call(), interactive=True, run=runner, uid=1000, sudo="/usr/bin/sudo")
    assert isinstance(result, root.RootDone)
    assert [argv[:2] for argv, _stdin in runner.asked][1] == ("/usr/bin/sudo", "--")


@pytest.mark.parametrize(
    ("sudo", "interactive", "reason"),
    [
        (None, True, "there is no sudo on this machine"),
        ("/usr/bin/sudo", False, "sudo needs a password, and there is no terminal to ask on"),
        ("/usr/bin/sudo", True, "sudo refused: it said nothing"),
    ],
)
def test_a_refusal_is_a_value_with_its_reason(sudo: str | None, interactive: bool, reason: str) -> None:
    runner = FakeRunner((1, b""), (1, b""))
    result = root.call_root(call(), interactive=interactive, run=runner, uid=1000, sudo=sudo)
    assert isinstance(result, root.RootRefused)
    assert (result.reason, bool(result.cure)) == (reason, True)


def test_a_hosts_file_that_changed_meanwhile_is_its_own_answer() -> None:
    runner = FakeRunner((Status.CHANGED_MEANWHILE, STARTED))
    assert root.call_root(call(), interactive=False, run=runner, uid=0, sudo=None) == root.HostsChanged()


def test_what_is_not_possible_is_told_beside_what_was_done() -> None:
    runner = FakeRunner((0, STARTED + b"devtls: failed 42 hosts\ndevtls: done install devtls-0000000b\n"))
    result = root.call_root(call(), interactive=False, run=runner, uid=0, sudo=None)
    assert isinstance(result, root.RootDone)
    assert (result.done, result.failed) == (("install devtls-0000000b",), (("hosts", Status.IMMUTABLE),))
    assert root.why_failed(result.failed[0][1])[1][-1] == "  sudo chattr -i -a /etc/hosts"


def test_a_store_that_fails_tells_its_command_and_what_it_said() -> None:
    lines = [b"devtls: said $ update-ca-certificates", b"devtls: said cannot open", b"devtls: failed 47 install x"]
    runner = FakeRunner((0, STARTED + b"\n".join(lines) + b"\n"))
    result = root.call_root(call(), interactive=False, run=runner, uid=0, sudo=None)
    assert isinstance(result, root.RootDone)
    _fact, cure = root.why_failed(result.failed[0][1], result.said)
    assert cure[1:3] == ("| $ update-ca-certificates", "| cannot open")


def test_of_a_long_complaint_the_command_and_the_end_are_shown() -> None:
    said = "".join(f"devtls: said {number}\n" for number in range(100))
    _fact, cure = root.why_failed(Status.STORE_FAILED, said)
    assert cure[1:4] == ("| 0", "| …", "| 92")
    assert cure[-2] == "| 99"


def test_a_refusal_by_the_script_tells_what_it_said_and_what_to_do() -> None:
    runner = FakeRunner((Status.NO_STORE, STARTED + b"no room\n"))
    result = root.call_root(call(), interactive=False, run=runner, uid=0, sudo=None)
    assert isinstance(result, root.RootFailed)
    assert (result.done, result.said) == ((), "no room")
    assert "ca-certificates" in result.cure[-1]


def test_every_way_the_script_fails_has_a_fact() -> None:
    assert {*root.FACTS, Status.CHANGED_MEANWHILE} == set(Status)
    script = render_script(set(LOOK), DEBIAN)
    assert all(re.search(rf"(fail|return|failed) {status}\b", script) for status in Status)


def test_the_script_knows_the_marks_of_the_hosts_block() -> None:
    rendered = hosts.render(b"x", ["love.cat"], ipv6=True).split(b"\n")[1:-1]
    pattern = CHECK_HOSTS.split("-x -E '")[1].split("'")[0]
    for line in [*rendered, hosts.BEGIN]:
        grep = subprocess.run(["grep", "-x", "-E", pattern], input=line, check=False, capture_output=True)
        assert grep.returncode == 0, line
