"""A terminal as a film: what a command printed, line by line, in time and with captions.

Nothing here runs a command or draws a picture; docs/make_recording.py does.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS = 116
ROWS = 25
# Bright colours on a dark ground; the ground is only what dim text is mixed with.
THEME = TerminalTheme(
    (72, 76, 88),
    (241, 245, 249),
    [
        (100, 116, 139),
        (248, 113, 113),
        (74, 222, 128),
        (250, 204, 21),
        (96, 165, 250),
        (192, 132, 252),
        (34, 211, 238),
        (241, 245, 249),
    ],
)
# A longer wait is cut to this.
LONGEST_WAIT_SECONDS = 1.5
# Lines that follow each other faster appear together.
SAME_MOMENT_SECONDS = 0.1
TYPED_SECONDS, MOST_TYPED_FRAMES = 0.2, 10
# How long the end of a command's output stays at least.
RESULT_SECONDS = 4.0
# How long a caption stays at least: a moment to notice it, and slow reading.
NOTICE_SECONDS, SECONDS_PER_WORD = 1.5, 0.28


@dataclass(frozen=True)
class Line:
    """A line that a command printed, and the seconds since the line before it."""

    text: str
    after: float


@dataclass(frozen=True)
class Scene:
    """A command and its captions: each begins with the first line that its pattern matches."""

    chapter: str
    command: str
    captions: dict[str, str]
    # The line after which it goes on by itself until the film ends.
    until: str = ""


@dataclass(frozen=True)
class Page:
    """A page of a browser: a link by the name it was printed with, a path, or a text to click."""

    chapter: str
    caption: str
    link: str = ""
    click: str = ""
    # A text that is there once the page is.
    until: str = ""
    scroll: int = 0


@dataclass(frozen=True)
class Card:
    """A page of text of the film's own, as HTML."""

    chapter: str
    caption: str
    text: str


@dataclass(frozen=True)
class Frame:
    """A picture as HTML, and how many seconds it stays; `waiting` while the command was at work."""

    picture: str
    chapter: str
    caption: str
    seconds: float
    waiting: bool = False


def play(scene: Scene, lines: Sequence[Line], *, above: Sequence[str] = ()) -> list[Frame]:
    """The frames of a scene below what stands there: typing, then the lines as they came.

    Raises ValueError when a caption waits for a line that does not come.
    """
    first, *further = scene.captions.items()
    caption, frames = first[1], list[Frame]()

    def add(seconds: float, waited: float = 0.0) -> None:
        picture = draw_terminal(shown, waited=waited)
        frames.append(Frame(picture, scene.chapter, caption, seconds, waiting=bool(waited)))

    typed = scene.command.partition("\n")[0]
    for end in range(0, len(typed), max(3, len(typed) // MOST_TYPED_FRAMES)):
        shown = [*above, f"$ {typed[:end]}"]
        add(TYPED_SECONDS)
    shown = [*above, *prompt(scene.command)]
    add(2 * TYPED_SECONDS)
    for line in lines:
        begins = further and re.search(further[0][0], Text.from_ansi(line.text).plain)
        if line.after > LONGEST_WAIT_SECONDS:
            add(0.0)
            add(LONGEST_WAIT_SECONDS, waited=line.after)
        elif begins or line.after > SAME_MOMENT_SECONDS:
            add(line.after)
        if begins:
            caption = further.pop(0)[1]
        shown.append(line.text)
    add(RESULT_SECONDS)
    if further:
        raise ValueError(f"{scene.command}: no line matches {further[0][0]!r}")
    return frames


def prompt(command: str) -> list[str]:
    """A command as it stands in a terminal."""
    return f"$ {command}".splitlines()


def pace(frames: Sequence[Frame]) -> list[Frame]:
    """The same frames, with each caption long enough to be read, without those of no length."""
    paced: list[Frame] = []
    for caption, group in groupby(frames, key=lambda frame: frame.caption):
        shown = list(group)
        missing = max(0.0, reading_seconds(caption) - length(shown))
        # Not in a frame that names the length of a wait.
        last = max(place for place, frame in enumerate(shown) if not frame.waiting)
        shown[last] = replace(shown[last], seconds=shown[last].seconds + missing)
        paced += [frame for frame in shown if frame.seconds > 0]
    return paced


def reading_seconds(caption: str) -> float:
    """How long a caption must stay."""
    return NOTICE_SECONDS + SECONDS_PER_WORD * len(caption.split())


def length(frames: Sequence[Frame]) -> float:
    """Seconds from the first frame to the end of the last."""
    return sum(frame.seconds for frame in frames)


def draw_terminal(lines: Sequence[str], *, waited: float = 0.0) -> str:
    """The last rows of a terminal as HTML; a wait that was cut says how long it was."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    rows = console.render_lines(Text.from_ansi("\n".join(lines)), pad=False)[-ROWS:]
    for row in rows:
        console.print(Text.assemble(*((part.text, part.style or "") for part in row)))
    code = console.export_html(code_format="{code}", inline_styles=True, theme=THEME)
    work = f"<div class='wait'>at work for {waited:.0f} seconds, cut short</div>" if waited else ""
    return f"<div class='terminal'><pre>{code}</pre>{work}</div>"


def draw_page(address: str, picture: str) -> str:
    """A page of a browser as HTML: its address, and a picture of it as a data URI."""
    return f"<div class='address'>{escape(address)}</div><img class='page' src='{picture}' alt=''>"
