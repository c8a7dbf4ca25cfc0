"""Probation where nothing is wrong, and where something is: whole replays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.replay import Past, Stream
from tests.bench.probation import Watched, watch
from tests.unit.streams import Frames, make_frame, make_past, make_use_case

pytestmark = pytest.mark.slow
ROWS = 300


def shuffled(folder: Path, seed: int, windows: int) -> Past:
    """Rows of one world in random order: no window differs from another but by chance."""
    whole = make_frame(seed, rows=ROWS * windows)
    return make_past(
        folder,
        {
            f"w{number:02}": whole[number * ROWS : (number + 1) * ROWS].reset_index(drop=True)
            for number in range(windows)
        },
    )


def planted(folder: Path, seed: int) -> Past:
    """A column tells the target in one window and nothing in any other."""
    past = shuffled(folder, seed, 9)
    frames, draw = {}, np.random.default_rng(seed)
    for number, name in enumerate(past.stream.names):
        frame = past.stream.read(name)
        truth = (frame["left"] == "yes").to_numpy(dtype=float)
        told = truth if number == 3 else draw.permutation(truth)
        frames[name] = frame.assign(visits=told * 3 + draw.normal(0, 0.5, len(frame)))
    more = {**past.use_case.content["columns"], "visits": {"type": "numeric"}}
    use_case = make_use_case(folder, labels={"delay_windows": 1}, columns=more)
    return Past(Stream(Frames(frames)), use_case, CachedCompute(), past.first)


def promotions(folder: Path, wanted: int, windows: int) -> list[Watched]:
    """At least so many promotions that came through a probation, over several streams."""
    found: list[Watched] = []
    for seed in range(1_000):
        found += watch(shuffled(folder, seed, windows), f"order {seed}")
        if len(found) >= wanted:
            return found
    raise AssertionError("no stream promotes")


@pytest.mark.nightly
def test_where_nothing_is_wrong_nothing_is_taken_back(tmp_path: Path) -> None:
    """A dozen promotions on shuffled rows, watched by every signal and two looks each."""
    found = promotions(tmp_path, 12, 20)
    assert [each for each in found if each.taken_back_in] == []


@pytest.mark.nightly
def test_of_a_hundred_promotions_of_equals_at_most_two_are_taken_back(tmp_path: Path) -> None:
    """The promise of the watch, on a hundred promotions of shuffled rows."""
    found = promotions(tmp_path, 100, 40)
    back = [each for each in found if each.taken_back_in]
    print(f"\n{len(back)} of {len(found)} promotions were taken back")
    assert len(back) <= 2, back


def test_a_planted_regression_that_passes_the_gate_is_taken_back(tmp_path: Path) -> None:
    """The version that learnt from the planted window is live at first, and not after its
    probation; how many windows and rows that took is printed."""
    learnt = [each for each in watch(planted(tmp_path, 2), "planted") if "w03" in each.learnt]
    print(f"\n{learnt[0]}")
    assert learnt[0].taken_back_in
    assert "significantly worse" in learnt[0].reason
    assert learnt[0].windows <= 2
