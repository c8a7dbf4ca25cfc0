"""Headless Chromium for what the documents show: one window, and small pictures of its pages."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service


@contextmanager
def open_browser(*, width: int, height: int) -> Iterator[webdriver.Chrome]:
    """A window whose page has this size in pixels; raises SystemExit without Chromium."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        sys.exit("wanted chromium and chromedriver on the PATH: install both")
    options = Options()
    options.binary_location = browser
    for option in (
        "--headless=new",
        "--no-sandbox",
        "--hide-scrollbars",
        "--disable-background-networking",
        f"--window-size={width},{height}",
    ):
        options.add_argument(option)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    with webdriver.Chrome(options=options, service=Service(driver)) as window:
        window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        window.implicitly_wait(30)
        yield window


def save_picture(content: bytes, picture: Path, *, max_bytes: int, colors: int = 64) -> None:
    """Write a PNG of few colours; raises SystemExit when it is larger than a clone should carry."""
    with Image.open(io.BytesIO(content)) as image:
        few = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=colors)
    few.save(picture, optimize=True)
    size = picture.stat().st_size
    if size > max_bytes:
        sys.exit(f"wanted {picture.name} of at most {max_bytes} bytes, got {size}: make it smaller")
    sys.stdout.write(f"{picture}: {size:,} bytes\n")
