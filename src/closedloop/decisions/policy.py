"""Every number that can change a decision, checked when it is built.

Limits and measurements never share a name: `max_drift_share` is the limit of the measured
`drift_share`. Standard library only; `use_case/loop_toml.py` builds a policy from `[policy.*]` in
loop.toml.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, got {value:g}")


@dataclass(frozen=True)
class DriftPolicy:
    """How column limits are set. A limit is the larger of Evidently's default distance and what
    same-sized random parts of the reference show between themselves, at `false_alarm_rate` over all
    columns together."""

    min_distance: float = 0.1
    false_alarm_rate: float = 0.01
    sample_rows: int = 5000
    resamples: int = 100

    def __post_init__(self) -> None:
        _between("min_distance", self.min_distance, 0.001, 10)
        _between("false_alarm_rate", self.false_alarm_rate, 0.0001, 0.5)
        _between("sample_rows", self.sample_rows, 100, 1_000_000)
        _between("resamples", self.resamples, 20, 10_000)


@dataclass(frozen=True)
class RetrainingPolicy:
    """When to train. Three triggers, each switchable, and the guards that keep their cost in hand.

    A trigger fires when its limit was passed in `needed_windows` of the last `memory_windows`
    windows, the current one included. With `once_an_episode`, drift that goes on after a retraining
    that promoted nothing does not start another one by itself.
    """

    drift_trigger: bool = True
    max_drift_share: float = 0.3
    once_an_episode: bool = True
    auc_loss_trigger: bool = True
    max_auc_loss: float = 0.02
    age_trigger: bool = True
    max_age_windows: int = 5
    needed_windows: int = 1
    memory_windows: int = 1
    cooldown_windows: int = 1
    budget_trainings: int = 4
    budget_windows: int = 8
    min_new_labels: int = 500
    min_new_labels_per_class: int = 30

    def __post_init__(self) -> None:
        _between("max_drift_share", self.max_drift_share, 0, 1)
        _between("max_auc_loss", self.max_auc_loss, 0, 1)
        _between("max_age_windows", self.max_age_windows, 1, 10_000)
        _between("memory_windows", self.memory_windows, 1, 1_000)
        _between("needed_windows", self.needed_windows, 1, self.memory_windows)
        _between("cooldown_windows", self.cooldown_windows, 0, 1_000)
        _between("budget_windows", self.budget_windows, 1, 1_000)
        _between("budget_trainings", self.budget_trainings, 1, self.budget_windows)
        _between("min_new_labels", self.min_new_labels, 1, 1e9)
        _between("min_new_labels_per_class", self.min_new_labels_per_class, 1, 1e9)


@dataclass(frozen=True)
class PromotionPolicy:
    """What a candidate must prove. A refit of production's recipe must not be significantly worse
    by more than `max_loss`; another recipe must be significantly better by more than `min_delta`.
    Of the twins of one learner that on weighted history has to be better than that on all history
    by more than `min_recent_gain`: the better of two equals is chance, and it knows less."""

    confidence: float = 0.95
    min_delta: float = 0.0
    max_loss: float = 0.0
    min_recent_gain: float = 0.002
    min_rows: int = 500
    min_rows_per_class: int = 30
    min_val_auc: float = 0.6
    min_f1: float = 0.3
    min_gain_over_baseline: float = 0.02
    min_slice_rows: int = 100
    min_slice_rows_per_class: int = 10
    max_packaging_difference: float = 1e-5
    escalate_unscorable_production: bool = True

    def __post_init__(self) -> None:
        _between("confidence", self.confidence, 0.5, 0.9999)
        _between("min_delta", self.min_delta, 0, 1)
        _between("max_loss", self.max_loss, 0, 1)
        _between("min_recent_gain", self.min_recent_gain, 0, 1)
        _between("min_rows", self.min_rows, 1, 1e9)
        _between("min_rows_per_class", self.min_rows_per_class, 1, 1e9)
        _between("min_val_auc", self.min_val_auc, 0, 1)
        _between("min_f1", self.min_f1, 0, 1)
        _between("min_gain_over_baseline", self.min_gain_over_baseline, 0, 1)
        _between("min_slice_rows", self.min_slice_rows, 1, 1e9)
        _between("min_slice_rows_per_class", self.min_slice_rows_per_class, 1, 1e9)
        _between("max_packaging_difference", self.max_packaging_difference, 0, 1)


@dataclass(frozen=True)
class RollbackPolicy:
    """The watch after a promotion: for `probation_windows` labelled windows, production that is
    significantly worse than the version it replaced, by more than `max_loss`, is taken back."""

    enabled: bool = True
    probation_windows: int = 2
    confidence: float = 0.95
    max_loss: float = 0.0
    min_rows: int = 500

    def __post_init__(self) -> None:
        _between("probation_windows", self.probation_windows, 1, 1_000)
        _between("confidence", self.confidence, 0.5, 0.9999)
        _between("max_loss", self.max_loss, 0, 1)
        _between("min_rows", self.min_rows, 1, 1e9)


@dataclass(frozen=True)
class QuarantinePolicy:
    """Which labelled windows are kept out of training, because their labels are more likely wrong
    than new: those on which production's AUC is significantly more than `max_auc_drop` below the
    worst of its last `memory_windows` windows, and those in which the odds of a class are more than
    `max_odds_ratio` times, or less than that part of, what they were in each of those windows."""

    max_auc_drop: float = 0.10
    max_odds_ratio: float = 8.0
    memory_windows: int = 3

    def __post_init__(self) -> None:
        _between("max_auc_drop", self.max_auc_drop, 0, 1)
        _between("max_odds_ratio", self.max_odds_ratio, 1, 1e9)
        _between("memory_windows", self.memory_windows, 1, 1_000)


@dataclass(frozen=True)
class Policy:
    """All of it. Two policies with the same numbers have the same fingerprint."""

    drift: DriftPolicy = field(default_factory=DriftPolicy)
    retraining: RetrainingPolicy = field(default_factory=RetrainingPolicy)
    promotion: PromotionPolicy = field(default_factory=PromotionPolicy)
    rollback: RollbackPolicy = field(default_factory=RollbackPolicy)
    quarantine: QuarantinePolicy = field(default_factory=QuarantinePolicy)

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change when any number changes."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
