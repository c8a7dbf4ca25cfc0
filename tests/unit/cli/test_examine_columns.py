"""What `closedloop doctor` says about columns that came later."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.cli.examine.columns import describe_columns
from closedloop.errors import ClosedLoopError
from closedloop.settings import Settings
from closedloop.turn.open import Loop
from closedloop.use_case.loop_toml import parse_use_case
from tests.unit.streams import CONTENT, Frames, make_frame

NAMES = [f"2026-{month:02d}" for month in range(1, 8)]


def open_shop(folder: Path, columns: dict[str, Any], comments: str = "") -> Loop:
    """Seven months: `coupon` since the third, `shop` since the sixth, `order` always."""
    frames: dict[str, pd.DataFrame] = {}
    for place, name in enumerate(NAMES):
        frames[name] = make_frame(place, rows=10).assign(order=range(10))
        if place >= 2:
            frames[name] = frames[name].assign(coupon=[1.5, None, *[2.5] * 8])
        if place >= 5:
            frames[name] = frames[name].assign(**{"the shop": ["a", "b"] * 5})
    (folder / "loop.toml").write_text(comments, encoding="utf-8")
    content = {**CONTENT, "columns": {**CONTENT["columns"], **columns}}
    nothing: Any = None
    use_case = parse_use_case(content, folder / "loop.toml")
    return Loop(use_case, Settings(home=folder), Frames(frames), nothing, nothing, nothing, nothing)


def test_the_lines_of_a_new_column_are_shown(tmp_path: Path) -> None:
    """TOML to copy, as init writes it, with the first window that has the column; what init leaves
    out is a comment, and a column that a comment names is not told."""
    comments = '# left out: "order" is an id'
    found = describe_columns(open_shop(tmp_path, {}, comments))
    assert found.startswith("2026-07 has 2 that loop.toml does not name: coupon, the shop;")
    lines = tomllib.loads(found.partition("\n")[2])["columns"]
    assert lines == {
        "coupon": {
            "type": "numeric",
            "minimum": 0,
            "maximum": 3.5,
            "max_null_rate": 0.2,
            "since": "2026-03",
        },
        "the shop": {"type": "categorical", "allowed": ["a", "b"], "since": "2026-06"},
    }
    without_comment = describe_columns(open_shop(tmp_path, {}))
    assert '# left out: "order" is an id or a row number' in without_comment
    assert describe_columns(open_shop(tmp_path, lines, comments)).startswith(
        "loop.toml names every column"
    )


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({}, "2026-01 to 2026-02: wanted every column of loop.toml, got no coupon, so no model"),
        ({"since": "2026-03"}, None),
        ({"optional": True}, None),
        ({"since": "2025-12"}, "got no coupon"),
    ],
)
def test_a_column_that_drops_all_older_windows_is_found(
    tmp_path: Path, more: dict[str, Any], complaint: str | None
) -> None:
    """The windows that no model learns from are named, with the line that keeps them."""
    loop = open_shop(tmp_path, {"coupon": {"type": "numeric", **more}})
    if complaint is None:
        assert "coupon" not in describe_columns(loop)
        return
    with pytest.raises(ClosedLoopError, match=complaint) as raised:
        describe_columns(loop)
    assert raised.value.then.startswith('add to [columns.coupon]: since = "2026-03"')
