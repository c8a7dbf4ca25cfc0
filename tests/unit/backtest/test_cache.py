"""Replays compute everything once: what is the same by content is not fitted, asked or measured
again, in this run or in the next."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.digests import digest_frame
from closedloop.backtest.next_window import measure_advantage
from closedloop.bundle.frames import score_frame
from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.decisions.drift_report import DriftReport
from closedloop.errors import StoreError
from closedloop.training.candidates import LabelledWindow, labelled_rows, split_windows
from closedloop.turn.compute import Compute
from closedloop.use_case.contract import UseCase
from closedloop.windows.prepare import prepare
from tests.unit.streams import Frames, make_frame, make_use_case


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


def answer(compute: Compute, use_case: UseCase, asked: pd.DataFrame) -> np.ndarray:
    return score_frame(compute.fit("logistic/all", windows(use_case), use_case), asked)


def test_the_same_rows_are_fitted_once(use_case: UseCase) -> None:
    """New frames with the same content are the same fit, and its answers are those of a live fit
    to the last bit."""
    compute, asked = CachedCompute(), windows(use_case)[2].frame
    answers = [answer(compute, use_case, asked) for _ in range(2)]
    assert compute.fits == 1
    expected = answer(Compute(), use_case, asked)
    assert all(np.array_equal(found, expected) for found in answers)


def test_whatever_changes_the_fit_is_another_fit(use_case: UseCase) -> None:
    """Rows, labels, recipe, seed, and for weighted rows their ages: each makes a fit of its own;
    the place in time alone does not."""
    compute, given = CachedCompute(), windows(use_case)
    flipped = (*given[:2], replace(given[2], labels=1 - given[2].labels))
    other_seed = replace(use_case, training=replace(use_case.training, seed=8))
    compute.fit("logistic/all", given, use_case)
    for changed, recipe, case in [
        (given[:2], "logistic/all", use_case),
        (flipped, "logistic/all", use_case),
        (given, "logistic/recent", use_case),
        (given, "baseline/all", use_case),
        (given, "logistic/all", other_seed),
    ]:
        before = compute.fits
        compute.fit(recipe, changed, case)
        assert compute.fits == before + 1
    before = compute.fits
    compute.fit("logistic/all", windows(use_case, first=4), use_case)
    compute.fit("logistic/recent", windows(use_case, first=4), use_case)
    assert compute.fits == before
    compute.fit("logistic/recent", (replace(given[0], index=-1), *given[1:]), use_case)
    assert compute.fits == before + 1


def test_rows_with_other_groups_are_other_rows(tmp_path: Path) -> None:
    """A window is read once for a group column, and again for another one or none; its digest, and
    so the key of every decision, follows the groups. A first window that is parted by other groups
    teaches other rows, which is another fit; groups alone are none."""
    compute, frame = CachedCompute(), make_frame(0).assign(a=np.arange(300) // 3, b="one")
    source: Any = Frames({"w0": frame})
    reads = [
        compute.read_window(source, "w0", 0, make_use_case(tmp_path, **group), None)
        for group in ({}, {"group": "a"}, {"group": "b"}, {"group": "a"})
    ]
    assert [[name for name in "ab" if name in read.prepared] for read in reads] == [
        [],
        ["a"],
        ["b"],
        ["a"],
    ]
    assert len({read.facts.digest for read in reads}) == 3
    assert reads[3] is reads[1]
    plain, grouped = make_use_case(tmp_path), make_use_case(tmp_path, group="a")
    for use_case, read in ((plain, reads[0]), (grouped, reads[1])):
        compute.fit("logistic/all", (read.labelled,), use_case)
    assert compute.fits == 1
    for use_case, read in ((plain, reads[0]), (grouped, reads[1])):
        compute.fit("logistic/all", split_windows((read.labelled,), use_case).history, use_case)
    assert compute.fits == 3


def test_the_next_window_is_compared_by_groups(use_case: UseCase, tmp_path: Path) -> None:
    """A backtest's interval of a candidate's advantage counts groups; a broken next window without
    the column has none, and the replay goes on."""
    grouped = make_use_case(tmp_path, group="a")
    frame = make_frame(9).assign(a=np.arange(300) // 10)
    models: Any = [
        SimpleNamespace(scorer=Compute().fit("logistic/all", (windows(use_case)[place],), use_case))
        for place in (0, 1)
    ]
    found = [
        measure_advantage(*models, labelled_rows("w9", 9, prepare(rows, case), "", case), case)
        for rows, case in ((frame, use_case), (frame, grouped), (frame.drop(columns="a"), grouped))
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].groups is None
    assert found[1].groups is not None
    assert found[1].value == found[0].value
    assert found[2] is None


def test_a_second_run_fits_nothing(use_case: UseCase, tmp_path: Path) -> None:
    """With the same folder, earlier answers are read to the last bit and nothing is fitted; a new
    question fits once more."""
    rows = [window.frame for window in windows(use_case)]
    first, second = CachedCompute(tmp_path / "cache"), CachedCompute(tmp_path / "cache")
    expected = answer(first, use_case, rows[0])
    assert np.array_equal(answer(second, use_case, rows[0]), expected)
    assert (first.fits, second.fits) == (1, 0)
    answer(second, use_case, rows[1])
    assert second.fits == 1


def test_only_this_user_can_enter_the_cache(tmp_path: Path) -> None:
    """Its files are pickles, so nobody else may put one there."""
    CachedCompute(tmp_path / "shop" / "cache")
    assert (tmp_path / "shop" / "cache").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b"not a result, " * 100])
def test_damaged_results_are_computed_again(
    use_case: UseCase, tmp_path: Path, damage: bytes
) -> None:
    """Files that were cut off or overwritten cost a fit, and the answer stays the same."""
    asked = windows(use_case)[2].frame
    expected = answer(CachedCompute(tmp_path / "cache"), use_case, asked)
    results = list((tmp_path / "cache").rglob("output.pkl"))
    assert results
    for path in results:
        path.write_bytes(damage)
    again = CachedCompute(tmp_path / "cache")
    assert np.array_equal(answer(again, use_case, asked), expected)
    assert again.fits == 1


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    """A file in its place ends in one sentence: delete it."""
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(StoreError, match="delete it"):
        CachedCompute(tmp_path / "cache")


@pytest.mark.slow
def test_drift_is_known_by_its_rows_and_no_reference_is_kept(
    use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which reference was asked for makes no difference to the same rows, how limits are drawn
    does; rows that nobody needs are let go, and others in their place are other rows."""
    measured = []

    def count(*sides: pd.DataFrame, **options: Any) -> tuple[DriftReport, None]:
        measured.append(sides)
        return DriftReport("", "", len(sides[0]), len(sides[1]), ()), None

    monkeypatch.setattr("closedloop.metrics.drift.measure_drift", count)
    compute, current = CachedCompute(), make_frame(1)
    asked: dict[str, Any] = {
        "policy": DriftPolicy(),
        "current_name": "w1",
        "ignore_nulls": frozenset(),
        "limits_from_both": False,
    }

    def ask(frame: pd.DataFrame, **changes: Any) -> str:
        found = compute.measure_drift(
            frame, current, **{**asked, "reference_name": "w0", **changes}
        )
        return found[0].reference

    frame = make_frame(0)
    assert ask(frame) == "w0"
    assert ask(frame, policy=DriftPolicy(reference="season:12"), reference_name="last") == "last"
    assert len(measured) == 1
    ask(frame, limits_from_both=True)
    assert len(measured) == 2
    measured.clear()
    gone = weakref.ref(frame)
    del frame
    gc.collect()
    assert gone() is None
    for seed in range(2, 12):
        ask(make_frame(seed))
    assert len(measured) == 10


def test_every_cell_counts_and_the_index_does_not() -> None:
    """The digest changes with a value, a null, a name or the order of rows, and with nothing
    else."""
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]})
    digests = [
        digest_frame(changed)
        for changed in (
            frame,
            frame.assign(a=[1.0, np.nan]),
            frame.assign(b=["x", "None"]),
            frame.iloc[::-1],
            frame.rename(columns={"a": "c"}),
        )
    ]
    assert len(set(digests)) == 5
    assert digest_frame(frame.set_axis([7, 8])) == digests[0]
