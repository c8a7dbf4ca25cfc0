"""Two models on the same labelled rows: versions of the registry, or fitted classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd

from closedloop.bundle.files import Facts
from closedloop.bundle.frames import score_frame
from closedloop.decisions.deciding_measure import MEASURES
from closedloop.decisions.evidence import Estimate, Scores
from closedloop.decisions.repeated_rows import RepeatedRows
from closedloop.errors import ModelError, SourceError
from closedloop.metrics.auc import measure_delta
from closedloop.metrics.deciding_measure import influence_of
from closedloop.metrics.scores import score_model
from closedloop.metrics.threshold import choose_threshold
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.history import History
from closedloop.turn.new_rows import keep_new_rows
from closedloop.turn.open import Loop
from closedloop.use_case.contract import UseCase
from closedloop.windows.groups import number_groups
from closedloop.windows.spelling import find_spellings, read_label

WHERE = "compare"
_SCORES = ("val_auc", "accuracy", "f1", "log_loss", "brier", "calibration_error")


class Classifier(Protocol):
    """A fitted classifier in the manner of scikit-learn, such as a pipeline.

    Its `classes_` are the classes of loop.toml, in any order.
    """

    @property
    def classes_(self) -> Any:
        """The classes, in the order of the probabilities."""

    def predict_proba(self, rows: Any, /) -> Any:
        """Probabilities of a frame with the feature columns, shape (n, k)."""


@dataclass(frozen=True)
class ModelComparison:
    """Two models on the same rows of one window.

    `delta` is the first minus the second in the measure that decides, `measure`; above 0 the first
    is better, whatever the measure. It is None when a class has fewer than two rows. `left_out`
    are rows that a version was trained on, which judge no model.
    """

    window: str
    rows: int
    measure: str
    delta: Estimate | None
    first: Scores
    second: Scores
    left_out: RepeatedRows | None = None

    def as_frame(self) -> pd.DataFrame:
        """A row for each score, with the columns `first` and `second`."""
        both = {"first": self.first, "second": self.second}
        return pd.DataFrame(
            {
                column: {name: getattr(scores, name) for name in _SCORES}
                for column, scores in both.items()
            }
        )

    def by_class(self) -> pd.DataFrame:
        """A row for each class: its rows, and precision, recall and F1 of `first` and `second`."""
        both = {"first": self.first, "second": self.second}
        measured = {
            (column, name): [getattr(part, name) for part in scores.classes]
            for column, scores in both.items()
            for name in ("precision", "recall", "f1")
        }
        rows = {("", "rows"): [part.rows for part in self.first.classes]}
        classes = pd.Index([part.label for part in self.first.classes], name="class")
        return pd.DataFrame({**rows, **measured}, index=classes)


def compare_models(
    loop: Loop, first: int | Classifier, second: int | Classifier, window: str | None = None
) -> ModelComparison:
    """Score both on the labelled rows of a window, by default the newest whose labels are due.

    Raises SourceError for a window without labels, ModelError for a model that cannot be asked or
    a version that was trained on the window.
    """
    history = History(loop)
    judged = _find_labelled(history, window)
    ours, theirs = (_ask(history, model, judged.name) for model in (first, second))
    kept = keep_new_rows(history, judged, {*ours.trained, *theirs.trained})
    rows, use_case, rules = kept.window, loop.use_case, loop.use_case.policy.promotion
    if not len(rows.labels):
        raise SourceError(
            where=f"{WHERE}: {judged.name}",
            wanted="rows that no version was trained on",
            got=f"none of its {len(judged.labels)} labelled rows",
            then="name another window",
        )
    mine, other = ours.answer(rows.frame), theirs.answer(rows.frame)
    return ModelComparison(
        window=rows.name,
        rows=len(rows.labels),
        measure=MEASURES[rules.measure].gain,
        delta=measure_delta(
            rows.labels,
            mine,
            other,
            rules.confidence,
            influence_of(rules),
            number_groups(use_case, rows.frame),
        ),
        first=_score(ours, rows, mine, use_case),
        second=_score(theirs, rows, other, use_case),
        left_out=kept.repeated,
    )


@dataclass(frozen=True)
class _Asked:
    """What a prepared frame is answered with, and the windows whose rows judge it no more.

    `facts` are those of a version.
    """

    answer: Callable[[pd.DataFrame], np.ndarray]
    facts: Facts | None = None

    @property
    def trained(self) -> tuple[str, ...]:
        return self.facts.trained_windows if self.facts else ()


def _score(model: _Asked, rows: LabelledWindow, answers: np.ndarray, use_case: UseCase) -> Scores:
    """A version answers with its threshold, a classifier with that of a candidate."""
    rules = use_case.policy.promotion
    threshold = (
        model.facts.threshold
        if model.facts
        else choose_threshold(rows.labels, answers, use_case.decision, rules)
    )
    groups = number_groups(use_case, rows.frame)
    classes = use_case.target.classes
    return score_model(rows.labels, answers, classes, rows.name, rules, threshold, groups)


def _find_labelled(history: History[Loop], window: str | None) -> LabelledWindow:
    names = reversed(history.due) if window is None else (window,)
    for name in names:
        labelled = history.read(name).labelled
        if len(labelled.labels):
            return labelled
    raise SourceError(
        where=WHERE,
        wanted="a window with labels",
        got="none" if window is None else f"{window} without any",
        then="name another window, or wait for labels",
    )


def _ask(history: History[Loop], model: int | Classifier, window: str) -> _Asked:
    if isinstance(model, int):
        return _ask_version(history, model, window)
    use_case = history.loop.use_case
    return _Asked(partial(_ask_classifier, model, _order(model, use_case), use_case))


def _ask_version(history: History[Loop], number: int, window: str) -> _Asked:
    bundle = history.loop.registry.load(number)
    if mismatch := bundle.tell_mismatch(history.loop.use_case):
        raise ModelError(
            where=f"{WHERE}: version {number}",
            wanted="a model of the columns and classes of loop.toml",
            got=mismatch,
            then="compare it with the loop.toml that it was trained with",
        )
    if window in bundle.facts.trained_windows:
        raise ModelError(
            where=f"{WHERE}: version {number}",
            wanted="a window that it was not trained on",
            got=window,
            then="name a newer window: a model does better on rows that it knows",
        )
    return _Asked(partial(score_frame, bundle.scorer), bundle.facts)


def _order(model: Classifier, use_case: UseCase) -> list[int]:
    """Where in `predict_proba` each class of loop.toml stands."""
    wanted = use_case.target.classes
    known = getattr(model, "classes_", None)
    if known is None or not hasattr(model, "predict_proba"):
        raise _refusal(f"{type(model).__name__} without classes_ or predict_proba", wanted)
    found = [read_label(label, find_spellings(wanted)) for label in known]
    if sorted(map(str, found)) != sorted(wanted):
        raise _refusal(f"classes {', '.join(map(str, known))}", wanted)
    if foreign := [name for name in _columns(model, use_case) if name not in use_case.columns]:
        raise ModelError(
            where=WHERE,
            wanted="a classifier that was fitted on feature columns of loop.toml",
            got=f"one that needs {', '.join(map(str, foreign))}",
            then="fit it on window()[features], or on some of these columns",
        )
    return [found.index(label) for label in wanted]


def _refusal(got: str, wanted: Sequence[str]) -> ModelError:
    return ModelError(
        where=WHERE,
        wanted=f"a version's number, or a fitted classifier of {', '.join(wanted)}",
        got=got,
        then="fit it on the labels that window() returns",
    )


def _columns(model: Classifier, use_case: UseCase) -> list[str]:
    return list(getattr(model, "feature_names_in_", use_case.columns))


def _ask_classifier(
    model: Classifier, order: Sequence[int], use_case: UseCase, frame: pd.DataFrame
) -> np.ndarray:
    answers = np.asarray(model.predict_proba(frame[_columns(model, use_case)]), dtype=np.float64)
    return answers[:, order]
