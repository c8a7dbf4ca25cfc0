"""What replayed rounds say about a policy, on numbers made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from closedloop.backtest.figures import PolicyFigures, Round, measure_policies, recommend
from closedloop.decisions.evidence import Estimate

KEPT = Round(
    1, "w", "x", ("keep",), "", 1, None, (), 0.5, None, None, promoted=False, rolled_back=False
)


def rounds(*aucs: float | None, **changes: object) -> tuple[Round, ...]:
    return tuple(
        replace(KEPT, number=number, next_auc=auc, **changes)
        for number, auc in enumerate(aucs, start=1)
    )  # type: ignore[arg-type]


def trained(advantage: tuple[float, float], promoted: bool) -> Round:
    middle = sum(advantage) / 2
    return replace(
        KEPT, candidate=2, promoted=promoted, advantage=Estimate(middle, *advantage, 100)
    )


def measured(**replays: tuple[Round, ...]) -> dict[str, PolicyFigures]:
    return {
        figures.policy: figures
        for figures in measure_policies(
            replays, [name for name in ("static", "always", "every") if name in replays]
        )
    }


def test_share_is_the_part_of_the_gain_that_is_kept() -> None:
    """Static 0.6, always 0.8: a policy at 0.75 keeps three quarters, one at 0.55 loses a
    quarter."""
    found = measured(
        static=rounds(0.5, 0.7),
        always=rounds(0.8, 0.8),
        loop=rounds(0.7, 0.8),
        bad=rounds(0.5, 0.6),
    )
    assert found["loop"].share == pytest.approx(0.75)
    assert found["bad"].share == pytest.approx(-0.25)
    assert found["static"].share == 0
    assert found["always"].share == pytest.approx(1)
    assert found["bad"].below_static == pytest.approx(0.05)


@pytest.mark.parametrize("always", [0.6, 0.5, 0.6 + 1e-12])
def test_without_a_gain_there_is_no_share(always: float) -> None:
    """When always-retraining gains nothing, or as good as nothing, no share is made of it."""
    assert all(
        figures.share is None
        for figures in measured(
            static=rounds(0.6), always=rounds(always), loop=rounds(0.7)
        ).values()
    )


def test_regret_is_held_against_the_best_fixed_policy() -> None:
    """The best of static, always and every-k is the bar; a policy that beats it has a negative
    regret."""
    found = measured(
        static=rounds(0.6),
        always=rounds(0.8),
        every=rounds(0.81),
        loop=rounds(0.79),
        better=rounds(0.9),
    )
    assert found["loop"].worst_regret == pytest.approx(0.02)
    assert found["better"].worst_regret == pytest.approx(-0.09)
    assert found["every"].worst_regret == 0


def test_a_window_without_labels_counts_for_nobody() -> None:
    """A next window whose AUC cannot be measured is left out of the mean."""
    assert measured(static=rounds(0.6, None), always=rounds(0.8, None))[
        "always"
    ].mean_auc == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("advantage", "promoted", "harmful", "missed"),
    [
        ((-0.03, -0.0051), True, 1, 0),
        ((-0.03, -0.0049), True, 0, 0),
        ((-0.03, -0.0051), False, 0, 0),
        ((0.0051, 0.03), False, 0, 1),
        ((0.0049, 0.03), False, 0, 0),
        ((0.0051, 0.03), True, 0, 0),
    ],
)
def test_harmful_and_missed_are_significant_and_noticeable(
    advantage: tuple[float, float], promoted: bool, harmful: int, missed: int
) -> None:
    """Only a promotion harms, only a candidate left out is missed, and only when the interval lies
    beyond 0.005."""
    found = measured(static=rounds(0.5), always=rounds(0.5), loop=(trained(advantage, promoted),))[
        "loop"
    ]
    assert (found.harmful, found.missed) == (harmful, missed)


def test_costs_are_counted() -> None:
    """Trainings are rounds with a candidate; what was not promoted was rejected."""
    replayed = (
        KEPT,
        trained((0.0, 0.1), True),
        trained((0.0, 0.1), False),
        replace(KEPT, rolled_back=True),
    )
    found = measured(static=rounds(0.5), always=rounds(0.5), loop=replayed)["loop"]
    assert (
        found.trainings,
        found.trainings_share,
        found.promotions,
        found.rejected,
        found.rollbacks,
    ) == (2, 0.5, 1, 1, 1)


def test_the_cheapest_that_keeps_nearly_all_is_recommended() -> None:
    """Every-4 keeps as good as all at a quarter of the cost; the user's own policy is named beside
    it."""
    sentence = recommend(compared(0.1))
    assert sentence == (
        "every-4 keeps 0.98 of always-retrain's gain with 25% of its trainings; "
        "your policy (loop) keeps 0.90 of always-retrain's gain with 19% of its trainings"
    )


def test_a_share_of_next_to_nothing_is_not_quoted() -> None:
    """Where always-retraining gains too little to take a share of, the sentence says the gain in
    AUC; without any gain it says so."""
    small = [
        replace(figures, below_static=-0.02) if figures.policy == "loop" else figures
        for figures in compared(0.001)
    ]
    assert recommend(
        [replace(figures, share=20.0) if figures.policy == "loop" else figures for figures in small]
    ) == (
        "your policy (loop) ends +0.0200 AUC against never retraining, "
        "with 19% of always-retrain's trainings"
    )
    assert "hardly anything here, 0.0010 AUC" in recommend(compared(0.001))
    assert "0.0000 AUC at most" in recommend(compared(-0.1))


def compared(gain: float) -> list[PolicyFigures]:
    some = measured(static=rounds(0.5), always=rounds(0.6))["static"]
    return [
        replace(
            some,
            policy=name,
            share=share,
            below_static=-gain * share,
            trainings=cost,
            trainings_share=cost / 16,
        )
        for name, share, cost in (
            ("static", 0.0, 0),
            ("always", 1.0, 16),
            ("every-4", 0.98, 4),
            ("loop", 0.9, 3),
        )
    ]
