"""Ask clients inside a machine about certificates; a driver, run there by the Python that devtls is installed in.

Standard input: a JSON list of {client, program, profile, environment, shown: [{host, chain, key}]}; output: a list of
lists of [answer, alert, what it said].
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from devtls.trust.clients import FoundClient, find_clients
from devtls.trust.handshakes import Question, ask_all
from devtls.trust.listener import Certificate


def main() -> None:
    asked = json.load(sys.stdin)
    here = {each.client.name: each for each in find_clients(os.environ)}
    questions = [
        Question(
            FoundClient(here[each["client"]].client, here[each["client"]].program),
            tuple(Certificate(c["host"], c["chain"].encode(), c["key"].encode()) for c in each["shown"]),
            {**os.environ, **each["environment"]},
            Path(each["profile"]) if each["profile"] else None,
        )
        for each in asked
    ]
    told = ask_all(questions)
    print(json.dumps([[[one.answer.name, one.alert, one.said] for one in each] for each in told]))


if __name__ == "__main__":
    main()
