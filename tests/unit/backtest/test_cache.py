"""Replays compute everything once: what is the same by content is not fitted, asked or measured
again, in this run or in the next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from closedloop.backtest.cache_file import Kept
from closedloop.backtest.cached_compute import CachedCompute, digest_frame
from closedloop.errors import StoreError
from closedloop.training.candidates import LabelledWindow, Trainer, labelled_rows
from closedloop.use_case.contract import UseCase
from closedloop.windows.contract_check import prepare
from tests.unit.streams import make_frame, make_use_case


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    return make_use_case(tmp_path)


def windows(use_case: UseCase, count: int = 3, first: int = 0) -> tuple[LabelledWindow, ...]:
    return tuple(
        labelled_rows(
            f"w{number}", number + first, prepare(make_frame(number), use_case), "", use_case
        )
        for number in range(count)
    )


def test_the_same_rows_are_fitted_once(use_case: UseCase) -> None:
    """Frames made anew with the same content are the same fit, and its answers are those of a live
    fit to the last bit."""
    memo, asked = CachedCompute(), windows(use_case)[2].frame
    answers = [
        memo.probabilities(memo.fit("logistic/all", windows(use_case), use_case), asked, use_case)
        for _ in range(2)
    ]
    assert memo.fits == 1
    live = Trainer()
    expected = live.probabilities(
        live.fit("logistic/all", windows(use_case), use_case), asked, use_case
    )
    assert all(np.array_equal(one, expected) for one in answers)


def test_whatever_changes_the_fit_is_another_fit(use_case: UseCase) -> None:
    """Rows, labels, recipe, seed, and for weighed rows their ages: each makes a fit of its own; the
    place in time alone does not."""
    memo, given = CachedCompute(), windows(use_case)
    flipped = (*given[:2], replace(given[2], labels=1 - given[2].labels))
    other_seed = replace(use_case, training=replace(use_case.training, seed=8))
    memo.fit("logistic/all", given, use_case)
    for changed, recipe, case in [
        (given[:2], "logistic/all", use_case),
        (flipped, "logistic/all", use_case),
        (given, "logistic/recent", use_case),
        (given, "baseline/all", use_case),
        (given, "logistic/all", other_seed),
    ]:
        before = memo.fits
        memo.fit(recipe, changed, case)
        assert memo.fits == before + 1
    before = memo.fits
    memo.fit("logistic/all", windows(use_case, first=4), use_case)
    memo.fit("logistic/recent", windows(use_case, first=4), use_case)
    assert memo.fits == before
    memo.fit("logistic/recent", (replace(given[0], index=-1), *given[1:]), use_case)
    assert memo.fits == before + 1


def test_a_second_run_fits_nothing(use_case: UseCase, tmp_path: Path) -> None:
    """With the same file, what was answered is read and not fitted; a question that is new fits
    once more."""
    rows = [window.frame for window in windows(use_case)]
    for run, fits in ((1, 1), (2, 0)):
        memo = CachedCompute(Kept(tmp_path / "kept.db"))
        memo.probabilities(memo.fit("logistic/all", windows(use_case), use_case), rows[0], use_case)
        assert memo.fits == fits, f"run {run}"
    memo.probabilities(memo.fit("logistic/all", windows(use_case), use_case), rows[1], use_case)
    assert memo.fits == 1


def test_a_file_that_is_none_of_ours_says_what_to_do(tmp_path: Path) -> None:
    """A damaged file ends in one sentence: it may be deleted."""
    (tmp_path / "kept.db").write_bytes(b"not a database, " * 100)
    with pytest.raises(StoreError, match="delete the file"):
        Kept(tmp_path / "kept.db")


def test_every_cell_counts_and_the_index_does_not() -> None:
    """The digest changes with a value, a null, a name or the order of rows, and with nothing
    else."""
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]})
    digests = [
        digest_frame(one)
        for one in (
            frame,
            frame.assign(a=[1.0, np.nan]),
            frame.assign(b=["x", "None"]),
            frame.iloc[::-1],
            frame.rename(columns={"a": "c"}),
        )
    ]
    assert len(set(digests)) == 5
    assert digest_frame(frame.set_axis([7, 8])) == digests[0]
