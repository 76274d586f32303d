from __future__ import annotations

import pytest

from devtls.checks.endpoints import is_endpoint, is_refusal
from devtls.checks.observation import Fault, Observation


@pytest.mark.parametrize(
    ("seen", "is_one"),
    [
        (Observation(101, ping=0.001), True),
        (Observation(426), True),
        (Observation(400, headers=(("sec-websocket-version", "13"),)), True),
        (Observation(101, close_code=1005), False),
        (Observation(404), False),
        (Observation(200, body=b"<html>"), False),
        (Observation(), False),
    ],
)
def test_only_a_websocket_server_counts_as_an_endpoint(seen: Observation, *, is_one: bool) -> None:
    assert is_endpoint(seen) is is_one


def test_what_may_be_a_gate_is_asked_again_without_origin() -> None:
    assert is_refusal(Observation(403))
    assert is_refusal(Observation(fault=Fault("service", "not-http", "Unauthorized")))
    assert not is_refusal(Observation(404))
