"""Evidence of an ordinary day; a row of a table names only what is different on its day.

The ordinary day: month 10, production is version 4, trained through month 8, and everything is as it was when it was promoted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from closedloop.decisions.checks import Action, Decision, Outcome, Role
from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.decisions.drift_report import ColumnDrift, DriftReport
from closedloop.decisions.evidence import (
    ClassScores,
    Comparison,
    Estimate,
    GoldenResult,
    LoopState,
    PromotionEvidence,
    RetrainingEvidence,
    Scores,
    SliceDelta,
    Violation,
    Window,
)
from closedloop.decisions.gain_evidence import Gain
from closedloop.decisions.label_evidence import QuarantineEvidence, WitnessEvidence
from closedloop.decisions.policy import Policy, PromotionPolicy, RetrainingPolicy
from closedloop.decisions.repeated_rows import RepeatedRows
from closedloop.decisions.rollback_evidence import RollbackEvidence
from closedloop.decisions.rollback_policy import RollbackPolicy
from closedloop.decisions.single_column import ColumnAuc

WINDOW = Window("month_010", 10, 2000, 2000, (("stays", 1800), ("leaves", 200)), "d" * 64)
STATE = LoopState(
    production=4, previous=3, trained_through=8, promoted_at=8, expected_auc=0.80, trained_at=(8,)
)
BROKEN = Violation("fee", "maximum", "at most 500", "61 % of rows above it")


@dataclass(frozen=True)
class Row:
    """One line of a table: a situation, the evidence of that day, what follows, and the checks that settle it.

    `settled_by` names each check that asked for the action or stood against it, as `claim outcome`.
    """

    situation: str
    evidence: Any
    action: Action
    settled_by: tuple[str, ...]
    policy: Policy = field(default_factory=Policy)

    def assert_holds(self, decision: Decision) -> None:
        """The action is the one wanted, the named checks came out as named, and no unnamed one had a say."""
        assert decision.action is self.action, f"{decision.action}: {decision.reason}"
        outcomes = {f"{check.claim} {check.outcome}" for check in decision.checks}
        assert set(self.settled_by) <= outcomes, f"not among {sorted(outcomes)}"
        asking = {
            f"{check.claim} {check.outcome}"
            for check in decision.checks
            if check.role is Role.TRIGGER and check.outcome is Outcome.HOLDS
        }
        closed = {
            f"{check.claim} {check.outcome}"
            for check in decision.checks
            if check.role in (Role.GUARD, Role.GATE) and check.outcome is not Outcome.HOLDS
        }
        assert asking | closed <= set(self.settled_by), (
            f"also settled by {sorted((asking | closed) - set(self.settled_by))}"
        )


def repeated(rows: int, of: int = 2000) -> RepeatedRows:
    """Rows of the newest labelled window that the two before it hold."""
    return RepeatedRows("month_010", rows, of, ("month_008", "month_009"), by_key=True)


def alone(column: str, value: float, *, by_nulls: bool = False, allowed: bool = False) -> ColumnAuc:
    """The AUC of one column alone."""
    return ColumnAuc(column, value, 2000, by_nulls, allowed)


def drifted(*scores: float | None) -> DriftReport:
    """A report with one column a score, each with the limit 0.1."""
    columns = tuple(
        ColumnDrift(f"column_{number}", "psi", score, None if score is None else 0.1)
        for number, score in enumerate(scores)
    )
    return DriftReport("month_008", "month_010", 5000, 2000, columns)


def auc(value: float, margin: float = 0.02) -> Estimate:
    """A realised AUC with its confidence interval."""
    return Estimate(value, value - margin, value + margin, 2000)


def delta(value: float, margin: float = 0.01, rows: int = 2000) -> Estimate:
    """A difference of two AUCs with its confidence interval."""
    return Estimate(value, value - margin, value + margin, rows)


def labels(stays: int, leaves: int) -> tuple[tuple[str, int], ...]:
    return (("stays", stays), ("leaves", leaves))


QUIET = drifted(0.01, 0.02, 0.0, 0.03)


def retraining(state: dict[str, Any] | None = None, **changes: Any) -> RetrainingEvidence:
    """The ordinary day, seen by `decide_retraining`."""
    usual = RetrainingEvidence(
        WINDOW,
        replace(STATE, **(state or {})),
        drift=QUIET,
        realised_auc=auc(0.80),
        new_labels=labels(1800, 200),
        gain=gain(0.0, 0.0, rows=0),
    )
    return replace(usual, **changes)


def gain(value: float, error: float = 0.001, *, rows: int = 2000) -> Gain:
    """What newer labels would have gained on the newest labelled window; nothing was asked without rows."""
    return Gain("month_010", value, error, rows)


def scores(
    val_auc: float | None = 0.82,
    *,
    rows: int = 2000,
    f1: float = 0.6,
    rarest: int = 200,
    groups: int | None = None,
) -> Scores:
    """How a model did; both classes have the same F1."""
    classes = (
        ClassScores("stays", f1, f1, f1, rows - rarest),
        ClassScores("leaves", f1, f1, f1, rarest),
    )
    confusion = ((rows - rarest, 0), (0, rarest))
    return Scores("month_010", rows, val_auc, 0.85, 0.4, 0.12, classes, confusion, groups=groups)


def comparison(**changes: Any) -> Comparison:
    """A refit of production's recipe that does as well as production does."""
    usual = Comparison(
        "logistic/all", "month_010", scores(), 0.50, False, True, scores(0.815), delta(0.005), ()
    )
    return replace(usual, **changes)


