"""From a window's name to evidence: reads with the hands, measures with the senses, judges nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any, Generic

import numpy as np
import pandas as pd

from closedloop.computing import ReadWindow
from closedloop.decisions.checks import Action, Kind
from closedloop.decisions.evidence import DriftReport, LoopState, RetrainingEvidence, RollbackEvidence
from closedloop.decisions.retraining import drift_over_limit, loss_over_limit
from closedloop.errors import ModelError
from closedloop.judging import judge_production, watch_promotion
from closedloop.parts import Model, P, Parts
from closedloop.registry.versions import PREVIOUS, PRODUCTION, VersionFacts
from closedloop.storage.journal import Entry
from closedloop.timings import STOPWATCH
from closedloop.unlabelled import estimate_unlabelled
from closedloop.windows.order import mature, position, up_to
from closedloop.windows.sources import in_time_order

PREDICTION, TARGET = "(prediction)", "(target)"


class History(Generic[P]):
    """The windows up to the current one, each read once, and what registry and journal say of them."""

    def __init__(self, loop: P, window: str | None = None) -> None:
        self._all_names = loop.source.windows()
        self.loop = loop
        self.window = self._all_names[-1] if window is None else window
        self.names = up_to(self._all_names, self.window)
        self._read: dict[str, ReadWindow] = {}
        self._answers: dict[tuple[str, bool], np.ndarray] = {}

    @property
    def index(self) -> int:
        return len(self.names) - 1

    @property
    def due(self) -> tuple[str, ...]:
        """Windows whose labels are due, oldest first."""
        return mature(self.names, self.window, self.loop.use_case.labels.delay_windows)

    @cached_property
    def _versions(self) -> tuple[VersionFacts, ...]:
        with STOPWATCH.measure("registry"):
            return tuple(self.loop.registry.versions())

    @property
    def production(self) -> VersionFacts | None:
        """The version that was live when this history was opened."""
        return next((one for one in self._versions if PRODUCTION in one.aliases), None)

    @property
    def previous(self) -> VersionFacts | None:
        """The version that production replaced, if there is one to go back to."""
        return next((one for one in self._versions if PREVIOUS in one.aliases), None)

    @cached_property
    def _loaded(self) -> tuple[Model | None, str | None]:
        if self.production is None:
            return None, None
        try:
            with STOPWATCH.measure("scoring"):
                bundle = self.loop.registry.load(self.production.version)
        except ModelError as error:
            return None, str(error)
        missing = sorted(set(bundle.use_case.columns) - set(self.loop.use_case.columns))
        return (None, f"it needs columns that loop.toml no longer has: {', '.join(missing)}") if missing else (bundle, None)

    @property
    def bundle(self) -> Model | None:
        """Production, loaded; None when there is none or when it cannot be asked any more."""
        return self._loaded[0]

    @property
    def production_error(self) -> str | None:
        """Why production cannot be asked, if so."""
        return self._loaded[1]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        return self.loop.journal.history(self.loop.use_case.name)

    def place(self, name: str | None) -> int | None:
        """The index of a window, which may be newer than the current one; None when none is named.

        A window that is gone is older than all that are left when its name says so, and otherwise newer than all: nothing may pass for
        new to a model when that is not known.
        """
        if name is None or name in self._all_names:
            return None if name is None else position(self._all_names, name)
        return -1 if in_time_order({name, *self._all_names})[0] == name else len(self._all_names)

    def read(self, name: str) -> ReadWindow:
        """Read, prepare and check one window."""
        if name not in self._read:
            statistics = self.bundle.facts.statistics if self.bundle else None
            with STOPWATCH.measure("data"):
                self._read[name] = self.loop.computing.read_window(
                    self.loop.source, name, position(self.names, name), self.loop.use_case, statistics
                )
        return self._read[name]

    def answers(self, name: str, *, labelled: bool = False) -> np.ndarray:
        """Production's probabilities on a window's rows, or on those with a label, asked once; needs a production that can be asked."""
        assert self.bundle is not None
        if (name, labelled) not in self._answers:
            read = self.read(name)
            with STOPWATCH.measure("scoring"):
                self._answers[name, labelled] = self.bundle.probabilities(read.labelled.frame if labelled else read.prepared)
        return self._answers[name, labelled]

    @cached_property
    def data_key(self) -> str:
        """Changes when the rows of the current window, or the newest labels that are due, change."""
        newest = (self.due[-1:] if self.due else ()) + (self.window,)
        return "-".join(dict.fromkeys(self.read(name).facts.digest[:12] for name in newest))

    def key(self, kind: str) -> str:
        """Under which a decision of this turn is written: use case, window, kind, data and everything in loop.toml."""
        return f"{self.loop.use_case.name}/{self.window}/{kind}/{self.data_key}/{self.loop.use_case.fingerprint}"

    def newer_than(self, trained_through: str | None) -> tuple[str, ...]:
        """Windows with due labels that are newer than a model's training rows and keep the contract."""
        after = self.place(trained_through)
        names = self.due if after is None else tuple(name for name in self.due if position(self.names, name) > after)
        return tuple(name for name in names if not self.read(name).violations)

    def quarantined(self) -> frozenset[str]:
        """Windows that an earlier turn found too bad to train on."""
        found = (entry.details.get("realised_on") for entry in self.entries if entry.details.get("quarantined"))
        return frozenset(name for name in found if name)

    def realised_before(self, name: str) -> tuple[float, ...]:
        """Production's AUC on each judged window before this one, oldest first, as the journal has it."""
        latest: dict[str, float] = {}
        for entry in self.entries:
            judged = entry.details.get("realised_on")
            if judged in self.names and position(self.names, judged) < position(self.names, name):
                latest[judged] = entry.details["realised_auc"]
        return tuple(latest[judged] for judged in sorted(latest, key=lambda one: position(self.names, one)))

    def state(self) -> LoopState:
        """Where the loop stood before this turn."""
        live = self.production
        turns: dict[int, Entry] = {}
        trained, promoted_at = set(), None
        for entry in self.entries:
            index = self.place(entry.decision.window)
            if entry.decision.kind in (Kind.PROMOTION, Kind.ROLLBACK) and entry.outcome == "done" and live is not None:
                if entry.decision.action is Action.PROMOTE:
                    promoted_at = index if entry.decision.version == live.version else None
                elif entry.decision.action is Action.ROLLBACK:
                    promoted_at = None
            if entry.decision.kind is Kind.RETRAINING and index is not None:
                if entry.decision.action is Action.RETRAIN:
                    trained.add(index)
                if entry.decision.action is not Action.ESCALATE and index < self.index:
                    turns[index] = entry
        in_order = [turns[index].details for index in sorted(turns)]
        drift_marks = [(index, over) for index in sorted(turns) if (over := turns[index].details.get("drift_over")) is not None]
        episode = list(takewhile(lambda mark: mark[1], reversed(drift_marks)))
        return LoopState(
            production=live.version if live else None,
            previous=self.previous.version if self.previous else None,
            trained_through=self.place(live.trained_through) if live else None,
            promoted_at=promoted_at,
            expected_auc=live.val_auc if live else None,
            trained_at=tuple(sorted(trained)),
            drift_marks=tuple(over for _, over in drift_marks),
            loss_marks=tuple(one["loss_over"] for one in in_order if one.get("loss_over") is not None),
            drifting_since=episode[-1][0] if episode else None,
        )


