"""Every number that can change a decision, checked when it is built.

Limits and measurements never share a name: `max_drift_share` is the limit of the measured
`drift_share`. Standard library only; `use_case/loop_toml.py` builds a policy from `[policy.*]` in
loop.toml.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

from closedloop.decisions.deciding_measure import MEASURES, ROC_AUC, MeasureName, check_cost
from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.decisions.fingerprint import ADDED_LATER, describe
from closedloop.decisions.limits import check_between as _between
from closedloop.decisions.quarantine_policy import QuarantinePolicy
from closedloop.decisions.registry_policy import RegistryPolicy
from closedloop.decisions.rollback_policy import RollbackPolicy
from closedloop.decisions.shadow_policy import ShadowPolicy

ApprovalName = Literal["never", "always", "borderline"]


@dataclass(frozen=True)
class RetrainingPolicy:
    """When to train: four triggers, each with a switch, and the guards that limit their cost.

    What newer labels would have gained decides where it is known whether a training would pay;
    drift and a loss of AUC trigger where it is not. These two fire when their limit was passed in
    `needed_windows` of the last `memory_windows` windows, the current one included. With
    `once_an_episode`, drift that goes on after a retraining that promoted nothing does not start
    another retraining by itself.
    """

    gain_trigger: bool = field(default=True, metadata=ADDED_LATER)
    """Whether what newer labels would have gained can start a retraining."""
    cost: float = field(default=0.005, metadata=ADDED_LATER)
    """What a training costs: so much AUC, or other `measure`, missed in one window."""
    doubt: float = field(default=0.5, metadata=ADDED_LATER)
    """Standard errors that are taken off a window's gain before it counts."""
    trial_rows: int = field(default=5000, metadata=ADDED_LATER)
    """Rows at most that each of the two small models is fitted on that the gain is measured by."""
    drift_trigger: bool = True
    """Whether drift can start a retraining."""
    max_drift_share: float = 0.3
    """Limit of `drift_share`, the share of watched columns that drifted."""
    once_an_episode: bool = True
    """After a retraining that promoted nothing, the same drift starts no other."""
    auc_loss_trigger: bool = True
    """Whether a loss of realised AUC can start a retraining."""
    max_auc_loss: float = 0.02
    """AUC, or other `measure`, that production may lose against what it was promoted with."""
    age_trigger: bool = True
    """Whether age can start a retraining."""
    max_age_windows: int = 5
    """Age of production at which it is retrained, in windows since its training rows."""
    needed_windows: int = 1
    """Windows over its limit that a trigger needs to fire ..."""
    memory_windows: int = 1
    """... among this many newest windows."""
    cooldown_windows: int = 1
    """Windows to wait after a retraining."""
    budget_trainings: int = 4
    """Retrainings allowed ..."""
    budget_windows: int = 8
    """... in this many windows."""
    min_new_labels: int = 500
    """Labelled rows that must be newer than production's training rows."""
    min_new_labels_per_class: int = 30
    """The same for each class."""
    min_rows: int = field(default=50, metadata=ADDED_LATER)
    """Rows a window needs for its drift, and labelled ones for its loss, to start a retraining."""

    def __post_init__(self) -> None:
        _between("cost", self.cost, 0, 1e9)
        _between("doubt", self.doubt, 0, 10)
        _between("trial_rows", self.trial_rows, 100, 1_000_000)
        _between("max_drift_share", self.max_drift_share, 0, 1)
        _between("max_auc_loss", self.max_auc_loss, 0, 1e9)
        _between("max_age_windows", self.max_age_windows, 1, 10_000)
        _between("memory_windows", self.memory_windows, 1, 1_000)
        _between("needed_windows", self.needed_windows, 1, self.memory_windows)
        _between("cooldown_windows", self.cooldown_windows, 0, 1_000)
        _between("budget_windows", self.budget_windows, 1, 1_000)
        _between("budget_trainings", self.budget_trainings, 1, self.budget_windows)
        _between("min_new_labels", self.min_new_labels, 1, 1e9)
        _between("min_new_labels_per_class", self.min_new_labels_per_class, 1, 1e9)
        _between("min_rows", self.min_rows, 1, 1e9)


