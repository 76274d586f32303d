"""The page of the last run, for docs/."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

from tests.bench.load import H2LOAD, WEBSOCKETS, WRK
from tests.bench.serving import MINIMAL
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

### Under load

The app is an nginx of one worker that returns a constant, some 60,000 requests a second on a core: a page of 48 bytes,
so that little hides what is before it. The WebSocket is `tests/bench/echo.py`. All peers run at the same time, and only
one has anything to do. Load, peer and app share the cores, so a ratio is nearer to 1 than one of the peers alone would
be; that of wss most of all, whose client and server are Python: nginx takes about half of the processor time.

* **gateway**: for one second each, `{wrk}`, `{h2load}`, and {websockets} WebSockets that each
  send 13 bytes as soon as the last ones are back. Answers other than 2xx do not count. Each nginx is reloaded right
  before it is measured: by the luck of its heap a worker spends up to 60 % more as long as it lives (musl's allocator).
* **nginx by hand**: the nginx that devtls runs, 2 workers as devtls has, on

{minimal}

* **Caddy**: `tls internal` and `reverse_proxy`, on a port of its own.
* **portless**: `portless proxy start` with an alias for the app and one for the echo.
* **a project joins**: devtls serves one domain whose WebSockets are open; another project sends its site to the keeper.
  The time is from that to the keeper's "registered". The peer has as many WebSockets, and is sent HUP with the same
  two configurations. Both are live when there are new workers and each old one is titled as shutting down. Afterwards
  each WebSocket is asked for an echo. New ones are opened for each round.
* **1000 domains**: one project, a certificate for each, issued before; from its site to "registered", when no nginx
  runs before. The peer is started on the configuration that devtls made. Memory is PSS of master and workers.
"""


def render_page(rows: Sequence[Row], facts: Sequence[tuple[str, str]]) -> str:
    """Return the page: what was measured on, the table, how to repeat it."""
    return PAGE.format(
        facts="\n".join(f"* {name}: {fact}" for name, fact in facts),
        table="\n".join(render_markdown(rows)),
        wrk=" ".join(WRK),
        h2load=" ".join(H2LOAD),
        websockets=WEBSOCKETS,
        minimal=indent(f"```nginx\n{MINIMAL}```", "  "),
    )
