"""The page of the test server in headless Chromium, a browser of today: version 13.

Screenshots go to the folder that LWS_ARTIFACTS names, else to a temporary one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conformance.running import SECONDS, TheTestServer
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=900,1100",
]


@pytest.fixture(scope="module")
def server() -> Iterator[TheTestServer]:
    with TheTestServer() as running:
        yield running


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("LWS_ARTIFACTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("artifacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Page:
    """The test server's page, looked at and used as a person would."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        driver.get(url)

    def text(self, name: str) -> str:
        return self.driver.find_element(By.ID, name).text

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        WebDriverWait(self.driver, SECONDS, poll_frequency=0.02).until(lambda _: condition(), what)

    def wait_state(self, pattern: str) -> None:
        try:
            self.wait(lambda: bool(re.fullmatch(pattern, self.text("state"))), pattern)
        except TimeoutException as error:
            raise AssertionError(f"{self.text('state')!r}, not {pattern}") from error

    def wait_count(self, condition: Callable[[int], bool]) -> int:
        seen = [0]

        def reached() -> bool:
            text = self.text("count")
            seen[0] = int(text) if text.isdigit() else -1
            return seen[0] >= 0 and condition(seen[0])

        self.wait(reached, "the number")
        return seen[0]

    def click(self, name: str) -> None:
        self.driver.find_element(By.ID, name).click()

    def enabled(self, name: str) -> bool:
        return self.driver.find_element(By.ID, name).is_enabled()

    def console(self) -> list[object]:
        return list(self.driver.get_log("browser"))  # type: ignore[no-untyped-call]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    browser, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not chromedriver:
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS, f"--user-data-dir={tmp_path}/profile"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, Service(chromedriver))
    try:
        yield chrome
    finally:
        chrome.quit()


def before_scripts(driver: webdriver.Chrome, script: str) -> None:
    """Runs script in the page before the page's own: to take away what an old engine has not."""
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})


def test_page_in_chromium(driver: webdriver.Chrome, server: TheTestServer, artifacts: Path) -> None:
    page = Page(driver, server.url)

    # Ten numbers and more, and the plot of their intervals.
    page.wait_state("Connected")
    first = page.wait_count(lambda n: n >= 0)
    page.wait_count(lambda n: n >= first + 10)
    page.wait(lambda: "mean" in page.text("figures"), "the figures")
    painted = driver.execute_script(
        "var c = document.querySelector('#plot canvas');"
        "return c.getContext('2d').getImageData(60, 0, c.width - 60, c.height).data.some(v => v)"
    )
    assert painted is True

    # What is typed comes back; digits do too, and are not taken for the server's number.
    for text in ("Grüße, κόσμε <b>&amp;</b>", "7", "reset"):
        box = driver.find_element(By.ID, "text")
        box.clear()
        driver.execute_script("arguments[0].value = arguments[1]", box, text)
        page.click("send")

        def came_back(text: str = text) -> bool:
            newest = driver.find_elements(By.CSS_SELECTOR, "#echoes li:first-child")
            return bool(newest) and newest[0].text.startswith((text + "\n", text + "came back"))

        page.wait(came_back, f"the echo of {text!r}")
    assert "not what was sent" not in page.text("echoes")

    # Reset.
    before = page.wait_count(lambda n: n > 20)
    page.click("reset")
    page.wait_count(lambda n: n < before)

    driver.save_screenshot(str(artifacts / "testserver-page.png"))

    # Close, reconnect: a new session counts from 0.
    page.click("close")
    page.wait_state(r"Closed( \(100[05]\))?")
    for name in ("reset", "close", "send"):
        assert not page.enabled(name)
    assert page.enabled("reconnect")
    closed_at = page.text("count")
    page.click("reconnect")
    page.wait_state("Connected")
    page.wait_count(lambda n: n >= 3)
    assert closed_at.isdigit()

    # Reconnect while connected: the old connection is closed, the new one counts.
    established = server.err.text().count("connection established")
    page.click("reconnect")
    server.err.wait("connection established", established + 1)
    server.err.wait("connection closed", established)
    page.wait_state("Connected")
    page.wait_count(lambda n: n >= 3)

    assert page.console() == []


def test_page_over_https(tmp_path: Path, driver: webdriver.Chrome, artifacts: Path) -> None:
    # A certificate of its own, which nobody has signed: the browser is told to take it.
    driver.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
    with TheTestServer("--ssl") as server:
        assert server.url.startswith("https://localhost:")
        page = Page(driver, server.url)
        page.wait_state("Connected")
        page.wait_count(lambda n: n >= 10)
        box = driver.find_element(By.ID, "text")
        box.send_keys("over wss")
        page.click("send")
        page.wait(lambda: "over wss" in page.text("echoes"), "the echo")
        assert driver.execute_script("return location.protocol + window.isSecureContext")
        driver.save_screenshot(str(artifacts / "testserver-page-https.png"))
        page.click("close")
        page.wait_state(r"Closed( \(100[05]\))?")
        page.click("reconnect")
        # The number of the old session stands until the new one is there.
        page.wait_state("Connected")
        page.wait_count(lambda n: n >= 3)
    page.wait_state(r"Closed \(1001\)")
    assert page.console() == []


def test_server_that_goes_away(driver: webdriver.Chrome) -> None:
    with TheTestServer() as server:
        page = Page(driver, server.url)
        page.wait_count(lambda n: n >= 3)
    page.wait_state(r"Closed \(1001\)")
    assert page.enabled("reconnect")
    assert page.console() == []


def test_narrow_screen_needs_no_sideways_scrolling(
    driver: webdriver.Chrome, server: TheTestServer, artifacts: Path
) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 320, "height": 700, "deviceScaleFactor": 2, "mobile": True},
    )
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    page = Page(driver, server.url)
    page.wait_count(lambda n: n >= 30)
    width = driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= 320
    driver.save_screenshot(str(artifacts / "testserver-page-narrow-dark.png"))
    assert page.console() == []


def test_engine_with_mozwebsocket(driver: webdriver.Chrome, server: TheTestServer) -> None:
    before_scripts(driver, "window.MozWebSocket = window.WebSocket; delete window.WebSocket;")
    page = Page(driver, server.url)
    page.wait_count(lambda n: n >= 3)
    assert page.console() == []


def test_engine_without_websocket(driver: webdriver.Chrome, server: TheTestServer) -> None:
    before_scripts(driver, "delete window.WebSocket;")
    page = Page(driver, server.url)
    page.wait_state("Not supported")
    assert "no WebSocket" in page.text("where")
    assert not page.enabled("reconnect")
    assert page.console() == []


def test_engine_without_canvas(
    driver: webdriver.Chrome, server: TheTestServer, artifacts: Path
) -> None:
    before_scripts(
        driver,
        "delete HTMLCanvasElement.prototype.getContext; delete window.performance;"
        "delete window.matchMedia;",
    )
    page = Page(driver, server.url)
    page.wait_count(lambda n: n >= 20)
    page.wait(lambda: "mean" in page.text("figures"), "the figures")
    heights = driver.execute_script(
        "return Array.from(document.querySelectorAll('#bars div'), d => d.offsetHeight)"
    )
    assert len(heights) == 60
    assert sum(height > 10 for height in heights) >= 10
    driver.save_screenshot(str(artifacts / "testserver-page-no-canvas.png"))
    assert page.console() == []
