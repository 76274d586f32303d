from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.errors import DevtlsError
from devtls.nginx.quoting import UNSPEAKABLE, quote, quote_literal
from tests.unit.nginx.reading import parse


@pytest.mark.parametrize("text", ["/home/$USER/x", "/a\nb", "/a\0b", "/a\x7fb", "${x}"])
def test_a_path_that_nginx_cannot_say_is_refused_with_how_to_move(text: str) -> None:
    with pytest.raises(DevtlsError, match="nginx cannot read the path") as refused:
        quote(text)
    assert "XDG_DATA_HOME" in refused.value.cure[-1]


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_any_path_is_one_word_or_refused(text: str) -> None:
    if UNSPEAKABLE.search(text):
        with pytest.raises(DevtlsError):
            quote(text)
    else:
        assert parse(f"root {quote(text)};") == [(["root", text], [])]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@settings(deadline=None)
def test_any_value_is_one_word_without_variables_of_its_own(text: str) -> None:
    ((words, _inside),) = parse(f"add_header X {quote_literal(text)};")
    assert words[2].replace("${devtls_dollar}", "$") == text
    assert "$" not in words[2].replace("${devtls_dollar}", "")
