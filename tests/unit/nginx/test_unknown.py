from __future__ import annotations

import json

from devtls.nginx.unknown import render_unknown
from devtls.system.templates import find_templates

TEMPLATES = find_templates({})
SHOP = {"directory": "/home/dev/<b>shop</b>", "domains": ["love.cat", "*.love.cat"], "pid": 7}


def test_the_page_links_what_is_served_and_says_where_it_runs() -> None:
    page = render_unknown([SHOP], 8443, TEMPLATES)["html"]
    assert '<a href="https://love.cat:8443">love.cat:8443</a> · *.love.cat:8443' in page
    assert "&lt;b&gt;shop&lt;/b&gt;" in page
    assert "<b>" not in page


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    page = render_unknown([SHOP], 443, TEMPLATES)["html"]
    assert "<script" not in page
    assert "src=" not in page
    assert "prefers-color-scheme: dark" in page


def test_programs_are_told_in_json_and_text() -> None:
    pages = render_unknown([SHOP], 443, TEMPLATES)
    facts = json.loads(pages["json"])
    assert facts["schema"] == "devtls.unknown/1"
    assert facts["projects"] == [{"directory": SHOP["directory"], "urls": ["https://love.cat", "https://*.love.cat"]}]
    assert "  https://love.cat\n" in pages["txt"]


def test_a_folder_whose_name_is_no_text_can_be_told() -> None:
    shop = {**SHOP, "directory": "/home/dev/K\udcc3\udca4se \udcf6"}
    pages = render_unknown([shop], 443, TEMPLATES)
    assert "/home/dev/Käse \ufffd" in pages["html"]
    assert all(page.encode("utf-8") for page in pages.values())
