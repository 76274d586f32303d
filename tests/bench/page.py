"""The page of the last run, for docs/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.table import render_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.table import Row

PAGE = """# Benchmarks

Written by `make bench`; run it to repeat them. Whole processes are measured, devtls and its peer in turn (A B A B), in
one run on one machine: compare ratios, not milliseconds. Shown are medians with the first and third quartile; the
ratio is the median of the pairs' own. A row that devtls loses stays.

{facts}

{table}

## How each is set up

Everything runs as root on a terminal in a private machine (its own processes, network, /etc and home), so that nobody
needs sudo to bind :443. The app is the same for all: `tests/bench/app.sh`, which notes when it is executed, and becomes
`tests/bench/app.py`, which notes when it listens: a page and a WebSocket in a few lines of Python, quick to start, so
that little can hide behind its start.

* **devtls --version**: from start to end of the process, on the same interpreter as its peer; bytecode is compiled.
* **exec**: `devtls up love.cat --ws /chat --app …` with CA, certificates, hosts and trust in place and no gateway
  running; `honcho start` with one line in its Procfile. To the first instruction of the app.
* **verified green**: to devtls' Ready line: HTTPS 200 with a verified certificate, WebSocket 101 and a pong. Less the
  time from the app's exec until it listens. No gateway runs before.
* **Caddy**: `caddy run` with `tls internal` and one `reverse_proxy`, its CA made before, `skip_install_trust`; the app
  listens already, so there is nothing to take off. To the first HTTPS 200 that its root verifies, asked for every
  millisecond; its WebSocket is not waited for.
* **portless**: `portless love …` with its CA made and trusted before and no proxy running; asked in the same way, and
  the app's time to listen is taken off as for devtls. Its Node comes from npm.
* **memory, processor**: guardian, supervisor, keeper and whatever else devtls runs, without nginx and the app; read 3 s
  after Ready, then processor time over 20 s without a request. PSS counts shared pages once.
* **devtls cert**: with its authority made before, against a process that imports what it needs and does nothing.
* **CA and certificate, new**: `devtls cert love.test` in an empty home, `mkcert love.test` with an empty CAROOT; no
  store is touched. mkcert makes RSA keys, which take it a different time each; devtls' are P-256.
"""


def render_page(rows: Sequence[Row], facts: Sequence[tuple[str, str]]) -> str:
    """Return the page: what was measured on, the table, how to repeat it."""
    table = "\n".join(render_markdown(rows))
    return PAGE.format(facts="\n".join(f"* {name}: {fact}" for name, fact in facts), table=table)
