"""Take the pictures in ``docs/images`` from a running stack: ``python docs/screenshots.py [NAME ...]``.

Needs Chromium (``chromium``, ``chromium-browser`` or ``google-chrome`` on the path) and nothing else: it is
driven over its own DevTools protocol. A picture is taken when the text that proves the page complete has appeared;
the script fails if it never does.
"""

import argparse
import base64
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from collectors_dagster.clock import SystemClock

IMAGES = Path(__file__).parent / "images"
CLOCK = SystemClock()
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class Page:
    """One picture: where to go, what must be visible, what to click first."""

    name: str
    path: str
    text: str
    server: str = "dagster"
    height: int = 1000
    click: str | None = None


CLOSE_DIALOG = "[...document.querySelectorAll('button')].find(each => each.innerText === 'Try it now')?.click()"
EXPAND_GROUPS = "document.dispatchEvent(new KeyboardEvent('keydown', {code: 'KeyE', altKey: true, bubbles: true}))"

PAGES = (
    Page("assets", "/asset-groups", "scoring", height=1100, click=EXPAND_GROUPS),
    Page("catalog", "/assets", "collection_run"),
    Page("collection", "/assets/collection_run?view=partitions", "aurora"),
    Page("health", "/assets/health_report?view=partitions", "showcase"),
    Page("automation", "/automation", "anomalies"),
    Page("runs", "/runs", "Success"),
    Page("models", "/#/models", "showcase.anomaly", server="mlflow", click=CLOSE_DIALOG),
)


class Browser:
    """One tab, spoken to over the DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message.get("result", {})
                return result

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Return when `text` is visible; raise when it never is."""
        deadline = CLOCK.monotonic() + seconds
        while CLOCK.monotonic() < deadline:
            if self.evaluate(f"!!document.body && document.body.innerText.includes({json.dumps(text)})"):
                return
            CLOCK.sleep(0.3)  # a browser's page cannot be awaited otherwise
        raise TimeoutError(f"{text!r} never appeared; the page says: {self.evaluate('document.body.innerText')!r:.500}")

    def picture(self) -> bytes:
        """Return the visible page as PNG."""
        CLOCK.sleep(2)  # layouts and images settle after their text
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a headless Chromium with one tab."""
    binary = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if binary is None:
        raise SystemExit("screenshots: no Chromium on the path; install it (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *(
                binary,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--hide-scrollbars",
            ),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(
                f"--user-data-dir={profile}",
                "--remote-debugging-port=0",
                "--window-size=1600,1000",
                "about:blank",
            ),
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            with connect(_tab_address(Path(profile)), max_size=None) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            process.wait(10)


def _tab_address(profile: Path) -> str:
    """Return the WebSocket address of the first tab, once Chromium has written its port."""
    port_file = profile / "DevToolsActivePort"
    deadline = CLOCK.monotonic() + 30
    while not port_file.exists() or not port_file.read_text():
        if CLOCK.monotonic() > deadline:
            raise TimeoutError("Chromium did not open its DevTools port")
        CLOCK.sleep(0.1)  # a foreign process's file
    port = port_file.read_text().split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as reply:
        tabs = json.load(reply)
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))


def take(tab: Browser, page: Page, base: str) -> Path:
    """Visit one page and write its picture."""
    tab.call(
        "Emulation.setDeviceMetricsOverride",
        width=1600,
        height=page.height,
        deviceScaleFactor=1,
        mobile=False,
    )
    tab.call("Page.navigate", url=base + page.path)
    tab.wait_for(page.text)
    if page.click:
        tab.evaluate(page.click)
    target = IMAGES / f"{page.name}.png"
    target.write_bytes(tab.picture())
    return target


def main() -> None:
    """Take all pictures, or the ones named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--dagster", default="http://127.0.0.1:13000")
    parser.add_argument("--mlflow", default="http://127.0.0.1:15000")
    parser.add_argument("--url", help="any page: the one name given is the picture's, --text must appear")
    parser.add_argument("--text", default="")
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with browser() as tab:
        tab.call("Page.enable")
        if options.url:
            pages = [Page(options.names[0], options.url, options.text)]
        else:
            pages = [page for page in PAGES if not options.names or page.name in options.names]
        for page in pages:
            base = "" if options.url else getattr(options, page.server)
            sys.stdout.write(f"{take(tab, page, base)}\n")


if __name__ == "__main__":
    main()