def promotion(compared: dict[str, Any] | None = None, **changes: Any) -> PromotionEvidence:
    """The ordinary candidate, seen by `decide_promotion`: version 5, everything in order."""
    return replace(PromotionEvidence(WINDOW, 5, 4, comparison(**(compared or {})), 1e-9), **changes)


def first_model(compared: dict[str, Any] | None = None, **changes: Any) -> PromotionEvidence:
    """A candidate while nothing is in production."""
    alone = {"production": None, "delta": None, "same_recipe": False, **(compared or {})}
    return promotion(alone, **{"version": 1, "production": None, **changes})


def one_slice(
    name: str,
    value: Estimate | None,
    *,
    protected: bool = True,
    rows: int = 400,
    rarest: int = 40,
    groups: int | None = None,
) -> SliceDelta:
    return SliceDelta(name, protected, rows, rarest, value, groups)


def sliced(value: Estimate | None, **facts: Any) -> dict[str, Any]:
    """A comparison's part with one slice."""
    return {"slices": (one_slice("seniors", value, **facts),)}


def golden(passed: bool) -> tuple[GoldenResult, ...]:
    return (
        GoldenResult("loyal customer", passed, "leaves at most 0.20", "0.05" if passed else "0.71"),
    )


def rollback(
    value: Estimate | None, state: dict[str, Any] | None = None, **seen: Any
) -> RollbackEvidence:
    """Production, promoted in month 9, against the version it replaced."""
    stands = replace(STATE, **{"promoted_at": 9, **(state or {})})
    return RollbackEvidence(WINDOW, stands, value, **seen)


def quarantine(value: float, chance: float = 0.01, **changes: Any) -> QuarantineEvidence:
    """The ordinary labelled window, on which production realised this AUC."""
    usual = QuarantineEvidence(
        window="month_010",
        production=4,
        realised_auc=Estimate(value, value - chance, value + chance, 1000),
        earlier_aucs=(0.81, 0.80, 0.79),
        expected_auc=0.80,
        label_counts=(900, 100),
        earlier_label_counts=((910, 90), (880, 120)),
    )
    return replace(usual, **changes)


def witness(before: float, now: float, chance: float = 0.02, **changes: Any) -> WitnessEvidence:
    """Production's AUC on a window in quarantine, and on the one after it."""
    usual = WitnessEvidence(
        window="month_010",
        witness="month_011",
        production=4,
        auc=Estimate(before, before - chance, before + chance, 1000),
        witness_auc=Estimate(now, now - chance, now + chance, 1000),
        label_counts=(900, 100),
        witness_label_counts=(905, 95),
        earlier_label_counts=((910, 90), (880, 120)),
    )
    return replace(usual, **changes)


def with_retraining(**numbers: Any) -> Policy:
    return Policy(retraining=RetrainingPolicy(**numbers))


def compared_with(reference: str) -> Policy:
    """What a window is compared with: "training", "previous" or "season:N"."""
    return Policy(drift=DriftPolicy(reference=reference))


def with_promotion(**numbers: Any) -> Policy:
    return Policy(promotion=PromotionPolicy(**numbers))


def with_rollback(**numbers: Any) -> Policy:
    return Policy(rollback=RollbackPolicy(**numbers))


HEALTHY = (retraining(), rollback(delta(0.02)), quarantine(0.80), promotion())
