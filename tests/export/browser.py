"""A headless Chromium that opens pages, clicks, and saves what is downloaded."""

import base64
import json
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

PATIENCE = 120.0
"""Seconds in which something must happen."""

PIXELS = (1100, 420)


class Browser:
    """One page of a Chromium, driven by its own protocol.

    Parameters
    ----------
    folder
        Where its profile lies; downloads go to ``folder / "downloads"``.
    """

    def __init__(self, folder: Path) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        self._profile = folder / "profile"
        self._number = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--remote-debugging-port=0"),
                *(f"--user-data-dir={self._profile}", f"--window-size={PIXELS[0]},{PIXELS[1]}"),
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with ExitStack() as stack:
            stack.callback(self._end)
            address = self.until(lambda: self._page(port) if (port := self._port()) else None)
            options = {"open_timeout": PATIENCE, "ping_interval": None, "max_size": None}
            self._socket = stack.enter_context(connect(address, proxy=None, **options))
            allowed = {"behavior": "allow", "downloadPath": str(self.downloads)}
            self.call("Browser.setDownloadBehavior", **allowed)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _port(self) -> int | None:
        assert self._process.poll() is None, "Chromium has ended."
        try:
            return int((self._profile / "DevToolsActivePort").read_text().splitlines()[0])
        except (OSError, IndexError, ValueError):
            return None

    def _page(self, port: int) -> str | None:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{port}/json", timeout=PATIENCE) as answer:
            pages = [one for one in json.load(answer) if one["type"] == "page"]
        return pages[0]["webSocketDebuggerUrl"] if pages else None

    def until(self, look: Any) -> Any:
        """Return what a function finds as soon as it finds something."""
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < deadline, "It did not happen."
            time.sleep(0.05)
        return found

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    def open(self, address: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def click(self, expression: str) -> None:
        """Press the mouse on an element, given by JavaScript, as soon as it is there."""
        place = f"(() => {{ const e = {expression}; if (!e || e.disabled) return null; "
        place += "e.scrollIntoView({block: 'nearest'}); const r = e.getBoundingClientRect(); "
        place += "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        x, y = self.until(lambda: self.evaluate(place))
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path) -> Path:
        """Save what is to be seen as a PNG."""
        found = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))
        return path
