"""What is told to people: values -> lines. Pure; `cli` and the session print what this returns."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, assert_never

from msgspec import Struct
from msgspec.structs import replace

from devtls.errors import FileError
from devtls.model import Check, Verdict, is_loopback, spell_host
from devtls.plan import (
    Already,
    BindPorts,
    CreateAuthority,
    EditHosts,
    IssueLeaf,
    LowerPorts,
    RetireRoots,
    RunService,
    ServeSite,
    StartGateway,
    TrustRoots,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from devtls.errors import DevtlsError, Problem
    from devtls.model import Endpoint
    from devtls.plan import Item, Plan

MOST_GREEN = 40  # checks told one by one
SUBJECT_WIDTH = 34  # characters; a longer subject pushes its fact to the right
PLAIN = str.maketrans({"✓": "+", "✗": "x", "·": "-", "…": "...", "→": "->"})  # for terminals that are not UTF-8


class Style(Struct, frozen=True):
    """How lines look where they are printed."""

    colours: bool = False
    utf8: bool = True

    def paint(self, text: str, colour: int) -> str:
        """Text in an SGR colour, where colours are wanted."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours else text

    def spell(self, text: str) -> str:
        """Text in the characters that the terminal has."""
        return text if self.utf8 else text.translate(PLAIN).encode("ascii", "backslashreplace").decode()

    def good(self, text: str) -> str:
        """Green."""
        return self.paint(text, 32)

    def bad(self, text: str) -> str:
        """Red."""
        return self.paint(text, 31)

    def odd(self, text: str) -> str:
        """Yellow."""
        return self.paint(text, 33)

    def quiet(self, text: str) -> str:
        """Grey."""
        return self.paint(text, 90)


def style_for(environment: Mapping[str, str], *, is_terminal: bool, encoding: str | None) -> Style:
    """Return the style of an output: NO_COLOR, then FORCE_COLOR, then whether it is a terminal."""
    colours = is_terminal and environment.get("TERM") != "dumb"
    if environment.get("FORCE_COLOR"):
        colours = True
    if environment.get("NO_COLOR"):
        colours = False
    return Style(colours, (encoding or "utf-8").lower().replace("-", "") == "utf8")


def render_plan(plan: Plan, style: Style) -> list[str]:
    """What is so already and what would be done; for --dry-run."""
    return [*(render_item(item, "would", style) for item in plan.items), *render_notices(plan.notices, style)]


def plan_facts(plan: Plan) -> dict[str, Any]:
    """A plan for JSON (schema devtls.plan/1)."""
    items = [(isinstance(item, Already), *describe_item(item)) for item in plan.items]
    return {
        "schema": "devtls.plan/1",
        "items": [{"already": already, "subject": subject, "fact": fact} for already, subject, fact in items],
        "notices": [{"fact": fact, "cure": list(cure)} for fact, cure in plan.notices],
        "needs_root": plan.needs_root,
    }


def error_facts(error: DevtlsError) -> dict[str, Any]:
    """A mistake for JSON (schema devtls.error/1)."""
    facts: dict[str, Any] = {"message": str(error), "cure": list(error.cure), "exit_code": error.exit_code}
    if isinstance(error, FileError):
        facts["problems"] = [{**each._asdict(), "cure": list(each.cure)} for each in error.problems]
    return {"schema": "devtls.error/1", **facts}


def render_item(item: Item, word: str, style: Style, fact: str = "") -> str:
    """One line of a plan, or of what became of it: "already", "now" or "would"."""
    subject, told = describe_item(item)
    if isinstance(item, Already):
        return _line("already", subject, told, style)
    return _line(word, subject, fact or told, style)


def render_done(subject: str, fact: str, style: Style, word: str = "now") -> str:
    """One line about something that was done just now."""
    return _line(word, subject, fact, style)


def _line(word: str, subject: str, fact: str, style: Style) -> str:
    shown = style.quiet(word.ljust(7)) if word == "already" else style.good(word.ljust(7))
    return f"  {shown}  {subject.ljust(SUBJECT_WIDTH)}  {style.quiet(fact)}" if fact else f"  {shown}  {subject}"


def describe_item(item: Item) -> tuple[str, str]:  # noqa: C901, PLR0911 - one line for each kind of item
    """The subject of a step, and the fact about it."""
    match item:
        case Already(subject, fact):
            return subject, fact
        case CreateAuthority(subtrees):
            return f"CA for {' and '.join(subtrees)}", "can sign these names and those below them, no other"
        case IssueLeaf(host):
            return f"certificate {spell_host(host)}", ""
        case EditHosts(names):
            return "/etc/hosts", ", ".join(names)
        case TrustRoots(store, needs_root, _subtrees):
            return f"trust: {store}", "as root" if needs_root else ""
        case RetireRoots(store, needs_root, ids):
            return f"past their date: {store}", ", ".join(f"devtls-{each}" for each in ids)
        case BindPorts(https, http, needs_root):
            ports = " and ".join(str(endpoints[0].port) for endpoints in (https, http) if endpoints)
            return f"port {ports}", _describe_reach(https, needs_root=needs_root)
        case LowerPorts():
            return "ports from 80 up", "every user of this machine may listen on them"
        case StartGateway(nginx):
            return "gateway", nginx
        case ServeSite(hosts):
            return "serve", ", ".join(hosts)
        case RunService(name, argv, port):
            return f"{name}: {shlex.join(argv)}", f"PORT={port}"
        case _:
            assert_never(item)


