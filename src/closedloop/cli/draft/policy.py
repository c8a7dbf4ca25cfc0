"""The minimums that `init` writes: as many rows as an interval needs, if the windows have them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.decisions.policy import PromotionPolicy
from closedloop.errors import UseCaseError
from closedloop.use_case.contract import MISSING, Training
from closedloop.windows.groups import number_values
from closedloop.windows.order import held_out
from closedloop.windows.spelling import spell
from closedloop.windows.time_names import in_time_order

# Rows of the rarest class from which an interval keeps its promise: docs/decisions.md. 30 is the
# default of loop.toml, with some to spare.
ENOUGH_OF_A_CLASS, _AMPLE_OF_A_CLASS = 20, 30
# Half of 55 rows is at least 20 in 98 of 100 draws.
_OF_A_CLASS_IN_A_WINDOW = 55
# Below this the usual `min_rows` of a retraining would leave out most windows.
_SMALL_WINDOW = 100
_USUAL_SHARE, _LARGE_SHARE = Training().holdout_share, 0.5
# Rows of the rarest class that several windows should have together: enough, or close to it.
_TOGETHER = (ENOUGH_OF_A_CLASS, 10)
# Answering a class to every row has an F1 of 2p / (1 + p), p being its share; a model that can tell
# something has half more. Where that is below the usual limit, the class is rare.
_USUAL_F1 = PromotionPolicy().min_f1


@dataclass(frozen=True)
class Minimums:
    """What windows of `rows` labelled rows can be asked for.

    `note` says how long windows would have to be, when these are too small to judge by. Of a rare
    class, `together` windows have `of_each_class` rows; `min_f1` is None where the usual will do.
    """

    rows: int
    judged: int
    of_each_class: int
    holdout_share: float
    note: str = ""
    together: int = 1
    min_f1: float | None = None


@dataclass(frozen=True)
class ClassCounts:
    """The labelled rows of each window (the index) and class (the columns), and their groups.

    Raises UseCaseError when there is none.
    """

    rows: pd.DataFrame
    groups: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        if not self.rows.size or not self.rows.to_numpy().any():
            raise UseCaseError(
                where="init",
                wanted="rows with a label and a window",
                got="none",
                then="choose another --target or --window-column",
            )

    def first_window(self) -> str:
        """The first that is no fragment: that has half as many labels as the median one."""
        totals = self.rows.sum(axis=1)
        ordered = in_time_order(map(str, totals.index))
        return next(name for name in ordered if totals[name] >= totals.median() / 2)


def find_minimums(
    labels: pd.Series[str],
    windows: pd.Series[str],
    classes: Sequence[str],
    key: pd.Series[str] | None,
    groups: pd.Series[str] | None = None,
) -> Minimums:
    """Minimums that three of four windows meet, and the held-out part of the first one, too.

    The held-out part is the one that will judge a first model: `key` decides it, without one the
    place of a row. With `groups` they decide it, and of a class groups are counted, not rows. All
    series have one value for each row of the table. Raises UseCaseError when no row has both a
    label and a window.
    """
    labels, windows = labels.reset_index(drop=True), windows.reset_index(drop=True)
    known = labels.isin(list(classes)) & (windows != MISSING)
    units = np.arange(len(labels)) if groups is None else number_values(groups)
    rows = pd.DataFrame({"window": windows, "label": labels, "unit": units})[known]
    counted = ClassCounts(
        _count(rows, classes),
        None if groups is None else _count(rows.drop_duplicates(), classes),
    )
    first = counted.first_window()
    places = np.flatnonzero(windows == first)
    keys = name_keys(
        range(len(places)),
        None if key is None else key.iloc[places],
        None if groups is None else groups.iloc[places],
    )
    judging = rows.loc[rows["window"] == first, ["label", "unit"]]
    return choose_minimums(counted, judging.assign(key=pd.Series(keys, index=places)))


def choose_minimums(counted: ClassCounts, judging: pd.DataFrame) -> Minimums:
    """As `find_minimums`, of rows that were counted.

    `judging` are labelled rows of the first whole window, all or enough of them: `label`, `unit`
    (a row or its group) and the `key` that decides whether it is held out.
    """
    grouped, classes = counted.groups is not None, list(counted.rows.columns)
    counts = counted.rows if counted.groups is None else counted.groups
    totals, rarest = counted.rows.sum(axis=1), counts.min(axis=1).to_numpy()
    usual = float(np.quantile(rarest, 0.25))
    share, part, there = max(
        (_hold_out(judging, classes, share, usual) for share in (_USUAL_SHARE, _LARGE_SHARE)),
        key=lambda tried: min(tried[2], ENOUGH_OF_A_CLASS),
    )
    each = next((many for many in (_AMPLE_OF_A_CLASS, ENOUGH_OF_A_CLASS) if there >= many), there)
    each = max(1, each)
    smallest = min(int(totals[counted.first_window()]), int(np.quantile(totals, 0.25)))
    judged = max(1, min(500, max(int(smallest * 0.15), each * len(classes)), part))
    of_all = counted.rows.to_numpy().sum(axis=0)
    typical = int(np.median(totals.to_numpy()))
    found = Minimums(typical, judged, each, share, min_f1=_find_min_f1(of_all))
    if there >= ENOUGH_OF_A_CLASS:
        return found
    if _expect_f1(of_all.min() / of_all.sum()) < _USUAL_F1:
        together = _judge_together(found, float(rarest.mean()), len(totals))
        if together is not None:
            return together
    what = "groups" if grouped else "rows"
    a_row = counts.to_numpy().sum(axis=0).min() / of_all.sum()
    note = _tell_too_small(found, len(totals), int(np.median(rarest)), a_row, what)
    missing = "" if there else ". Where a class has no row at all, nothing can be promoted"
    return replace(found, note=note + missing)


def _expect_f1(share: float) -> float:
    """What a model that can tell something reaches at least, of a class with this share."""
    return 1.5 * 2 * share / (1 + share)


def _find_min_f1(rows: NDArray[np.int64]) -> float | None:
    """The lowest F1 of a rare positive class of two, with the best threshold; else None."""
    expected = _expect_f1(rows[-1] / rows.sum())
    return max(0.01, round(expected, 2)) if len(rows) == 2 and expected < _USUAL_F1 else None


def _judge_together(found: Minimums, usual: float, windows: int) -> Minimums | None:
    """Minimums that several windows meet together, where half of all windows are enough for it.

    `usual` is what a window has of the rarest class on average. None where one of them is enough,
    or half of them are not.
    """
    for each in _TOGETHER:
        needed = math.ceil(each / usual)
        if 1 < needed <= windows // 2:
            few = "" if each == ENOUGH_OF_A_CLASS else ", which is close to enough"
            note = (
                f"windows of {found.rows:,} labelled rows have about {usual:.0f} of the rarest "
                f"class, too few to judge a model: about {needed} newest windows judge together, "
                f"{each} rows of it{few}. The first model comes with window {needed + 1}, or later"
            )
            # No part of a single window judges, so the usual one will do.
            return replace(
                found,
                of_each_class=each,
                holdout_share=_USUAL_SHARE,
                note=note,
                together=needed,
            )
    return None


def _count(rows: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """How often each class is in each window."""
    found = pd.crosstab(rows["window"], rows["label"])
    return found.reindex(columns=list(classes), fill_value=0)


def name_keys(
    places: Iterable[object], key: pd.Series[Any] | None, groups: pd.Series[str] | None
) -> list[str]:
    """What a held-out part is drawn by, as training reads it: groups, keys or places."""
    keys = [str(place) for place in places] if key is None else [spell(value) for value in key]
    if groups is None:
        return keys
    return [own if group == MISSING else group for own, group in zip(keys, groups, strict=True)]


def _hold_out(
    judging: pd.DataFrame, classes: Sequence[str], share: float, usual: float
) -> tuple[float, int, int]:
    """The share, the rows that it holds out, and how many of the rarest class can be asked for.

    That is no more than the share promises of the `usual` window: a draw with more is luck.
    """
    part = judging[held_out(list(judging["key"]), share, Training().seed)]
    units = part[["label", "unit"]].drop_duplicates()["label"].value_counts()
    there = int(units.reindex(list(classes), fill_value=0).min())
    return share, len(part), min(there, int(share * usual))


def _tell_too_small(found: Minimums, windows: int, of_rarest: int, share: float, what: str) -> str:
    needed = _round_up(_OF_A_CLASS_IN_A_WINDOW / share)
    factor = needed / found.rows
    times = f"{round(factor, 1):g}" if factor < 10 else f"{math.ceil(factor):,}"
    counted = f"{of_rarest:,} groups" if what == "groups" else f"{of_rarest:,}"
    return (
        f"windows of {found.rows:,} labelled rows, {counted} of the rarest class, are too "
        "small to judge a model reliably: a part of the first window judges the first model, and "
        f"needs {ENOUGH_OF_A_CLASS} {what} of each class. The minimums are less than that "
        f"({found.judged:,} rows, {found.of_each_class} of each class). Windows of about "
        f"{needed:,} labelled rows would do, {times} times as {'long' if windows > 1 else 'many'}"
    )


def _round_up(number: float) -> int:
    """The next whole number with two digits that are not 0."""
    step: int = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.ceil(number / step) * step


def write_policy(found: Minimums) -> str:
    """[training], when it differs from the default, and [policy.*] with these minimums."""
    told = ""
    if found.note:
        told = "".join(f"# {line}\n" for line in textwrap.wrap(f"Note: {found.note}.", 96))
    training = ""
    if found.holdout_share != _USUAL_SHARE:
        training = (
            f"[training]\nholdout_share = {found.holdout_share:g}  # a quarter of the first window "
            "has too few rows of the rarest class\n\n"
        )
    decision = lowest_f1 = together = watched = ""
    if found.min_f1 is not None:
        decision = (
            "[decision]  # a rare class is seldom the likelier one: answered from the probability "
            'on that suits F1\nchoose = "f1"\n\n'
        )
        lowest_f1 = f"min_f1 = {found.min_f1:g}  # half more than answering it to every row\n"
    if found.together > 1:
        together = (
            f"max_evaluation_windows = {2 * found.together}  # at most; about {found.together} "
            "have enough of the rarest class\n"
        )
        watched = f"probation_windows = {found.together}\n"
    small = f"min_rows = {max(10, found.rows // 2)}\n" if found.rows < _SMALL_WINDOW else ""
    signals = small.replace("min_rows", "min_signal_rows")
    return f"""{training}{decision}# Policy: the numbers that decide. These fit windows of about \
{found.rows} labelled rows;
# everything left out has its default, see docs/loop-toml.md.
{told}[policy.retraining]
min_new_labels = {found.judged}
min_new_labels_per_class = {found.of_each_class}
{small}
[policy.promotion]
min_rows = {found.judged}
min_rows_per_class = {found.of_each_class}
min_slice_rows = {min(100, max(10, found.rows // 20))}
min_slice_rows_per_class = {min(10, found.of_each_class)}
{lowest_f1}{together}
[policy.rollback]
{watched}min_rows = {found.judged}
min_rows_per_class = {min(20, found.of_each_class)}
{signals}

# A slice is a part of the rows that is compared separately. A candidate that harms a protected
# slice is rejected.
# [[slices]]
# name = "my_slice"
# column = "COLUMN"
# values = ["VALUE"]  # or minimum and maximum for a numeric column
# protected = true
"""
