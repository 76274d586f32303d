from __future__ import annotations

import pytest

from devtls.model import Endpoint
from devtls.pages.down import HEADLINES
from devtls.session.pages import describe_state
from devtls.supervise import state as states

HERE = Endpoint("127.0.0.1", 3000)
RESTART = ("Mend it, then:", "  devtls restart web")


@pytest.mark.parametrize(
    ("state", "word", "fact", "cure"),
    [
        (states.Pending(), "starting", "web does not listen on port 3000 yet", ()),
        (states.Starting(0, 60), "starting", "web does not listen on port 3000 yet", ()),
        (states.Ready(0, HERE), "unreachable", "web listens, and hung up before it answered", ()),
        (states.Daemonized(0, HERE), "unreachable", "web listens, and hung up before it answered", ()),
        (states.Degraded(0, HERE, "refused", "tcp"), "unreachable", "web runs, and does not answer: refused", ()),
        (states.Stopping(0, True), "restarting", "web is being ended, and is started again then", ()),
        (states.Stopping(0, False), "stopped", "web is being ended", ()),
        (states.Stopped(), "stopped", "web was stopped", ("Start it:", "  devtls restart web")),
        (states.Exited(0), "ended", "web exited with status 7", RESTART),
        (states.Backoff(1, 0, 7, True), "crashed", "web exited with status 7; it is started again", ()),
        (states.Failed("too often"), "crashed", "web exited with status 7: too often", RESTART),
        (states.Blocked("x"), "blocked", "port 3000, which web should have, is taken by x", RESTART),
    ],
)
def test_a_state_is_told_in_words_with_what_to_do(
    state: states.State, word: str, fact: str, cure: tuple[str, ...]
) -> None:
    assert describe_state("web", state, "exited with status 7", 3000) == (word, fact, cure)
    assert word in HEADLINES
