"""From what the probes saw of a WebSocket to the verdict, the layer at fault and the cure; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtls.checks.case import is_error_message, missing_lines
from devtls.checks.causes import RULES
from devtls.checks.https import format_seconds
from devtls.model import Check, Verdict

if TYPE_CHECKING:
    from devtls.checks.case import Case


def judge_websocket(case: Case) -> Check:
    """Return the verdict on one endpoint."""
    seen = case.gateway
    if seen.fault is not None and seen.fault.layer != "service" and seen.status is None:
        fault = seen.fault
        return Check(case.url, Verdict.FAILED, fault.fact, fault.layer, fault.code, fault.cure, fault.evidence)
    if seen.is_open and seen.ping is not None and not is_error_message(seen):
        return Check(case.url, Verdict.PASSED, f"101 · ping {format_seconds(seen.ping)}")
    evidence = _evidence(case)
    for rule in RULES:
        if rule.applies(case):
            cure = rule.cure(case)
            return Check(case.url, Verdict.FAILED, rule.fact(case), rule.layer, rule.code, cure, evidence)
    fact = f"{seen.describe()}; the cause is not known"
    cure = ("Compare what each layer answered with the app's own output:", "  devtls logs")
    ruled_out = tuple(f"ruled out: {rule.rules_out}" for rule in RULES if rule.rules_out)
    return Check(case.url, Verdict.FAILED, fact, "unknown", "unknown", cure, (*evidence, *ruled_out))


def _evidence(case: Case) -> tuple[str, ...]:
    seen = (
        ("through nginx", case.gateway),
        (f"direct to {case.service}", case.direct),
        (f"direct to {case.service}, without Origin", case.bare),
        (f"direct to {case.service}, as Host {case.service}", case.local),
    )
    lines = tuple(f"{where}: {found.describe()}" for where, found in seen if found is not None)
    status = case.gateway.status
    if status is not None and not case.gateway.is_switched:
        console = f"Error during WebSocket handshake: Unexpected response code: {status}"
        lines = (*lines, f"the browser's console: {console}")
    if case.location is None:
        return lines
    absent = missing_lines(case.location) if case.location.is_whole else ()
    told = ", ".join(line.rstrip(";") for line in absent)
    return (*lines, f"{case.location.heading} in {case.site} lacks: {told}") if absent else lines
