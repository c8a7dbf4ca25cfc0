"""Draw the pictures of README.md from what `make demo` left: `make pictures`.

Needs Chromium and chromedriver on the PATH. The pictures are committed, so nobody else needs them.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from closedloop.settings import Settings
from docs.chromium import open_browser, save_picture

PICTURES = Path(__file__).resolve().parent / "pictures"
DRIFTED_WINDOW = "month_004"
COLUMNS = 118
MAX_BYTES = 200_000
_PAGE = """<html><body style="margin: 24px; background: white"><pre style="font: 15px/1.35
'DejaVu Sans Mono', monospace; margin: 0"><code>{code}</code></pre></body></html>"""


def main() -> None:
    """Write both pictures; raises SystemExit with what is missing."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.html"
        history.write_text(write_history(), encoding="utf-8")
        draw(find_report(), PICTURES / "drift-report.png", width=1300, height=1000)
        draw(history, PICTURES / "history.png", width=1120, height=900)


def find_report() -> Path:
    """The drift report of the window after the price rise."""
    for decision in json.loads(_print_history("--json")):
        run = decision["details"].get("run")
        if decision["window"] == DRIFTED_WINDOW and run:
            pattern = f"*/{run}/artifacts/drift_report.html"
            for report in Settings().artifacts_folder.glob(pattern):
                return report
    sys.exit(f"wanted the drift report of {DRIFTED_WINDOW}, found none: run make demo first")


def write_history() -> str:
    """What `closedloop history` prints, as a page."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"$ closedloop history\n{_print_history()}"))
    return console.export_html(code_format=_PAGE, inline_styles=True)


def _print_history(*flags: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "closedloop", "history", *flags],
        env={**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def draw(page: Path, picture: Path, *, width: int, height: int) -> None:
    """A picture of a page, as a PNG of few colours."""
    with open_browser(width=width, height=height) as window:
        window.get(page.as_uri())
        window.find_element("xpath", "//*[contains(., 'month_') or contains(., 'Drift')]")
        save_picture(window.get_screenshot_as_png(), picture, max_bytes=MAX_BYTES)


if __name__ == "__main__":
    main()
