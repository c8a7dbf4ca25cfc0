"""Streams whose truth is known are what they say, and the figures about them are right."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.made_streams import KINDS, WINDOWS, Kind, make_stream
from tests.bench.replay_made import Lived, total


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_follows_from_its_numbers(kind: Kind) -> None:
    """The same numbers give the same rows, another seed gives others; every window has its rows and
    about its share of positives."""
    made, again, other = (make_stream(kind, seed, 400, 0.3) for seed in (1, 1, 3))
    assert made.frame.equals(again.frame)
    assert not made.frame.equals(other.frame)
    rows = made.truth.groupby("window")["target"].agg(["size", "mean"])
    assert (rows["size"] == 400).all()
    assert len(rows) == WINDOWS
    assert abs(rows["mean"].iloc[0] - 0.3) < 0.1


def test_only_the_suspect_window_has_wrong_labels() -> None:
    """A burst flips about two of five labels in one window and touches nothing else."""
    made = make_stream("wrong_labels", 1, 1000, 0.3)
    wrong = made.frame["target"] != made.truth["target"]
    assert set(made.frame.loc[wrong, "window"]) == {made.suspect}
    assert abs(wrong.sum() / 1000 - 0.4) < 0.06
    assert made.frame.drop(columns="target").equals(made.truth.drop(columns="target"))


def test_a_change_is_a_change_and_a_season_comes_back() -> None:
    """What the first feature says of the target changes where the stream says, and in a season it
    is the same again after a cycle."""

    def slopes(kind: Kind) -> np.ndarray:
        frame = make_stream(kind, 1, 3000, 0.3).truth
        return np.array(
            [
                [np.corrcoef(rows[f"x{place}"], rows["target"])[0, 1] for place in range(6)]
                for _, rows in frame.groupby("window")
            ]
        )

    changed = make_stream("abrupt", 1, 300, 0.3).changed_at
    assert changed is not None
    abrupt, season = slopes("abrupt"), slopes("recurring")
    assert np.abs(abrupt[changed - 1] - abrupt[0]).max() < 0.1
    assert np.abs(abrupt[changed] - abrupt[0]).max() > 0.2
    assert np.abs(season[12] - season[0]).max() < 0.1
    assert np.abs(season[6] - season[0]).max() > 0.2


def test_shares_are_of_what_always_retraining_gains() -> None:
    """Half of the gain is a share of 0.5; where there is next to nothing to gain there is no
    share."""
    lived = [
        Lived("abrupt", "every-1", 0.08, 1.0, 20, 0, 4),
        Lived("abrupt", "loop", 0.04, 0.3, 6, 1, 2),
    ]
    found = total(lived)
    assert found["loop"]["share"] == 0.5
    assert found["loop"]["windows_to_catch_up"] == 2
    assert total([Lived("none", "every-1", 0.001, 1.0, 1, 0)])["every-1"]["share"] is None