@dataclass(frozen=True)
class Turn:
    """What one look at a window showed. `details` are the facts that the journal keeps; `report` is Evidently's page."""

    key: str
    evidence: RetrainingEvidence
    rollback: RollbackEvidence | None = None
    details: dict[str, Any] = field(default_factory=dict)
    report: str | None = field(default=None, repr=False)


def gather_turn(history: History[Parts], *, requested: bool = False) -> Turn:
    """Look at the current window: contract first, then drift, realised performance and what a rollback would have to know."""
    policy, window = history.loop.use_case.policy, history.read(history.window)
    state, key = history.state(), history.key("requested" if requested else "retraining")
    details = describe_window(window)
    if window.violations:
        return Turn(key, RetrainingEvidence(window.facts, state, violations=window.violations), None, details)

    drift, report = measure_window_drift(history, window) if history.bundle is not None else (None, None)
    realised = judge_production(history, state)
    newer = realised.newer
    counts = np.sum([[count for _, count in history.read(name).facts.labels_per_class] for name in newer], axis=0) if newer else None
    new_labels = () if counts is None else tuple(zip(history.loop.use_case.target.classes, (int(count) for count in counts), strict=True))

    evidence = RetrainingEvidence(
        window=window.facts, state=state, drift=drift, realised_auc=realised.auc, new_labels=new_labels, requested=requested,
        production_error=history.production_error,
    )  # fmt: skip
    details |= {
        "drift_share": drift.drift_share if drift else None,
        "drifted_columns": list(drift.drifted_columns) if drift else [],
        "drift_over": drift_over_limit(evidence, policy),
        "loss_over": loss_over_limit(evidence, policy),
        **realised.details,
    }
    # Where the current window's own labels have told, nothing has to be estimated.
    told = details.get("realised_on") == window.facts.name
    mistrusted = history.quarantined() | ({details["realised_on"]} if details.get("quarantined") else set())
    details |= estimate_unlabelled(history, () if told else tuple(name for name in newer if name not in mistrusted))
    return Turn(key, evidence, watch_promotion(history, state, realised.judged), details, report)


