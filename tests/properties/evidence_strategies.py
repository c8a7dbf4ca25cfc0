"""Any evidence that the senses could hand to a decision, and any policy that can be built."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

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
from closedloop.decisions.policy import Policy, PromotionPolicy, RetrainingPolicy
from closedloop.decisions.rollback_evidence import RollbackEvidence
from closedloop.decisions.rollback_policy import RollbackPolicy

shares = st.floats(0, 1)
rows = st.integers(0, 3000)
# Versions and windows are few, so that equal and neighbouring ones come up often.
versions = st.integers(1, 5)


def seldom(usual: Any, unusual: Any) -> st.SearchStrategy[Any]:
    """The unusual one time in six: often enough to be met, rare enough to leave other things to be
    seen."""
    return st.sampled_from([usual] * 5 + [unusual])


def windows(index: st.SearchStrategy[int]) -> st.SearchStrategy[Window]:
    return st.builds(
        lambda at: Window(
            f"month_{at:03d}", at, 2000, 2000, (("stays", 1800), ("leaves", 200)), "d" * 64
        ),
        index,
    )


in_groups = st.none() | st.integers(0, 200)


@st.composite
def estimates(draw: st.DrawFn, low: float = -0.2, high: float = 0.2) -> Estimate:
    value, margin = draw(st.floats(low, high)), draw(st.floats(0, 0.1))
    return Estimate(value, value - margin, value + margin, draw(rows), draw(in_groups))


@st.composite
def scores(draw: st.DrawFn) -> Scores:
    per_class = tuple(
        ClassScores(label, 0.5, 0.5, draw(shares), draw(st.integers(0, 200)))
        for label in ("stays", "leaves")
    )
    auc = draw(shares | seldom(0.9, None))
    return Scores(
        "month_010",
        draw(rows),
        auc,
        0.8,
        0.4,
        0.1,
        per_class,
        ((1, 0), (0, 1)),
        groups=draw(in_groups),
    )


slice_deltas = st.builds(
    SliceDelta,
    name=st.sampled_from(["seniors", "students"]),
    protected=st.booleans(),
    rows=st.integers(0, 300),
    rarest=st.integers(0, 30),
    delta=st.none() | estimates(),
    groups=in_groups,
)
slices = st.lists(slice_deltas, max_size=2).map(tuple)
golden = st.lists(
    st.builds(
        GoldenResult, st.just("loyal"), seldom(True, False), st.just("at most 0.2"), st.just("0.1")
    ),
    max_size=2,
).map(tuple)


@st.composite
def comparisons(draw: st.DrawFn, scored: bool = True) -> Comparison:
    """Against production's scores, or without them."""
    return Comparison(
        recipe="logistic/all",
        window="month_010",
        candidate=draw(scores()),
        baseline_auc=draw(st.floats(0.4, 0.6)),
        held_out=draw(seldom(False, True)),
        same_recipe=scored and draw(st.booleans()),
        production=draw(scores()) if scored else None,
        delta=draw(estimates() | seldom(Estimate(0.05, 0.04, 0.06, 2000), None))
        if scored
        else None,
        slices=draw(slices),
    )


@st.composite
def promotion_evidence(draw: st.DrawFn, production: str | None = None) -> PromotionEvidence:
    """Production is `absent`, `scored` or `failed` (it could not be scored); any of the three when
    not told."""
    live = production or draw(st.sampled_from(["absent", "scored", "failed"]))
    return PromotionEvidence(
        window=draw(windows(st.just(10))),
        version=5,
        production=None if live == "absent" else 4,
        comparison=draw(seldom(draw(comparisons(live == "scored")), None)),
        packaging_difference=draw(st.floats(0, 1e-4) | seldom(0.0, None)),
        served_by=draw(st.sampled_from(["", "onnx", "pipeline"])),
        golden=draw(golden),
        quarantined=draw(st.sampled_from([(), ("month_009",)])),
        production_error="file is gone" if live == "failed" else None,
        new_windows=draw(seldom(("month_010",), ())),
    )


@st.composite
def drift_reports(draw: st.DrawFn) -> DriftReport:
    found = draw(st.lists(st.none() | st.floats(0, 0.3), min_size=1, max_size=5))
    columns = tuple(
        ColumnDrift(f"column_{number}", "psi", score, 0.1) for number, score in enumerate(found)
    )
    return DriftReport("month_008", "month_010", 5000, 2000, columns)


