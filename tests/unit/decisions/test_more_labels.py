"""How many labels would settle what is unknown, and where people read it."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.decisions.evidence import Estimate
from closedloop.decisions.more_labels import rows_that_settle, tell_what_settles, windows_to_come
from closedloop.decisions.policy import Policy
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.retraining import decide_retraining
from tests.spec.examples import (
    delta,
    first_model,
    labels,
    promotion,
    retraining,
    scores,
    with_promotion,
)


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.integers(50, 100_000))
def test_the_interval_shrinks_with_the_root_of_the_rows(
    difference: float, reach: float, rows: int
) -> None:
    """On so many rows the interval around the difference just leaves its limit, on a few less it
    does not."""
    needed = rows_that_settle(delta(0.0, reach, rows), difference)
    assert needed is not None
    assert reach * sqrt(rows / needed) <= difference * (1 + 1e-9)
    if needed > 2:
        assert reach * sqrt(rows / (needed - 1)) >= difference * (1 - 1e-9)


def test_nothing_settles_what_does_not_differ_or_spread() -> None:
    """An exact tie, or models that answer alike, need no number of labels."""
    assert rows_that_settle(delta(0.0), 0.0) is None
    assert rows_that_settle(delta(0.02, 0.0), 0.02) is None


@pytest.mark.parametrize(
    ("value", "reach", "limit", "smallest", "told"),
    [
        (0.005, 0.01, 0.0, 0.0, "about 8,000 labelled rows, 80 of the rarest class, would tell"),
        (0.005, 0.01, 0.0, 0.01, ""),
        (0.005, 0.01, 0.002, 0.002, "about 23,000 labelled rows, 230 of the rarest class"),
        (0.02, 0.01, 0.0, 0.0, ""),
        (-0.02, 0.01, 0.0, 0.0, ""),
        (5e-324, 0.01, 0.0, 0.0, "even 100 times these labels would not tell"),
        (0.00001, 0.01, 0.0, 0.0, "even 100 times these labels would not tell"),
        (0.0, 0.0, 0.0, 0.0, ""),
    ],
)
def test_what_people_read_of_an_undecided_difference(
    value: float, reach: float, limit: float, smallest: float, told: str
) -> None:
    """The labels that are needed, rounded up; nothing where the interval leaves the limit."""
    found = tell_what_settles(delta(value, reach), limit, smallest, 20)
    assert found.startswith(told) if told else found == ""


@pytest.mark.parametrize(
    ("there", "wanted", "windows", "more"),
    [(30, 30, 2, 0), (15, 30, 1, 1), (12, 30, 1, 2), (3, 20, 1, 6), (0, 30, 3, None)],
)
def test_windows_that_are_still_to_come(
    there: int, wanted: int, windows: int, more: int | None
) -> None:
    """At the rate so far; unknown while there is no row."""
    assert windows_to_come(there, wanted, windows) == more


def _got(evidence: object, claim: str, policy: Policy | None = None) -> str:
    decide = decide_retraining if hasattr(evidence, "new_labels") else decide_promotion
    decision = decide(evidence, policy or Policy())  # type: ignore[arg-type, operator]
    return next(check.got for check in decision.checks if check.claim == claim)


def test_a_candidate_that_is_judged_on_too_few_is_told_when_there_will_be_enough() -> None:
    """The rows there are, the windows that judged, the windows still to come, and the line that
    lets so many judge together."""
    few = {"candidate": scores(rows=1500, rarest=12), "judged_with": ()}
    claim = "enough evaluation rows"
    assert _got(promotion(few), claim) == (
        "1500 rows, 12 of the rarest class: about 2 more windows would do, "
        "with max_evaluation_windows = 3 in [policy.promotion]"
    )
    four = with_promotion(max_evaluation_windows=4)
    two = {"candidate": scores(rows=3000, rarest=24), "judged_with": ("month_009",)}
    assert _got(promotion(two), claim, four) == (
        "3000 rows, 24 of the rarest class in 2 windows: about 1 more window would do"
    )
    none = {"candidate": scores(rows=1500, rarest=0)}
    assert _got(promotion(none), claim) == "1500 rows, 0 of the rarest class"
    held_out = {"candidate": scores(rows=375, rarest=4), "held_out": True}
    assert _got(first_model(held_out), claim).endswith(
        "4 of the rarest class in a held-out part of month_010; newer windows judge whole"
    )


def test_an_undecided_difference_says_what_would_settle_it() -> None:
    """Of a refit that passes as not worse, and of another recipe that does not pass; the windows
    that judged are named."""
    undecided = {"delta": delta(0.005), "judged_with": ("month_008", "month_009")}
    claim = "delta on month_008 to month_010"
    told = "; about 8,000 labelled rows, 800 of the rarest class, would tell a difference like this"
    assert _got(promotion(undecided), claim).endswith(f"on 2000 rows{told}")
    assert _got(promotion({**undecided, "same_recipe": False}), claim).endswith(told)
    assert _got(promotion({"delta": delta(0.02)}), "delta on month_010").endswith("on 2000 rows")


def test_a_retraining_that_waits_for_labels_says_how_long() -> None:
    """At the rate since production was trained; without any label it is unknown."""
    claim = "enough new labels of each class"
    seen = retraining(new_labels=labels(3000, 12))
    assert _got(seen, claim) == "12 of the rarest, about 3 more windows would do"
    assert _got(retraining(new_labels=labels(3000, 0)), claim) == "0 of the rarest"
    assert _got(retraining(new_labels=labels(3000, 30)), claim) == "30 of the rarest"
    estimate = Estimate(0.0, 0.0, 0.0, 0)
    assert tell_what_settles(estimate, 0.0, 0.0, 0) == ""