@dataclass(frozen=True)
class PromotionPolicy:
    """What a candidate must prove.

    A refit of production's recipe must not be significantly worse by more than `max_loss`; another
    recipe must be significantly better by more than `min_delta`. A recipe on `recent` history must
    beat the same learner on all history by more than `min_recent_gain`, on `newest` history by more
    than `min_newest_gain`: between equals the choice is chance, and it has learned from less.
    """

    confidence: float = 0.95
    """Confidence of the interval around delta; protected slices share it."""
    min_delta: float = 0.0
    """Another learner must be significantly better by more than this."""
    max_loss: float = 0.0
    """The same learner must not be significantly worse by more than this."""
    min_recent_gain: float = 0.002
    """What weighting recent rows must gain over all rows alike, in the measure, to be chosen."""
    min_newest_gain: float = field(default=0.05, metadata=ADDED_LATER)
    """The same for learning from hardly any but the newest rows; less than an abrupt change shows
    is a season's luck."""
    min_rows: int = 500
    """Labelled rows that the evaluation window needs."""
    min_rows_per_class: int = 30
    """The same for each class, and if there is a `group` also its least number of groups."""
    min_val_auc: float = 0.6
    """Lowest AUC that may be promoted, unless production is below it too, on a trusted window;
    never below 0.5."""
    min_f1: float = 0.3
    """Lowest F1 of the second of two classes, or averaged over more, unless production is below it
    too."""
    min_gain_over_baseline: float = 0.02
    """AUC above that of a trivial model, unless production has less too."""
    min_slice_rows: int = 100
    """A protected slice with fewer rows is unknown, and closes the gate."""
    min_slice_rows_per_class: int = 10
    """The same for each class of the slice, and if there is a `group` also of groups."""
    max_packaging_difference: float = 1e-5
    """Largest difference between probabilities of the served and the fitted model."""
    escalate_unscorable_production: bool = True
    """Ask a person when production itself cannot be scored."""
    max_repeated_share: float = field(default=0.5, metadata=ADDED_LATER)
    """Share of a window's rows that earlier windows may hold; above it a person is asked."""
    max_single_column_auc: float = field(default=0.99, metadata=ADDED_LATER)
    """AUC that a column alone may reach when the first model is promoted; above it, a leak."""
    min_f1_per_class: float = field(default=0.0, metadata=ADDED_LATER)
    """Lowest F1 of every class by itself, unless production is below it too; 0 asks for none."""
    measure: MeasureName = field(default=ROC_AUC, metadata=ADDED_LATER)
    """What candidate and production are compared by, here, on probation and for losses."""
    cost: tuple[tuple[float, ...], ...] = field(default=(), metadata=ADDED_LATER)
    """For `measure = "cost"`: a row for each true class, the cost of each answer in it."""
    max_calibration_error: float = field(default=1.0, metadata=ADDED_LATER)
    """Largest mean distance of probabilities from what happens, unless production's is larger."""
    approval: ApprovalName = field(default="never", metadata=ADDED_LATER)
    """Which candidates that pass wait for a person: all, or those that are `borderline`."""
    approval_windows: int = field(default=2, metadata=ADDED_LATER)
    """Newer windows that may come while a candidate waits; with the next one it is rejected."""
    approval_min_delta: float = field(default=0.0, metadata=ADDED_LATER)
    """`borderline`: a person is asked when the lower bound of delta is below this."""
    approval_min_slice_rows: int = field(default=200, metadata=ADDED_LATER)
    """`borderline`: a person is asked when a protected slice has fewer rows."""
    approval_min_slice_rows_per_class: int = field(default=20, metadata=ADDED_LATER)
    """The same for each class of the slice."""
    max_evaluation_windows: int = field(default=1, metadata=ADDED_LATER)
    """Newest labelled windows that judge together where fewer have not enough rows of a class."""

    def __post_init__(self) -> None:
        _between("confidence", self.confidence, 0.5, 0.9999)
        _between("min_delta", self.min_delta, 0, 1e9)
        _between("max_loss", self.max_loss, 0, 1e9)
        _between("min_recent_gain", self.min_recent_gain, 0, 1e9)
        _between("min_newest_gain", self.min_newest_gain, 0, 1e9)
        _between("min_rows", self.min_rows, 1, 1e9)
        _between("min_rows_per_class", self.min_rows_per_class, 1, 1e9)
        _between("min_val_auc", self.min_val_auc, 0, 1)
        _between("min_f1", self.min_f1, 0, 1)
        _between("min_gain_over_baseline", self.min_gain_over_baseline, 0, 1)
        _between("min_slice_rows", self.min_slice_rows, 1, 1e9)
        _between("min_slice_rows_per_class", self.min_slice_rows_per_class, 1, 1e9)
        _between("max_packaging_difference", self.max_packaging_difference, 0, 1)
        _between("max_repeated_share", self.max_repeated_share, 0, 0.99)
        _between("max_single_column_auc", self.max_single_column_auc, 0, 1)
        _between("min_f1_per_class", self.min_f1_per_class, 0, 1)
        _between("max_calibration_error", self.max_calibration_error, 0, 1)
        _between("approval_windows", self.approval_windows, 1, 1_000)
        _between("approval_min_delta", self.approval_min_delta, 0, 1e9)
        _between("approval_min_slice_rows", self.approval_min_slice_rows, 1, 1e9)
        _between(
            "approval_min_slice_rows_per_class", self.approval_min_slice_rows_per_class, 1, 1e9
        )
        _between("max_evaluation_windows", self.max_evaluation_windows, 1, 1_000)
        check_cost(self.cost, needed=self.measure == "cost")


