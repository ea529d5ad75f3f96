"""A headless Chromium that tests look at pages with, over its own pipe: no port, no driver, no package."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DEADLINE_SECONDS = 60.0
COMMAND = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe"),
)


# Each chart takes the new width of its place in a turn of its own; one that is hidden has none.
CHARTS_FIT = """[...document.querySelectorAll('.uplot')].every(({ clientWidth, parentElement: place }) =>
    !place.clientWidth || Math.abs(clientWidth - place.clientWidth) <= 1)"""


class Browser:
    """Sends commands of the DevTools protocol and keeps the events that come in between."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands  # file descriptors
        self._answers = answers
        self._pending = b""
        self._sent = 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The command's result; AssertionError with the browser's words where it refuses."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        os.write(
            self._commands, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (answer := self._receive(deadline)).get("id") != self._sent:
            self.events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def open(self, url: str, *, width: int = 1200, height: int = 900, dark: bool = False) -> "Page":
        """A tab with the page, in a window of that size, light or dark."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.resize(width, height)
        page.theme(dark=dark)
        document = page.send("Page.navigate", url=url)["loaderId"]
        # Until then scripts run in the blank page, and end with it.
        self._wait_for(session, "Page.frameNavigated", lambda about: about["frame"]["loaderId"] == document)
        page.wait_for("document.readyState === 'complete'")
        return page

    def _wait_for(self, session: str, method: str, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Until an event of the session has come whose parameters are wanted."""
        deadline, seen = time.monotonic() + DEADLINE_SECONDS, 0
        while True:
            for event in self.events[seen:]:
                if (event.get("sessionId"), event["method"]) == (session, method) and wanted(event["params"]):
                    return
            seen = len(self.events)
            self.events.append(self._receive(deadline))

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._pending:
            readable, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, "the browser does not answer"
            part = os.read(self._answers, 1 << 20)
            assert part, "the browser has ended"
            self._pending += part
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.send(method, self._session, **parameters)

    def evaluate(self, script: str) -> Any:
        """What the JavaScript expression comes to; a promise is waited for."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Until the JavaScript expression is true."""
        milliseconds = DEADLINE_SECONDS * 900
        met = self.evaluate(
            f"""new Promise((done) => {{
                const end = Date.now() + {milliseconds};
                const look = () =>
                    ({condition}) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 30);
                look();
            }})"""
        )
        assert met, f"never: {condition}"

    def resize(self, width: int, height: int = 900) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._next_frame()

    def theme(self, *, dark: bool = False, media: str = "") -> None:
        """Light or dark, as the reader's system prefers; media="print": as it is printed."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self._next_frame()

    def _next_frame(self) -> None:
        """Until the page has been told of what changed around it, as it is before each frame."""
        self.evaluate("new Promise(requestAnimationFrame)")

    def press(self, key: str) -> None:
        """One key, by its name in JavaScript, such as ArrowLeft or Tab."""
        codes = {
            "Tab": 9,
            "Enter": 13,
            "Escape": 27,
            "End": 35,
            "Home": 36,
            "ArrowLeft": 37,
            "ArrowRight": 39,
        }
        typed = {"text": "\r"} if key == "Enter" else {}  # without it, no button is pressed
        for kind, more in (("keyDown", typed), ("keyUp", {})):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                **more,
            )

    def overflowing(self) -> list[str]:
        """What sticks out of the window, as tag.class: text; but for what a box of the page scrolls."""
        return self.evaluate(
            """[...document.body.querySelectorAll('*')].filter((each) => {
                for (let box = each.parentElement; box !== document.body; box = box.parentElement)
                    if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX)) return false;
                const { left, right, width } = each.getBoundingClientRect();
                return width && (right > innerWidth + 0.5 || left < -0.5);
            }).map((each) => `${each.tagName}.${each.className}: ${each.textContent.slice(0, 40)}`)
            .concat(document.documentElement.scrollWidth > innerWidth ? ['the page as a whole'] : [])"""
        )

    def screenshot(self, path: Path) -> Path:
        """The whole page as a PNG."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    @property
    def requests(self) -> list[str]:
        """Every address that the page has asked for."""
        sent = self._events("Network.requestWillBeSent")
        return [each["request"]["url"] for each in sent]

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings: those of its scripts, and of the browser about it."""
        thrown = [each["exceptionDetails"]["text"] for each in self._events("Runtime.exceptionThrown")]
        logged = [each["entry"]["text"] for each in self._events("Log.entryAdded")]
        said = [
            str(each["args"])
            for each in self._events("Runtime.consoleAPICalled")
            if each["type"] in ("error", "warning", "assert")
        ]
        return thrown + logged + said

    def _events(self, method: str) -> list[dict[str, Any]]:
        self.evaluate("0")  # what has come by now
        return [
            event["params"]
            for event in self._browser.events
            if event.get("sessionId") == self._session and event["method"] == method
        ]


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser that keeps what it must in `folder`; the test is skipped where there is none."""
    if shutil.which("chromium") is None:
        pytest.skip("no chromium: apt-get install chromium")
    own_end, commands = os.pipe()
    answers, other_end = os.pipe()
    script = f'exec "$@" 3<&{own_end} 4>&{other_end}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *COMMAND, f"--user-data-dir={folder}"],
        pass_fds=(own_end, other_end),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(own_end)
    os.close(other_end)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)  # which ends it
        os.close(answers)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
