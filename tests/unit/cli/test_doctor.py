from __future__ import annotations

import json
from typing import TYPE_CHECKING

from click.testing import CliRunner

from devtls.cli.doctor import doctor

if TYPE_CHECKING:
    from pathlib import Path


def test_it_says_one_document_with_a_verdict_and_a_cure_for_each_fact(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "PATH": ""}
    ended = CliRunner().invoke(doctor, ["love.cat", "--quick", "--json"], env=environment)
    document = json.loads(ended.stdout)
    assert (ended.exit_code, document["schema"], document["broken"]) == (1, "devtls.doctor/1", True)
    assert "CA for love.cat" in [check["subject"] for check in document["checks"] if check["verdict"] == "failed"]
