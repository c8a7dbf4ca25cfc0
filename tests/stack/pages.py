"""Pages as people see them: headless Chromium, driven by its own driver."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

# Without these a browser in a closed network looks for its maker's servers all the time; without a
# sandbox, because root may have none.
BROWSER_OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
    "--disable-dev-shm-usage",
]
PATIENCE_SECONDS = 60.0


def find_browser() -> tuple[str, str] | None:
    """A browser and its driver on this machine."""
    found = next(
        (
            path
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (path := shutil.which(name))
        ),
        None,
    )
    driver = shutil.which("chromedriver")
    return (found, driver) if found and driver else None


def open_driver(profile: str, capabilities: Mapping[str, Any] | None = None) -> Any:
    """A browser with its profile in a folder; `quit` ends it."""
    found = find_browser()
    assert found is not None
    options = Options()
    options.binary_location = found[0]
    for option in [*BROWSER_OPTIONS, f"--user-data-dir={profile}"]:
        options.add_argument(option)
    for name, value in (capabilities or {}).items():
        options.set_capability(name, value)
    return webdriver.Chrome(options=options, service=Service(found[1]))


class Browser:
    """One browser with a profile of its own, which ends with the block."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(prefix="browser-")
        self._driver = open_driver(self._profile.name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._driver.quit()
        self._profile.cleanup()

    def log_in(self, prefect: str, login: str) -> None:
        """Give Prefect's page what it asks for."""
        self._driver.get(f"{prefect}/login")
        field = WebDriverWait(self._driver, PATIENCE_SECONDS).until(
            lambda driver: driver.find_element(By.CSS_SELECTOR, "input")
        )
        field.send_keys(login + Keys.ENTER)
        WebDriverWait(self._driver, PATIENCE_SECONDS).until(
            lambda driver: "/login" not in driver.current_url
        )

    def picture(self, url: str, path: Path, *, until: str) -> str:
        """Go there, wait until the page says `until`, and keep a picture; returns the text of the
        page."""
        self._driver.get(url)
        try:
            WebDriverWait(self._driver, PATIENCE_SECONDS).until(
                lambda _: until.lower() in self.text().lower()
            )
        except TimeoutException:
            said = [entry["message"] for entry in self._driver.get_log("browser")][-5:]
            raise AssertionError(
                f"wanted {until!r} on {url}, got {self.text()[:500]!r}; the browser says {said}"
            ) from None
        finally:
            self._driver.save_screenshot(str(path))
        return self.text()

    def source(self, url: str, *, until: str) -> str:
        """Go there and wait until the page's HTML holds `until`; returns the HTML."""
        self._driver.get(url)
        try:
            WebDriverWait(self._driver, PATIENCE_SECONDS).until(
                lambda driver: until in driver.page_source
            )
        except TimeoutException:
            raise AssertionError(f"wanted {until!r} in the HTML of {url}, got none") from None
        return str(self._driver.page_source)

    def text(self) -> str:
        """What a person can read on the page."""
        return str(self._driver.find_element(By.TAG_NAME, "body").text)