@dataclass(frozen=True)
class Policy:
    """All numbers together. Policies with the same numbers have the same fingerprint."""

    drift: DriftPolicy = field(default_factory=DriftPolicy)
    """What a window is compared with, and when a column has drifted."""
    retraining: RetrainingPolicy = field(default_factory=RetrainingPolicy)
    """When to train."""
    promotion: PromotionPolicy = field(default_factory=PromotionPolicy)
    """What a candidate must prove."""
    rollback: RollbackPolicy = field(default_factory=RollbackPolicy)
    """The watch after a promotion."""
    quarantine: QuarantinePolicy = field(default_factory=QuarantinePolicy)
    """Which labelled windows are kept out of training."""
    shadow: ShadowPolicy = field(default_factory=ShadowPolicy, metadata=ADDED_LATER)
    """How a candidate may answer what clients have asked."""
    registry: RegistryPolicy = field(default_factory=RegistryPolicy, metadata=ADDED_LATER)
    """What happens to a production that somebody moved outside of closedloop."""

    def __post_init__(self) -> None:
        # Only together is it known in which measure the limits are.
        promotion = self.promotion
        most = MEASURES[promotion.measure].most
        for name, limit in (
            ("retraining.max_auc_loss", self.retraining.max_auc_loss),
            ("promotion.min_delta", promotion.min_delta),
            ("promotion.max_loss", promotion.max_loss),
            ("promotion.min_recent_gain", promotion.min_recent_gain),
            ("promotion.approval_min_delta", promotion.approval_min_delta),
            ("rollback.max_loss", self.rollback.max_loss),
        ):
            _between(name, limit, 0, most)

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change when any number changes."""
        return hashlib.sha256(json.dumps(describe(self), sort_keys=True).encode()).hexdigest()[:12]
