"""Film a real run into docs/demo.mp4: `make recording`.

Every command runs in a folder of its own and every page is the real one; only waits are cut. Needs
ffmpeg, curl, Chromium and chromedriver. The film is committed, so nobody else needs them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path

from rich.text import Text
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import WebDriverWait

from docs.chromium import open_browser, save_picture
from docs.film import COLUMNS, Card, Frame, Line, Page, Scene, draw_page, length, pace, play, prompt
from docs.story import STILL, tell

ROOT = Path(__file__).resolve().parents[1]
FILM, STILL_PICTURE = ROOT / "docs" / "demo.mp4", ROOT / "docs" / "pictures" / "demo-still.png"
MAX_BYTES, MAX_STILL_BYTES = 8_000_000, 150_000
SHORTEST_SECONDS, LONGEST_SECONDS = 180, 300
WIDTH, HEIGHT = 1280, 720
# A page is photographed larger, and fits below its address.
PAGE_WIDTH, PAGE_HEIGHT = 1440, 640
PATIENCE_SECONDS, SETTLE_SECONDS = 60.0, 3.0
_CURSOR = re.compile(r"\x1b\[\?25[lh]|\x1b\[\d*[AK]|\r")
_LOGIN = re.compile(r"(?<=token=)[\w-]+")
_LINK = re.compile(r"^(\S.*?)  +(http\S+|\S+\.html)$", re.MULTILINE)
# Otherwise MLflow opens an assistant over a part of its page.
_NO_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
_SCROLL = """document.querySelectorAll('*').forEach(part => {
  if (part.scrollHeight > part.clientHeight) part.scrollTop = arguments[0]})"""
_PAGE = """<html><head><meta charset="utf-8"><style>
body {margin: 0; width: 1280px; height: 720px; overflow: hidden; background: #0f172a;
  font-family: 'DejaVu Sans', sans-serif; color: #e2e8f0}
pre {font: 17px/1.32 'DejaVu Sans Mono', monospace; margin: 0}
#stage {position: relative; height: 604px; overflow: hidden}
.terminal {height: 572px; padding: 16px 46px; background: #1b1d23}
.wait {position: absolute; top: 14px; right: 20px; padding: 6px 14px; border-radius: 6px;
  background: #b45309; color: white; font-size: 17px}
.address {height: 20px; padding: 8px 20px; background: #cbd5e1; color: #1e293b;
  font: 16px 'DejaVu Sans Mono', monospace}
.page {display: block; width: 1280px}
.card {padding: 40px 90px}
.card h1 {font-size: 46px; margin: 0 0 6px}
.card h2 {font-size: 23px; font-weight: normal; margin: 0}
.card pre {font-size: 26px; margin-top: 34px; color: #7dd3fc}
#caption {height: 116px; padding: 10px 46px; box-sizing: border-box; border-top: 3px solid #38bdf8}
#chapter {font-size: 15px; color: #7dd3fc; margin-bottom: 6px}
#text {font-size: 23px; line-height: 1.3}
</style></head><body><div id="stage">STAGE</div><div id="caption"><div id="chapter">CHAPTER</div>
<div id="text">CAPTION</div></div></body></html>"""


def main() -> None:
    """Write the film and its picture; raises SystemExit with what is missing or wrong."""
    for program in ("ffmpeg", "curl"):
        if not shutil.which(program):
            sys.exit(f"wanted {program} on the PATH: install it")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        frames = pace(film(folder))
        seconds = length(frames)
        if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
            sys.exit(f"wanted three to five minutes, got {seconds:.0f} s: change docs/story.py")
        draw(frames, folder)
        encode(frames, folder)
    size = FILM.stat().st_size
    if size > MAX_BYTES:
        sys.exit(f"wanted {FILM.name} of at most {MAX_BYTES} bytes, got {size}: make it smaller")
    sys.stdout.write(f"{FILM}: {size:,} bytes, {seconds:.0f} seconds\n")


def film(folder: Path) -> list[Frame]:
    """Live the story in a folder: its frames, in order."""
    data = ROOT / "data"
    shutil.copytree(data, folder / "data", ignore=shutil.ignore_patterns("generated"))
    frames: list[Frame] = []
    links: dict[str, str] = {}
    screen: list[str] = []
    with ExitStack() as stack:
        window = stack.enter_context(open_browser(width=PAGE_WIDTH, height=PAGE_HEIGHT))
        window.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _NO_ASSISTANT})
        for part in tell():
            if isinstance(part, Card):
                card = f"<div class='card'>{part.text}</div>"
                frames.append(Frame(card, part.chapter, part.caption, 0.0))
            elif isinstance(part, Page):
                frames.append(photograph(window, part, links, folder))
            else:
                sys.stdout.write(f"$ {part.command.splitlines()[0]}\n")
                lines = run(part, folder, stack)
                links |= _LINK.findall("\n".join(Text.from_ansi(line.text).plain for line in lines))
                lines = [Line(hide(line.text, folder), line.after) for line in lines]
                # A chapter has one terminal.
                above = screen if frames[-1].chapter == part.chapter else []
                frames += play(part, lines, above=above)
                screen = [*above, *prompt(part.command), *(line.text for line in lines)]
    return frames


def run(scene: Scene, folder: Path, stack: ExitStack) -> list[Line]:
    """What a command prints, and when; what goes on is stopped with the stack."""
    foreign = ("CLOSEDLOOP_", "MLFLOW_", "PREFECT_")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": str(COLUMNS),
        "FORCE_COLOR": "1",
        "TTY_INTERACTIVE": "0",
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        ["bash", "-c", f"exec {scene.command}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    lines: list[Line] = []
    assert process.stdout is not None
    before = time.monotonic()
    for printed in process.stdout:
        now = time.monotonic()
        lines.append(Line(_CURSOR.sub("", printed.rstrip("\n")), now - before))
        before = now
        if scene.until and scene.until in printed:
            return lines
    if process.wait() or scene.until:
        said = "\n".join(line.text for line in lines)
        sys.exit(f"wanted {scene.command.splitlines()[0]} to work, got:\n{said}")
    return lines


def hide(text: str, folder: Path) -> str:
    """A text without logins and without the folder of this run."""
    return _LOGIN.sub("********", text).replace(f"{folder}/", "")


def photograph(window: Chrome, page: Page, links: dict[str, str], folder: Path) -> Frame:
    """The frame of a page; raises SystemExit when it does not come, or names this machine."""
    if link := links.get(page.link):
        window.get(link if link.startswith("http") else (folder / link).as_uri())
    elif page.link:
        window.get("/".join(window.current_url.split("/")[:3]) + page.link)
    if page.click:
        window.find_element("partial link text", page.click).click()

    def is_there(window: Chrome) -> bool:
        # Some rows are made only where they can be seen.
        window.execute_script(_SCROLL, page.scroll)
        return page.until in window.find_element("tag name", "body").text

    missing = f"{page.until!r} is not on the page for: {page.caption}"
    WebDriverWait(window, PATIENCE_SECONDS).until(is_there, missing)
    time.sleep(SETTLE_SECONDS)  # what a page draws has no end that could be waited for
    address = window.current_url.partition("?")[0]
    text = address + window.find_element("tag name", "body").text
    if address.startswith("file:"):
        address = address.rpartition("/")[2]
    elif str(folder) in text or _LOGIN.search(text):
        sys.exit(f"wanted no folder and no login on a page, got one: {page.caption}")
    picture = f"data:image/png;base64,{window.get_screenshot_as_base64()}"
    return Frame(draw_page(address, picture), page.chapter, page.caption, 0.0)


def draw(frames: Sequence[Frame], folder: Path) -> None:
    """A numbered picture of each frame, and the picture that links to the film."""
    chapters = list(dict.fromkeys(frame.chapter for frame in frames))
    best = max(
        (frame for frame in frames if frame.caption.startswith(STILL)),
        key=lambda frame: frame.seconds,
    )
    page = folder / "frame.html"
    with open_browser(width=WIDTH, height=HEIGHT) as window:
        for number, frame in enumerate(frames):
            chapter = f"{chapters.index(frame.chapter) + 1} / {len(chapters)} · {frame.chapter}"
            shown = _PAGE.replace("CHAPTER", escape(chapter)).replace(
                "CAPTION", escape(frame.caption)
            )
            page.write_text(shown.replace("STAGE", frame.picture), encoding="utf-8")
            window.get(page.as_uri())
            picture = window.get_screenshot_as_png()
            (folder / f"{number:05}.png").write_bytes(picture)
            if frame is best:
                save_picture(picture, STILL_PICTURE, max_bytes=MAX_STILL_BYTES, colors=256)


def encode(frames: Sequence[Frame], folder: Path) -> None:
    """The film from the numbered pictures."""
    shown = [
        f"file {number:05}.png\nduration {frame.seconds:.3f}" for number, frame in enumerate(frames)
    ]
    # ffmpeg takes the duration of the last picture from the one that follows.
    text = "\n".join(["ffconcat version 1.0", *shown, f"file {len(frames) - 1:05}.png", ""])
    (folder / "frames.txt").write_text(text, encoding="utf-8")
    words = "-y -v error -i frames.txt -vf fps=10,format=yuv420p -c:v libx264 -preset slow -crf 26"
    words += " -tune stillimage -g 100 -map_metadata -1 -movflags +faststart"
    subprocess.run(["ffmpeg", *words.split(), str(FILM)], cwd=folder, check=True)


if __name__ == "__main__":
    main()
