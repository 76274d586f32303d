"""What Debian's browsers make of a page, asked inside a machine as one of its users, with that user's trust.

Run as a program it is the driver: `python browsers.py chromium '{"url": …}'` prints a Page as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.real.machine import Machine

# Seconds; as in tests.real.running, which the driver does not have beside it.
MOMENT = float(os.environ.get("DEVTLS_TEST_TIMEOUT_FACTOR", "1"))

# Nothing here says anything about certificates. The rest keeps a browser from calling its maker's servers, in vain.
CHROMIUM_FLAGS = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(slots=True)
class Page:
    """A page, as the browser saw it.

    Attributes:
        error: why it did not load, in the browser's words: "net::ERR_CERT_AUTHORITY_INVALID"; empty when it did.
        status: of the first answer; only Chromium tells.
        text: what can be read on it.
        is_secure: `isSecureContext`; true on any http://localhost, too.
        issuer: who signed the certificate; only Chromium tells.
        console: errors and warnings.
        frames: text that came over WebSockets; only Chromium tells.
        screenshot: PNG, base64.
    """

    error: str = ""
    status: int = 0
    text: str = ""
    is_secure: bool = False
    issuer: str = ""
    console: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    screenshot: str = ""

    @property
    def png(self) -> bytes:
        """The screenshot."""
        return base64.b64decode(self.screenshot)


def chromium(
    machine: Machine, url: str, *, user: str = "dev", awaited: str = "", patience: float = 20 * MOMENT
) -> Page:
    """Load a page in Chromium, with a new profile; its trusted roots are those of ~/.pki/nssdb.

    It is looked at when `awaited`, a regular expression, matches its text or its console, or after `patience` seconds.
    """
    return _ask("chromium", machine, user, {"url": url, "awaited": awaited, "patience": patience})


def firefox(machine: Machine, url: str, *, user: str = "dev", awaited: str = "", patience: float = 20 * MOMENT) -> Page:
    """Load a page in Firefox, with the user's own default profile, as a click on its icon would.

    Its first start makes that profile, with its certificate store: `firefox(machine, "about:blank")`.
    """
    return _ask("firefox", machine, user, {"url": url, "awaited": awaited, "patience": patience})


def _ask(browser: str, machine: Machine, user: str, question: dict[str, Any]) -> Page:
    driver = [str(machine.installed.python), str(machine.installed.directory / "browsers.py")]
    answer = machine.run(
        [*driver, browser, json.dumps(question)], user=user, timeout=question["patience"] + 60, check=True
    )
    return Page(**json.loads(answer.stdout))


def drive_chromium(url: str, awaited: str, patience: float) -> Page:
    """Answer from Chromium; runs inside the machine."""
    from playwright.sync_api import Error, sync_playwright

    page = Page()
    # Chromium refuses to start with its sandbox as root.
    with (
        sync_playwright() as play,
        play.chromium.launch(
            executable_path="/usr/bin/chromium", args=list(CHROMIUM_FLAGS), chromium_sandbox=os.getuid() != 0
        ) as browser,
    ):
        tab = browser.new_page()
        tab.on("console", lambda m: page.console.append(m.text) if m.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: page.console.append(str(error)))
        tab.on("websocket", lambda s: s.on("framereceived", lambda frame: page.frames.append(str(frame))))
        try:
            response = tab.goto(url)
        except Error as error:
            page.error = error.message
        else:
            details = (response and response.security_details()) or {"issuer": ""}
            page.issuer = details["issuer"] or ""
            page.status = response.status if response else 0
            end = time.monotonic() + patience
            while True:
                page.text = tab.inner_text("body")
                if _is_seen(page, awaited) or time.monotonic() > end:
                    break
                tab.wait_for_timeout(50)
            page.is_secure = bool(tab.evaluate("isSecureContext"))
            page.screenshot = base64.b64encode(
                tab.screenshot()
            ).decode()  # of its error page Chromium makes none at times
    return page


def _is_seen(page: Page, awaited: str) -> bool:
    return re.search(awaited, "\n".join([page.text, *page.console])) is not None


def drive_firefox(url: str, awaited: str, patience: float) -> Page:
    """Answer from Firefox, over WebDriver BiDi; runs inside the machine."""
    import asyncio

    words = ["firefox-esr", "--headless", "--remote-debugging-port", "0"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        try:
            for line in started.stderr:
                if found := re.search(r"WebDriver BiDi listening on (\S+)", line):
                    # What it says later is read too: a full pipe would stop it.
                    threading.Thread(target=started.stderr.read, daemon=True).start()
                    return asyncio.run(_converse(f"{found[1]}/session", url, awaited, patience))
        except BaseException:
            started.kill()
            raise
    raise RuntimeError("Firefox offered no WebDriver BiDi")


async def _converse(address: str, url: str, awaited: str, patience: float) -> Page:
    """Speak https://w3c.github.io/webdriver-bidi with a Firefox that listens at `address`."""
    import asyncio

    from websockets.asyncio.client import connect

    page = Page()
    async with connect(address, max_size=None, proxy=None) as socket:

        async def ask(method: str, **params: Any) -> dict[str, Any]:
            await socket.send(json.dumps({"id": 1, "method": method, "params": params}))
            while True:
                said = json.loads(await socket.recv())
                if said.get("method") == "log.entryAdded" and said["params"]["level"] in ("error", "warn"):
                    page.console.append(said["params"]["text"])
                if said.get("id") == 1:
                    answer: dict[str, Any] = said if said["type"] == "error" else said["result"]
                    return answer

        async def evaluate(expression: str) -> Any:
            words = {"expression": expression, "target": {"context": tab}, "awaitPromise": False}
            return (await ask("script.evaluate", **words))["result"]["value"]

        await ask("session.new", capabilities={})
        await ask("session.subscribe", events=["log.entryAdded"])
        tab = (await ask("browsingContext.getTree"))["contexts"][0]["context"]
        went = await ask("browsingContext.navigate", context=tab, url=url, wait="complete")
        page.error = went.get("message", "")
        end = time.monotonic() + patience
        while not page.error:
            page.text = await evaluate("document.body.innerText")
            if _is_seen(page, awaited) or time.monotonic() > end:
                break
            await asyncio.sleep(0.05)
        page.is_secure = await evaluate("isSecureContext")
        page.screenshot = (await ask("browsingContext.captureScreenshot", context=tab)).get("data", "")
        await ask("browser.close")
    return page


if __name__ == "__main__":
    drive = {"chromium": drive_chromium, "firefox": drive_firefox}[sys.argv[1]]
    print(json.dumps(asdict(drive(**json.loads(sys.argv[2])))))
