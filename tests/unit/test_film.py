"""The film of a terminal: waits are cut, captions can be read, and nothing else is changed."""

from __future__ import annotations

import re
from html import unescape

import pytest

from docs.chromium import open_browser
from docs.film import (
    LONGEST_WAIT_SECONDS,
    ROWS,
    Frame,
    Line,
    Scene,
    draw_terminal,
    length,
    pace,
    play,
    reading_seconds,
)
from docs.make_recording import ROOT, hide, main
from docs.story import STILL, tell

BEFORE = "Before it is done there is little to see, and this must be read meanwhile."
SCENE = Scene("Look", "closedloop status", {"": BEFORE, "^done": "After.", "^all": "Last."})
LINES = [Line("looking", 0.3), Line("\x1b[32mdone\x1b[0m", 12.0), Line("all 3 <hold>", 0.001)]


def _shown(frame: Frame) -> str:
    """What a person reads in a frame."""
    return unescape(re.sub(r"<div class='wait'>.*?</div>|<[^>]+>", "", frame.picture)).strip()


def test_a_long_wait_is_cut_and_says_how_long_it_was() -> None:
    """Twelve seconds of work take one and a half, and the frame names the twelve; a short wait
    stays as it was."""
    frames = play(SCENE, LINES)
    [cut] = [frame for frame in frames if frame.waiting]
    assert cut.seconds == LONGEST_WAIT_SECONDS
    assert "12 seconds" in cut.picture
    assert _shown(cut).endswith("looking")
    assert [frame.seconds for frame in frames if _shown(frame).endswith("status")][-1] == 0.3


def test_the_film_ends_with_all_that_was_printed() -> None:
    """The command is typed letter by letter, and at last its whole output stands there as text."""
    frames = play(SCENE, LINES)
    assert _shown(frames[0]) == "$"
    assert _shown(frames[1]) == "$ clo"
    assert _shown(frames[-1]).splitlines() == [
        "$ closedloop status",
        "looking",
        "done",
        "all 3 <hold>",
    ]


def test_a_caption_begins_with_its_line_and_stays_until_it_is_read() -> None:
    """No frame has a line before its caption; each caption has its time, also where the command
    was faster, and a wait is never made longer."""
    paced = pace(play(SCENE, LINES))
    for caption, line in ((BEFORE, "looking"), ("After.", "done"), ("Last.", "all 3 <hold>")):
        assert [_shown(frame) for frame in paced if frame.caption == caption][-1].endswith(line)
        assert length([frame for frame in paced if frame.caption == caption]) >= reading_seconds(
            caption
        )
    long = Frame("picture", "Look", " ".join(["word"] * 50), 0.0)
    assert length(pace([long, *play(SCENE, LINES)])) == pytest.approx(
        reading_seconds(long.caption) + length(paced)
    )
    assert [frame.seconds for frame in paced if frame.waiting] == [LONGEST_WAIT_SECONDS]


def test_a_caption_without_its_line_is_an_error() -> None:
    """A command that prints something else than the story expects stops the film."""
    with pytest.raises(ValueError, match="no line matches '\\^done'"):
        play(SCENE, LINES[:1])


def test_a_full_terminal_shows_its_last_rows() -> None:
    """Long output scrolls, a line wider than the terminal counts as several rows."""
    shown = draw_terminal([*map(str, range(100)), "x" * 300])
    rows = re.sub(r"<[^>]+>", "", shown).strip().splitlines()
    assert rows[0] == str(100 - ROWS + 3)
    assert len(rows) == ROWS


def test_no_login_and_no_folder_is_shown() -> None:
    """What `closedloop up` prints loses its login, and a path what stands above the run."""
    printed = f"MLflow http://127.0.0.1:5000/?token=a-B_9#/models {ROOT}/var/logs"
    assert hide(printed, ROOT) == "MLflow http://127.0.0.1:5000/?token=********#/models var/logs"


def test_the_story_fits_below_the_picture() -> None:
    """A caption has at most two lines, and the still is taken from one that exists."""
    captions = [
        caption
        for part in tell()
        for caption in (part.captions.values() if hasattr(part, "captions") else [part.caption])
    ]
    assert max(map(len, captions)) <= 170
    assert any(caption.startswith(STILL) for caption in captions)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ffmpeg, or without a browser, nothing is run and the error says what to install."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="wanted ffmpeg on the PATH: install it"):
        main()
    with pytest.raises(SystemExit, match="wanted chromium and chromedriver on the PATH"):
        with open_browser(width=1, height=1):
            pass
