"""What the views show: of an empty loop, of a real one, of years of turns, and of hostile names."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from api.guard.keys import open_keys
from api.page.app import create_page
from closedloop.turn.history import History
from closedloop.turn.kept_evidence import keep_evidence
from closedloop.turn.open import Loop
from closedloop.turn.take_turn import take_turn
from tests.page.conftest import PORT, Place, Visitor
from tests.page.made_journal import write_turns
from tests.turned_loop import write_loop

pytestmark = pytest.mark.slow

HOSTILE = "</script><b>bold</b>\u202egnol\x1b[31m" + "x" * 10_000
VIEWS = ("/", "/decisions", "/drift", "/versions")


def show(loop: Loop) -> Visitor:
    keys = open_keys(loop.settings.keys_file, "127.0.0.1", what="the page")
    return Visitor(create_page(loop, keys, host="127.0.0.1", port=PORT))


def read(visitor: Visitor, path: str) -> str:
    answer = visitor.get(path)
    assert answer.status_code == 200, (path, answer.text)
    text = answer.text
    assert not re.search(r"<script|\sstyle=|javascript:|\son[a-z]+=", text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    return text


def test_an_empty_loop_says_what_to_do_first(place: Place) -> None:
    """No view of a loop without any version is an error, and each names the first command."""
    pages = {path: read(place.visitor(), path) for path in VIEWS}
    assert "There is no model yet" in pages["/"]
    assert "closedloop train" in pages["/"]
    assert "closedloop train" in pages["/versions"]
    assert "closedloop monitor" in pages["/decisions"]
    assert "closedloop monitor" in pages["/drift"]


@pytest.mark.parametrize(
    "path",
    [
        "/decisions/7",
        "/drift/column?name=spend",
        "/versions/3",
        "/versions/compare?first=1&second=2",
        "/versions/compare?first=%F0%9F%92%A5&second=-1",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(place: Place, path: str) -> None:
    """A number or name from outside that leads nowhere is a 404 with words, not a fault."""
    answer = place.visitor().get(path)
    assert answer.status_code == 404
    assert "not there" in answer.text


def test_a_real_loop_is_shown_from_its_journal_and_its_runs(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """Two versions and a turn: overview, the decision with its checks, the heat map, the two
    distributions of a column, and both versions side by side."""
    made = write_loop(tmp_path, 3)
    make_mlflow_tables(made.settings.home_folder)
    made.train("2026-01")
    made.train("2026-02")
    loop = made.open()
    entry = take_turn(History(loop, "2026-03"), keep_report=keep_evidence)
    visitor = show(loop)
    first = read(visitor, "/")
    assert "Live AUC by window" in first
    assert "2026-03" in first
    assert "Every window had its turn" in first
    decision = read(visitor, f"/decisions/{entry.id}")
    assert "drift_share over its limit" in decision
    assert "Run in MLflow" in decision
    assert decision.count("<svg") >= 3
    assert 'href="/drift/column?name=spend"' in read(visitor, "/drift")
    column = read(visitor, "/drift/column?name=spend&window=2026-03")
    assert "2 rows" not in column
    assert "reference as a line" in column
    assert "missing" in column
    assert "gold" in read(visitor, "/drift/column?name=plan")
    compared = read(visitor, "/versions/compare?first=1&second=2")
    assert "300 rows of 1 windows: 2026-01" in compared
    assert "spend" in compared
    assert "Recipe" in read(visitor, "/versions/2")
    loop.engine.dispose()


@pytest.mark.parametrize("reference", [None, "2024-07"])
def test_a_window_says_what_it_was_compared_with(place: Place, reference: str | None) -> None:
    """The heat map names it below each window, and the column above both distributions; nothing
    more is said of the training rows than before."""
    write_turns(place.loop, ["2025-07"], ["plan", "spend"], kept=1, reference=reference)
    visitor = place.visitor()
    table, column = read(visitor, "/drift"), read(visitor, "/drift/column?name=spend")
    if reference is None:
        assert "compared with" not in table
        assert "compared with the rows that production was trained on" in column
    else:
        assert "compared with" in table
        assert "2024-07" in table
        assert "compared with 2024-07" in column
        assert '<th scope="col">2024-07</th>' in column
        assert "2024-07 as a line" in column


def test_names_from_outside_are_shown_as_text_and_cut(place: Place) -> None:
    """A tag, a turned direction, an escape and 10,000 characters in a window, a column and a
    category neither act nor fill the page."""
    write_turns(place.loop, [HOSTILE], [HOSTILE, "n"], kept=1, value=HOSTILE, reference=HOSTILE)
    visitor = place.visitor()
    column = f"/drift/column?name={quote(HOSTILE)}"
    for path in (*VIEWS, "/decisions/1", column, "/drift/column?name=n"):
        text = read(visitor, path)
        assert "<b>" not in text
        # An address names the whole column; nothing else does.
        assert "x" * 2_000 not in re.sub(r'href="[^"]*"', "", text), path
    assert html.escape("</script>") in read(visitor, "/decisions/1")
    assert visitor.get("/drift/column?name=%3C/script%3E&window=%00").status_code == 404


@pytest.mark.nightly
def test_years_of_turns_are_a_light_page(place: Place) -> None:
    """500 decisions and 100 columns in 24 windows: no view weighs 300 KB, style included."""
    columns = [f"a column with a long name {number}" for number in range(100)]
    write_turns(place.loop, [f"2024-{number:03}" for number in range(500)], columns, kept=24)
    visitor = place.visitor()
    style = sum(len(visitor.get(path).content) for path in ("/page.css", "/charts.css"))
    for path in (*VIEWS, "/decisions/500", f"/drift/column?name={quote(columns[0])}"):
        assert len(read(visitor, path).encode()) + style < 300_000, path
    assert "Page 2 of 10" in read(visitor, "/decisions?page=2")
    assert "Page 10 of 10" in read(visitor, "/decisions?page=9999999999999")
