from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from devtls.cli.output import say, say_json, show_error
from devtls.errors import UsageError

if TYPE_CHECKING:
    import pytest


def test_what_was_asked_for_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    say(["one", "two"])
    say_json({"schema": "x/1", "text": "é\n"})
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[:2] == ["one", "two"]
    assert json.loads(out.splitlines()[2]) == {"schema": "x/1", "text": "é\n"}


def test_a_mistake_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(UsageError("no app was named", "Give it."), as_json=False)
    assert capsys.readouterr() == ("", "devtls: no app was named\n  Give it.\n")


def test_a_mistake_is_a_document_too_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(UsageError("no app was named", "Give it."), as_json=True)
    facts = {"schema": "devtls.error/1", "message": "no app was named", "cure": ["Give it."], "exit_code": 2}
    assert json.loads(capsys.readouterr().out) == facts


def test_a_stream_gets_the_characters_that_it_has() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    say(["✓ bücher"], stream)
    assert raw.getvalue() == b"+ b\\xfccher\n"
