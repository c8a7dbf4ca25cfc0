"""What a window is compared with, and how far it is from it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from closedloop.decisions.drift_policy import TRAINING
from closedloop.decisions.drift_report import DriftReport
from closedloop.turn.compute import ReadWindow
from closedloop.turn.history import History
from closedloop.turn.new_rows import trained_windows
from closedloop.turn.ports import Parts
from closedloop.turn.watched_columns import PREDICTION, TARGET
from closedloop.use_case.contract import UseCase
from closedloop.windows.missing import calendar_places
from closedloop.windows.order import position

_LOG = logging.getLogger("closedloop.turn.window_drift")
_KNOWN_ROWS = "production was trained on the reference, and is too sure of those rows"


@dataclass(frozen=True)
class Reference:
    """The rows that a window is compared with, as `watched_frame` has them, and their `name`.

    `window` is the window that they are, None for the rows that production was trained on. `note`
    says why they are those where the policy asks for others, `without` why they have no
    predictions.
    """

    rows: pd.DataFrame
    name: str
    window: str | None = None
    note: str = ""
    without: str = ""


def find_reference(history: History[Parts], window: str) -> Reference:
    """What a window is compared with, as `[policy.drift]` says.

    Production's training rows where there is no such window yet, or one that breaks the contract.
    Needs a production model that loads.
    """
    assert history.bundle is not None
    live = history.production.version if history.production else "?"
    rules = history.loop.use_case.policy.drift
    if rules.reference == TRAINING:
        return Reference(history.bundle.reference(), f"version {live}")
    found, missing = _find_window(history, window)
    if found is None:
        note = f"{window} is compared with what version {live} was trained on: {missing}"
        return Reference(history.bundle.reference(), f"version {live}", note=note)
    name = found.facts.name
    known = name in trained_windows(history)
    rows = watched_frame(found.prepared, None if known else history.answers(name), history)
    if name in history.quarantined():  # its labels are not trusted
        rows[TARGET] = None
    return Reference(rows, name, name, without=_KNOWN_ROWS if known else "")


def _find_window(history: History[Parts], window: str) -> tuple[ReadWindow | None, str]:
    """The window that the policy compares this one with; why there is none, in words."""
    season = history.loop.use_case.policy.drift.season
    older = history.names[: position(history.names, window)]
    if season is None:
        whole = _whole_windows(history, reversed(older))
        return next(whole, None), f"no window before {window} keeps the contract"
    places = calendar_places(history.names)
    wanted = places[position(history.names, window)] - season
    if wanted not in places:
        return None, f"there is no window {season} places before it"
    name = history.names[places.index(wanted)]
    return next(_whole_windows(history, [name]), None), f"{name} breaks the contract"


def _whole_windows(history: History[Parts], names: Iterable[str]) -> Iterator[ReadWindow]:
    """Those that have rows and keep the contract, each read when it is asked for."""
    for name in names:
        read = history.read(name)
        if len(read.prepared) and not read.violations:
            yield read


def measure_window_drift(
    history: History[Parts], window: ReadWindow
) -> tuple[DriftReport, Callable[[], str | None]]:
    """The window compared with its reference: features, predictions and target.

    Needs a production model that loads. The second value draws Evidently's page.
    """
    reference = find_reference(history, window.facts.name)
    if reference.note:
        _LOG.info("%s", reference.note)
    current = watched_frame(window.prepared, history.answers(window.facts.name), history)
    names = (reference.name, window.facts.name)
    both = reference.window is not None
    report, draw_page = compare_watched(
        history.loop, reference.rows, current, names, limits_from_both=both
    )
    columns = tuple(
        replace(column, note=reference.without)
        if column.column == PREDICTION and reference.without
        else column
        for column in report.columns
    )
    found = replace(report, columns=columns, reference_window=reference.window, note=reference.note)
    return found, draw_page


def compare_watched(
    loop: Parts,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    names: tuple[str, str],
    *,
    limits_from_both: bool,
) -> tuple[DriftReport, Callable[[], str | None]]:
    """Two frames of `watched_frame` compared, by the limits of loop.toml.

    Predictions and target count where both sides have them. `names` are those of the two sides.
    `limits_from_both` and what is returned are as in `measure_drift`.
    """
    use_case = loop.use_case
    numeric = [name for name in use_case.numeric if use_case.columns[name].watch]
    categorical = [name for name in use_case.categorical if use_case.columns[name].watch]
    known = [name for name in reference if name in current and current[name].notna().any()]
    if PREDICTION in known:
        (numeric if len(use_case.target.classes) == 2 else categorical).append(PREDICTION)
    if TARGET in known:
        categorical.append(TARGET)
    return loop.compute.measure_drift(
        reference,
        current,
        numeric=tuple(numeric),
        categorical=tuple(categorical),
        policy=use_case.policy.drift,
        reference_name=names[0],
        current_name=names[1],
        seed=use_case.training.seed,
        ignore_nulls=frozenset({PREDICTION, TARGET, *_often_absent(use_case)}),
        max_drift_share=use_case.policy.retraining.max_drift_share,
        limits_from_both=limits_from_both,
    )


def _often_absent(use_case: UseCase) -> list[str]:
    """Columns that whole windows lack: their nulls say which windows are compared, not drift."""
    return [name for name, column in use_case.columns.items() if column.since or column.optional]


def watched_frame(
    prepared: pd.DataFrame, probabilities: np.ndarray | None, history: History[Parts]
) -> pd.DataFrame:
    """The columns that drift is measured on.

    Features, production's prediction (the probability of the second of two classes, else the
    likeliest class) and the target; missing where they are not known.
    """
    use_case = history.loop.use_case
    frame = prepared[list(use_case.columns)].copy()
    classes = np.asarray(use_case.target.classes, dtype=object)
    if len(classes) == 2:
        frame[PREDICTION] = np.nan if probabilities is None else probabilities[:, 1]
    else:
        frame[PREDICTION] = None if probabilities is None else classes[probabilities.argmax(axis=1)]
    frame[TARGET] = prepared.get(use_case.target.column)
    return frame
