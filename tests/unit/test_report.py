from __future__ import annotations

import json
from typing import Any

import pytest

from devtls import report
from devtls.errors import CommandFailedError, UsageError
from devtls.model import Check, Endpoint, Verdict
from devtls.plan import (
    Already,
    BindPorts,
    CreateAuthority,
    EditHosts,
    IssueLeaf,
    Item,
    LowerPorts,
    Plan,
    RunService,
    ServeSite,
    StartGateway,
    TrustRoots,
)
from devtls.report import Style

PLAIN = Style()
COLOURED = Style(colours=True)
RED = Check(
    "wss://love.cat/chat",
    Verdict.FAILED,
    "404",
    layer="service",
    code="ws-upgrade-missing",
    cure=("Add this:", "  proxy_http_version 1.1;"),
    evidence=("location / has none",),
)
GREEN = Check("https://love.cat/", Verdict.PASSED, "200 · 4 ms")


def status(**changes: Any) -> dict[str, Any]:
    url = "https://love.cat"
    service = {"name": "web", "state": "ready", "url": url, "port": 3000, "pid": 42, "uptime": 61.0, "restarts": 0}
    api = {"name": "api", "state": "backoff", "url": f"{url}/api", "port": 3001, "pid": None, "uptime": None}
    api["restarts"] = 3
    return {
        "directory": "/home/dev/shop",
        "state": "ready",
        "pid": 41,
        "urls": ["https://love.cat", "https://purr.cat"],
        "services": [service, api],
        "checks": [report.check_facts(GREEN)],
        **changes,
    }


@pytest.mark.parametrize(
    ("environment", "is_terminal", "has_colours"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),  # https://no-color.org: when not an empty string
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colours_are_for_terminals_and_for_who_asks(
    environment: dict[str, str], is_terminal: bool, has_colours: bool
) -> None:
    assert report.style_for(environment, is_terminal=is_terminal, encoding="utf-8").colours is has_colours


@pytest.mark.parametrize(
    ("encoding", "text"), [("UTF-8", "✓ a · b…"), ("utf8", "✓ a · b…"), (None, "✓ a · b…"), ("ascii", "+ a - b...")]
)
def test_a_terminal_gets_the_characters_that_it_has(encoding: str | None, text: str) -> None:
    style = report.style_for({}, is_terminal=True, encoding=encoding)
    assert style.spell("✓ a · b…") == text


def test_a_character_without_a_plain_form_does_not_break_an_ascii_terminal() -> None:
    assert Style(utf8=False).spell("bücher → 猫") == "b\\xfccher -> \\u732b"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (CreateAuthority(("localhost", "test")), ("CA for localhost and test", "no other")),
        (IssueLeaf("love.cat"), ("certificate love.cat", "")),
        (EditHosts(("love.cat", "purr.cat")), ("/etc/hosts", "love.cat, purr.cat")),
        (TrustRoots("system store", True, ()), ("trust: system store", "as root")),
        (TrustRoots("Chromium", False, ()), ("trust: Chromium", "")),
        (
            BindPorts((Endpoint("127.0.0.1", 443),), (Endpoint("::1", 80),), True),
            ("port 443 and 80", "bound through sudo, held by you"),
        ),
        (BindPorts((Endpoint("127.0.0.1", 443),), (), False), ("port 443", "on this machine only")),
        (LowerPorts(), ("ports from 80 up", "every user of this machine may listen on them")),
        (StartGateway("nginx 1.22.1"), ("gateway", "nginx 1.22.1")),
        (ServeSite(("love.cat", "purr.cat")), ("serve", "love.cat, purr.cat")),
        (RunService("web", ("node", "my app.js"), 3000), ("web: node 'my app.js'", "PORT=3000")),
    ],
)
def test_a_step_is_told_with_its_subject_and_its_fact(item: Item, words: tuple[str, str]) -> None:
    line = report.render_item(item, "would", PLAIN)
    assert line.startswith(f"  would    {words[0]}")
    assert line.endswith(words[1])


def test_what_is_so_is_told_as_already_whatever_is_asked() -> None:
    assert report.render_item(Already("gateway", "nginx"), "now", PLAIN).split() == ["already", "gateway", "nginx"]


def test_what_became_of_a_step_replaces_what_was_planned() -> None:
    line = report.render_item(IssueLeaf("love.cat"), "now", PLAIN, "valid until 2030-01-02")
    assert line.split() == ["now", "certificate", "love.cat", "valid", "until", "2030-01-02"]


def test_a_plan_is_one_line_an_item_and_its_notices_with_their_cures() -> None:
    plan = Plan((Already("gateway"), IssueLeaf("love.cat")), (("port 80 is taken", ("  kill 7",)),), ("love.cat",))
    assert report.render_plan(plan, PLAIN) == [
        "  already  gateway",
        "  would    certificate love.cat",
        "! port 80 is taken",
        "      kill 7",
    ]


