"""A browser that a test looks over the shoulder of: what it asks for, complains of and measures."""

from __future__ import annotations

import json
import tempfile
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.stack.pages import open_driver

SERIOUS = ("serious", "critical")


class PageBrowser:
    """Chromium with a profile of its own; `pictures` is the folder of its screenshots."""

    def __init__(self, pictures: Path) -> None:
        self._pictures, self._taken = pictures, 0

    def __enter__(self) -> PageBrowser:
        self._profile = tempfile.TemporaryDirectory(prefix="browser-")
        logged = {"goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self._driver = open_driver(self._profile.name, logged)
        self._driver.implicitly_wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.picture("failed")
        self._driver.quit()
        self._profile.cleanup()

    def open(self, address: str) -> None:
        self._driver.get(address)

    @property
    def address(self) -> str:
        """Where it is now."""
        return str(self._driver.current_url)

    def follow(self, text: str) -> None:
        """Click a link or a button with this text, and wait for another page."""
        found = self._driver.find_element(
            By.XPATH, f"//a[normalize-space()={text!r}] | //button[normalize-space()={text!r}]"
        )
        found.click()
        WebDriverWait(self._driver, 40).until(lambda _: is_stale(found))

    def write(self, name: str, text: str) -> None:
        """Type into the field of that name."""
        self._driver.find_element(By.NAME, name).send_keys(text)

    def choose(self, name: str, text: str) -> None:
        """Choose from the list of that name."""
        Select(self._driver.find_element(By.NAME, name)).select_by_visible_text(text)

    def text(self) -> str:
        """What a person can read on the page."""
        try:
            return str(self._driver.find_element(By.TAG_NAME, "body").text)
        except StaleElementReferenceException:  # it loads itself again
            return ""

    def find(self, selector: str) -> list[Any]:
        """The elements of a CSS selector that are there now."""
        return list(self._driver.find_elements(By.CSS_SELECTOR, selector))

    def picture(self, name: str) -> None:
        """Keep what it shows, with the number of the picture."""
        self._taken += 1
        self._driver.save_screenshot(str(self._pictures / f"{self._taken:02}-{name}.png"))

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """The page's size in pixels, and whether it is shown dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def is_wider_than_its_window(self) -> bool:
        """Whether the page as a whole has to be moved sideways."""
        return bool(
            self._driver.execute_script(
                "return document.documentElement.scrollWidth > window.innerWidth"
            )
        )

    def complaints(self) -> list[str]:
        """What the console said of errors and warnings since the last call."""
        lines = self._driver.get_log("browser")
        return [line["message"] for line in lines if line["level"] in ("SEVERE", "WARNING")]

    def asked_hosts(self) -> set[str]:
        """The hosts that its pages asked for anything, since the last call."""
        messages = [json.loads(line["message"]) for line in self._driver.get_log("performance")]
        sent = [
            message["message"]["params"]["request"]["url"]
            for message in messages
            if message["message"]["method"] == "Network.requestWillBeSent"
        ]
        # The browser's own first page and data in an address ask nobody.
        own = ("chrome", "data:", "about:")
        return {str(urlsplit(url).hostname) for url in sent if not url.startswith(own)}

    def weigh(self) -> tuple[int, float]:
        """Bytes that came for this page with all its parts, and milliseconds until it was there."""
        size, milliseconds = self._driver.execute_script(
            "const page = performance.getEntriesByType('navigation')[0];"
            "const parts = performance.getEntriesByType('resource');"
            "return [parts.reduce((sum, part) => sum + part.encodedBodySize, "
            "page.encodedBodySize), page.loadEventEnd - page.startTime];"
        )
        return int(size), float(milliseconds)

    def ask_of_itself(self) -> tuple[str, str]:
        """The origin that a page has, and what it gets when it reads its cookies."""
        origin, cookie = self._driver.execute_script(
            "let cookie; try { cookie = 'read: ' + document.cookie } "
            "catch (refused) { cookie = refused.name } return [window.origin, cookie];"
        )
        return str(origin), str(cookie)

    def barriers(self) -> list[str]:
        """What axe-core finds serious or critical, with the elements."""
        script = resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
        self._driver.execute_script(script)
        found = self._driver.execute_async_script(
            "const done = arguments[arguments.length - 1]; axe.run().then(done);"
        )
        return [
            f"{rule['id']}: {node['html'][:150]} {node['failureSummary'][:300]}"
            for rule in found["violations"]
            if rule["impact"] in SERIOUS
            for node in rule["nodes"]
        ]


def is_stale(element: Any) -> bool:
    """Whether the page of an element is gone."""
    try:
        element.is_enabled()
    except (StaleElementReferenceException, WebDriverException):
        return True
    return False