def _describe_reach(https: Sequence[Endpoint], *, needs_root: bool) -> str:
    if not all(is_loopback(endpoint.host) for endpoint in https):
        return "for your whole network"
    return "bound through sudo, held by you" if needs_root else "on this machine only"


def render_notices(notices: Iterable[tuple[str, tuple[str, ...]]], style: Style) -> list[str]:
    """Facts that the user should know and can change, with how."""
    lines = []
    for fact, cure in notices:
        lines += [f"{style.odd('!')} {fact}", *(f"    {line}" for line in cure)]
    return lines


def render_error(error: DevtlsError, style: Style) -> list[str]:
    """The fact, what to do, the exact command, each on its own line."""
    if isinstance(error, FileError):
        return [line for each in error.problems for line in _render_problem(each, style)]
    first, *rest = str(error).splitlines() or [""]
    return [f"{style.bad('devtls:')} {first}", *(f"  {line}" for line in rest), *(f"  {line}" for line in error.cure)]


def _render_problem(problem: Problem, style: Style) -> list[str]:
    lines = [f"{style.bad(_printable(problem.origin))}: {_printable(problem.fact)}"]
    return [*lines, *(f"  {_printable(line)}" for line in problem.cure)]


def render_check(check: Check, width: int, style: Style) -> list[str]:
    """One line a check; the cure and the evidence below it when it is not green."""
    mark = {
        Verdict.PASSED: style.good("✓"),
        Verdict.FAILED: style.bad("✗"),
        Verdict.UNKNOWN: style.odd("?"),
        Verdict.NOTED: style.odd("!"),
    }[check.verdict]
    lines = [f"{mark} {check.subject.ljust(width)}  {check.fact}"]
    if check.verdict is not Verdict.PASSED:
        lines += [f"    {style.quiet(line)}" for line in check.evidence]
        lines += [f"    {line}" for line in check.cure]
    return lines


def render_checks(checks: Sequence[Check], style: Style) -> list[str]:
    """All checks of a project, their facts in one column; of very many green ones the rest is counted."""
    green = [check for check in checks if check.verdict is Verdict.PASSED]
    untold = green[MOST_GREEN:]
    told = [check for check in checks if check not in untold] if untold else checks
    width = max((len(check.subject) for check in told), default=0)
    lines = [line for check in told for line in render_check(check, width, style)]
    return [*lines, *([f"{style.good('✓')} {len(untold)} more"] if untold else [])]


def render_diagnosis(checks: Sequence[Check], style: Style) -> list[str]:
    """What `doctor` says; a cure that several checks in a row share is told once, below the last of them."""
    following = [*(check.cure for check in checks[1:]), ()]
    told = [
        replace(check, cure=()) if check.cure == after else check
        for check, after in zip(checks, following, strict=True)
    ]
    return [*render_checks(told, style), _count(checks)]


def _count(checks: Sequence[Check]) -> str:
    """The last line: "12 fine, 2 to know, 1 broken"."""
    count = {verdict: sum(check.verdict is verdict for check in checks) for verdict in Verdict}
    known = count[Verdict.NOTED] + count[Verdict.UNKNOWN]
    return f"{count[Verdict.PASSED]} fine, {known} to know, {count[Verdict.FAILED]} broken"


def _printable(name: str) -> str:
    """A folder's name without what a terminal would obey, or cannot show."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in name)


def render_seconds(seconds: float) -> str:
    """A duration as people say it: "0.4 s", "2 min", "3 h"."""
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 60 else f"{minutes / 60:.0f} h"  # noqa: PLR2004 - minutes in an hour


def render_stopped(seconds: float, left: int, still_here: Sequence[str]) -> list[str]:
    """The last words of a session; the very last say how many processes are left."""
    last = f"stopped in {render_seconds(seconds)}, {left} processes left"
    if not still_here:
        return [last]
    names, verb = ", ".join(still_here), "leads" if len(still_here) == 1 else "lead"
    back = f"`devtls hosts clean {' '.join(still_here)}` takes that back"
    return [f"{names} still {verb} to this machine; {back}.", last]


def check_facts(check: Check) -> dict[str, Any]:
    """A check for JSON."""
    return {
        "subject": check.subject,
        "verdict": str(check.verdict),
        "fact": check.fact,
        "layer": check.layer,
        "code": check.code,
        "cure": list(check.cure),
        "evidence": list(check.evidence),
    }


def parse_check(facts: Mapping[str, Any]) -> Check:
    """The check in its facts."""
    texts = {name: tuple(facts[name]) for name in ("cure", "evidence")}
    return Check(
        facts["subject"], Verdict(facts["verdict"]), facts["fact"], layer=facts["layer"], code=facts["code"], **texts
    )


def render_status(statuses: Sequence[Mapping[str, Any]], style: Style) -> list[str]:
    """The table of `ps`: one row a service, the checks of each project below it."""
    header = ("SERVICE", "STATE", "URL", "PORT", "PID", "UPTIME", "RESTARTS")
    lines: list[str] = []
    for status in statuses:
        rows = [header, *(_service_row(service) for service in status["services"])]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        lines.append(style.quiet(f"{_printable(status['directory'])}  {status['state']}, pid {status['pid']}"))
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        lines += render_checks([parse_check(facts) for facts in status["checks"]], style)
    return lines


def _service_row(service: Mapping[str, Any]) -> tuple[str, ...]:
    uptime = render_seconds(service["uptime"]) if service["uptime"] is not None else "-"
    cells = (
        service["name"],
        service["state"],
        service["url"],
        service["port"],
        service["pid"] or "-",
        uptime,
        service["restarts"],
    )
    return tuple(map(str, cells))