loop_states = st.builds(
    LoopState,
    production=st.none() | versions,
    previous=st.none() | versions,
    trained_through=st.none() | st.integers(0, 10),
    promoted_at=st.none() | st.integers(0, 10),
    expected_auc=st.none() | shares,
    trained_at=st.sets(st.integers(0, 10)).map(sorted).map(tuple),
    drift_marks=st.lists(st.booleans(), max_size=4).map(tuple),
    loss_marks=st.lists(st.booleans(), max_size=4).map(tuple),
    drifting_since=st.none() | st.integers(0, 10),
    missed=st.lists(
        st.tuples(st.sampled_from(["month_008", "month_009"]), st.floats(0, 0.02)),
        max_size=2,
        unique_by=lambda counted: counted[0],
    ).map(tuple),
)
gains = st.builds(
    Gain,
    on=st.sampled_from(["month_009", "month_010"]),
    value=st.floats(-0.1, 0.1),
    error=st.floats(0, 0.05),
    rows=st.sampled_from([0, 40, 2000]),
)
labels = st.tuples(
    st.tuples(st.just("stays"), st.integers(0, 2000)),
    st.tuples(st.just("leaves"), st.integers(0, 100)),
)
violation = Violation("fee", "maximum", "at most 500", "61 % of rows above it")
violations = st.just(violation)


def retraining_evidence(broken: bool = False) -> st.SearchStrategy[RetrainingEvidence]:
    return st.builds(
        RetrainingEvidence,
        window=windows(st.integers(0, 12)),
        state=loop_states,
        violations=st.lists(violations, min_size=1, max_size=3).map(tuple)
        if broken
        else st.just(()),
        drift=st.none() | drift_reports(),
        realised_auc=st.none() | estimates(0.4, 1.0),
        new_labels=st.just(()) | labels,
        requested=st.booleans(),
        production_error=st.none() | st.just("file is gone"),
        gain=st.none() | gains,
    )


rollback_evidence = st.builds(
    RollbackEvidence,
    window=windows(st.integers(5, 12)),
    state=loop_states,
    delta=st.none() | estimates(),
)

promotion_policies = st.builds(
    PromotionPolicy,
    min_delta=st.floats(0, 0.05),
    max_loss=st.floats(0, 0.05),
    min_rows=st.integers(1, 1500),
    min_rows_per_class=st.integers(1, 60),
    min_val_auc=st.floats(0, 0.8),
    min_f1=st.floats(0, 0.6),
    min_gain_over_baseline=st.floats(0, 0.1),
    min_slice_rows=st.integers(1, 150),
    min_slice_rows_per_class=st.integers(1, 15),
    max_packaging_difference=st.floats(0, 1e-4),
    escalate_unscorable_production=st.booleans(),
)


@st.composite
def retraining_policies(draw: st.DrawFn) -> RetrainingPolicy:
    memory, budget_windows = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    return RetrainingPolicy(
        gain_trigger=draw(st.booleans()),
        cost=draw(st.floats(0, 0.05)),
        doubt=draw(st.floats(0, 2)),
        drift_trigger=draw(st.booleans()),
        max_drift_share=draw(shares),
        once_an_episode=draw(st.booleans()),
        auc_loss_trigger=draw(st.booleans()),
        max_auc_loss=draw(st.floats(0, 0.1)),
        age_trigger=draw(st.booleans()),
        max_age_windows=draw(st.integers(1, 6)),
        needed_windows=draw(st.integers(1, memory)),
        memory_windows=memory,
        cooldown_windows=draw(st.integers(0, 4)),
        budget_trainings=draw(st.integers(1, budget_windows)),
        budget_windows=budget_windows,
        min_new_labels=draw(st.integers(1, 600)),
        min_new_labels_per_class=draw(st.integers(1, 40)),
        min_rows=draw(st.integers(1, 100)),
    )


rollback_policies = st.builds(
    RollbackPolicy,
    enabled=st.booleans(),
    probation_windows=st.integers(1, 4),
    max_loss=st.floats(0, 0.05),
    min_rows=st.integers(1, 1500),
)
policies = st.builds(
    Policy,
    retraining=retraining_policies(),
    promotion=promotion_policies,
    rollback=rollback_policies,
)

# Old at once and content with one label: what stops a training is mostly the guards under test.
eager = retraining_policies().map(
    lambda rules: replace(
        rules,
        max_drift_share=0,
        max_age_windows=1,
        age_trigger=True,
        min_new_labels=1,
        min_new_labels_per_class=1,
    )
)
