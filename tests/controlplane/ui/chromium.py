"""A real Chromium, spoken to in its own protocol (DevTools) over a WebSocket; nothing else need be installed."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 20.0
POLL_S = 0.05
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """Runs a Chromium with an empty profile; yields the address of its DevTools."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if binary is None and "CI" in os.environ:
        pytest.fail("No Chromium on PATH, and .ci/run must have one: apt-get install chromium.")
    if binary is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")
    process = subprocess.Popen(
        [binary, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _devtools(profile / "DevToolsActivePort")
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _devtools(file: Path) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while not (file.exists() and len(lines := file.read_text().split()) == 2):
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(POLL_S)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


@contextmanager
def new_tab(devtools: str, *, width: int = 1440, dark: bool = False) -> Iterator[Tab]:
    """A tab of a Chromium, with cookies of its own."""
    with connect(devtools, max_size=None) as socket:
        yield Tab(socket, width=width, dark=dark)


class Tab:
    """One tab: where it goes, what it shows, what it asked for and what it complained about.

    Attributes:
        requests: addresses of everything it fetched.
        complaints: errors of its console and of its scripts, and dialogs that it opened.
    """

    def __init__(self, socket: ClientConnection, *, width: int = 1440, dark: bool = False) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._ids = itertools.count(1)
        self._socket = socket
        context = self._call("Target.createBrowserContext")["browserContextId"]
        target = self._call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def set_cookie(self, url: str, name: str, value: str) -> None:
        """Makes it somebody who has signed in."""
        self._call("Network.setCookie", url=url, name=name, value=value)

    def goto(self, url: str) -> None:
        """Opens a page and waits until it has loaded."""
        self.run("window.left = true")
        self._call("Page.navigate", url=url)
        self.wait_for("!window.left && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Waits until an expression is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.run(f"!!document.body && ({condition})"):  # between two pages there is no body
            assert time.monotonic() < deadline, f"still not: {condition}\n{self.run('document.body.innerText')}"
            time.sleep(POLL_S)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def type(self, text: str) -> None:
        """Types into what has the focus."""
        self._call("Input.insertText", text=text)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        session = {"sessionId": self._session} if hasattr(self, "_session") else {}
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters, **session}))
        while True:
            message = json.loads(self._socket.recv(PATIENCE_S))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return dict(message["result"])
            self._note(message.get("method", ""), message.get("params", {}))

    def _note(self, event: str, details: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif event == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.complaints.append(details["entry"]["text"])
        elif event in {"Runtime.exceptionThrown", "Page.javascriptDialogOpening"}:
            self.complaints.append(json.dumps(details)[:500])