def describe_window(window: ReadWindow) -> dict[str, Any]:
    """What the journal keeps of a window whatever is found in it."""
    return {"rows": window.facts.rows, "labelled_rows": window.facts.labelled_rows, "digest": window.facts.digest}


def measure_window_drift(history: History[Parts], window: ReadWindow) -> tuple[DriftReport, str | None]:
    """The window held against production's reference, features, predictions and target; needs a production that can be asked."""
    use_case, bundle = history.loop.use_case, history.bundle
    assert bundle is not None
    answers = history.answers(window.facts.name)
    with STOPWATCH.measure("scoring"):
        current = watched_frame(window.prepared, answers, history)
    with STOPWATCH.measure("drift"):
        reference = bundle.reference()
    numeric = [name for name in use_case.numeric if use_case.columns[name].watch]
    categorical = [name for name in use_case.categorical if use_case.columns[name].watch]
    (numeric if len(use_case.target.classes) == 2 else categorical).append(PREDICTION)
    if window.facts.labelled_rows and TARGET in reference:
        categorical.append(TARGET)
    with STOPWATCH.measure("drift"):
        return history.loop.computing.measure_drift(
            reference, current, numeric=tuple(numeric), categorical=tuple(categorical), policy=use_case.policy.drift,
            reference_name=f"version {history.production.version if history.production else '?'}", current_name=window.facts.name,
            seed=use_case.training.seed, ignore_nulls=frozenset({PREDICTION, TARGET}),
            max_drift_share=use_case.policy.retraining.max_drift_share,
        )  # fmt: skip


def watched_frame(prepared: pd.DataFrame, probabilities: np.ndarray | None, history: History[Parts]) -> pd.DataFrame:
    """The columns that drift is measured on: features, production's prediction (the probability of the second of two classes,
    else the likeliest class) and the target; missing where they are not known."""
    use_case = history.loop.use_case
    frame = prepared[list(use_case.columns)].copy()
    classes = np.asarray(use_case.target.classes, dtype=object)
    if len(classes) == 2:
        frame[PREDICTION] = np.nan if probabilities is None else probabilities[:, 1]
    else:
        frame[PREDICTION] = None if probabilities is None else classes[probabilities.argmax(axis=1)]
    frame[TARGET] = prepared.get(use_case.target.column)
    return frame
