"""The benchmark of drift references counts what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.bench.references import SEASON, SIZES, WINDOWS, main, make_stream, make_window


def test_a_generated_year_repeats_itself(tmp_path: Path) -> None:
    """July is warm every year, and in a stream that changes more is spent in the last one."""
    july = [make_window(2_000, month, np.random.default_rng(month)) for month in (3, 3 + SEASON)]
    winter = make_window(2_000, 9, np.random.default_rng(9))
    warmth = [float(frame["warmth"].mean()) for frame in (*july, winter)]
    assert abs(warmth[0] - warmth[1]) < 0.5
    assert warmth[0] - warmth[2] > 15
    for changes in (False, True):
        frame = pd.read_parquet(make_stream(tmp_path, "made", 500, 2, changes))
        spent = frame.groupby("window")["spend"].median()
        assert len(spent) == WINDOWS
        assert (spent[WINDOWS - 1] > 1.3 * spent[WINDOWS - 1 - SEASON]) == changes


@pytest.mark.nightly
def test_every_reference_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On small windows and without real streams, both tables come out whole: last year's rows are
    quiet where the training rows are not."""
    out = tmp_path / "references.json"
    small = ["--seeds", "1", "--rows", "120", "--pairs", "2", "--streams", str(tmp_path)]
    assert main([*small, "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    found = {(line["stream"], line["reference"]): line for line in content["streams"]}
    assert len(found) == 6
    assert all(line["windows"] == WINDOWS - SEASON - 1 for line in found.values())
    quiet = found["repeats 2", "season:12"]
    assert quiet["over"] < found["repeats 2", "training"]["over"]
    assert len(content["false_alarms"]) == 2 * len(SIZES)
    assert "season:12" in capsys.readouterr().out