def render_something_of_each(style: Style) -> str:
    item = report.render_item(IssueLeaf("love.cat"), "now", style, "fact")
    return "\n".join([item, *report.render_checks([RED, GREEN], style), *report.render_status([status()], style)])


def test_colours_change_no_word() -> None:
    painted = render_something_of_each(COLOURED)
    assert "\x1b[31m" in painted
    for number in (31, 32, 33, 90, 0):
        painted = painted.replace(f"\x1b[{number}m", "")
    assert painted == render_something_of_each(PLAIN)


def test_an_error_is_the_fact_what_to_do_and_the_command_each_on_its_own_line() -> None:
    assert report.render_error(UsageError("no app was named", "Give it:", "  devtls up"), PLAIN) == [
        "devtls: no app was named",
        "  Give it:",
        "    devtls up",
    ]


def test_a_failed_command_shows_what_was_run_and_what_it_said() -> None:
    error = CommandFailedError(["nginx", "-t", "a b"], 1, "line 1\nline 2\n", "Mend it.")
    assert report.render_error(error, PLAIN) == [
        "devtls: `nginx -t 'a b'` failed with exit status 1",
        "  line 1",
        "  line 2",
        "  Mend it.",
    ]


def test_a_green_check_is_one_line_and_the_facts_are_in_one_column() -> None:
    lines = report.render_checks([GREEN, RED], PLAIN)
    assert lines == [
        "✓ https://love.cat/    200 · 4 ms",
        "✗ wss://love.cat/chat  404",
        "    location / has none",
        "    Add this:",
        "      proxy_http_version 1.1;",
    ]


def test_a_check_that_found_nothing_out_is_neither_green_nor_red() -> None:
    lines = report.render_checks(
        [Check("wss://love.cat", Verdict.UNKNOWN, "no endpoint found", cure=("Name it.",))], PLAIN
    )
    assert lines == ["? wss://love.cat  no endpoint found", "    Name it."]


def test_no_checks_are_no_lines() -> None:
    assert report.render_checks([], PLAIN) == []


@pytest.mark.parametrize("check", [RED, GREEN])
def test_a_check_survives_json(check: Check) -> None:
    assert report.parse_check(json.loads(json.dumps(report.check_facts(check)))) == check


def test_the_json_of_a_check_has_these_keys() -> None:
    assert list(report.check_facts(RED)) == ["subject", "verdict", "fact", "layer", "code", "cure", "evidence"]
    assert report.check_facts(RED)["verdict"] == "failed"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (59.94, "59.9 s"),
        (60, "1 min"),
        (150, "2 min"),
        (3540, "59 min"),
        (3600, "1 h"),
        (90000, "25 h"),
    ],
)
def test_a_duration_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert report.render_seconds(seconds) == words


def test_a_status_is_a_table_with_its_checks_below() -> None:
    assert report.render_status([status()], PLAIN) == [
        "/home/dev/shop  ready, pid 41",
        "SERVICE  STATE    URL                   PORT  PID  UPTIME  RESTARTS",
        "web      ready    https://love.cat      3000  42   1 min   0",
        "api      backoff  https://love.cat/api  3001  -    -       3",
        "✓ https://love.cat/  200 · 4 ms",
    ]


def test_each_project_has_a_table_of_its_own() -> None:
    lines = report.render_status([status(), status(directory="/home/dev/blog")], PLAIN)
    assert [line for line in lines if line.startswith("/")] == [
        "/home/dev/shop  ready, pid 41",
        "/home/dev/blog  ready, pid 41",
    ]


def test_a_cure_that_checks_in_a_row_share_is_told_once_and_all_are_counted() -> None:
    cure = ("Have it trusted:", "  devtls trust")
    checks = [
        Check("curl", Verdict.FAILED, "refuses", cure=cure),
        Check("git", Verdict.FAILED, "refuses", cure=cure),
        Check("Node", Verdict.NOTED, "own list"),
        Check("Ruby", Verdict.PASSED, "trusts"),
    ]
    assert report.render_diagnosis(checks, Style()) == [
        "✗ curl  refuses",
        "✗ git   refuses",
        "    Have it trusted:",
        "      devtls trust",
        "! Node  own list",
        "✓ Ruby  trusts",
        "1 fine, 1 to know, 2 broken",
    ]


def test_of_very_many_green_checks_the_rest_is_counted() -> None:
    checks = [Check(f"https://n{number}.test", Verdict.PASSED, "200") for number in range(100)]
    red = Check("https://bad.test", Verdict.FAILED, "502")
    lines = report.render_checks([*checks, red], Style())
    assert len(lines) == 40 + 1 + 1
    assert lines[-2:] == ["✗ https://bad.test  502", "✓ 60 more"]
