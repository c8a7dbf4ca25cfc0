"""Draw the pictures of docs/page.md from what `make demo` left: `make pictures`.

Needs Chromium and chromedriver on the PATH. The page runs on a port of its own, without a key.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docs.chromium import open_browser, save_picture

PICTURES = Path(__file__).resolve().parent / "pictures"
MAX_BYTES, COLORS = 200_000, 48
PATIENCE_SECONDS = 120.0
VIEWS = (
    ("page-overview.png", "/", 1280, 1500, False),
    ("page-drift.png", "/drift", 1280, 900, True),
    ("page-versions.png", "/versions/compare?first=1&second=2", 1280, 1200, False),
)


def main() -> None:
    """Write the pictures; raises SystemExit with what is missing."""
    PICTURES.mkdir(exist_ok=True)
    with running_page() as address:
        for name, path, width, height, dark in VIEWS:
            with open_browser(width=width, height=height) as window:
                scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
                window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
                window.get(f"{address}{path}")
                window.find_element("tag name", "footer")
                content = window.get_screenshot_as_png()
                save_picture(content, PICTURES / name, max_bytes=MAX_BYTES, colors=COLORS)


@contextmanager
def running_page() -> Iterator[str]:
    """The address of the page of the demo's home, for the duration of the block."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "closedloop", "page", "--port", str(port)]
    page: Any = subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _answers(f"{address}/alive"):
            if page.poll() is not None or time.monotonic() > deadline:
                sys.exit("wanted a page of the demo, got none: run make demo first")
            time.sleep(0.2)
        yield address
    finally:
        page.terminate()
        page.wait(timeout=60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
