"""The interval that may be looked at again and again, on draws where the truth is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from closedloop.decisions.any_time import hold_at_any_time
from closedloop.decisions.evidence import Estimate


def usual(value: float, error: float, rows: int, confidence: float = 0.95) -> Estimate:
    """An estimate with the usual interval of a standard error."""
    reach = float(norm.ppf(0.5 + confidence / 2)) * error
    return Estimate(value, value - reach, value + reach, rows)


def test_looking_often_errs_no_more_than_promised() -> None:
    """Of 2,000 streams without any difference that are looked at 60 times, at most 2.5 % ever seem
    worse; by the usual interval it would be a quarter."""
    draw, looks, step = np.random.default_rng(3), 60, 250
    rows = np.arange(1, looks + 1) * step
    sums = np.cumsum(draw.normal(0, np.sqrt(step), (2_000, looks)), axis=1)
    lower = {"usual": 0, "any time": 0}
    for stream in sums / rows:
        found = [
            usual(float(mean), 1 / np.sqrt(many), int(many))
            for mean, many in zip(stream, rows, strict=True)
        ]
        lower["usual"] += any(each.upper < 0 for each in found)
        lower["any time"] += any(hold_at_any_time(each, 0.95, 500).upper < 0 for each in found)
    assert lower["any time"] <= 0.025 * 2_000
    assert lower["usual"] > 0.15 * 2_000


@given(
    st.floats(-1, 1),
    st.floats(1e-6, 0.5),
    st.integers(1, 10**7),
    st.sampled_from([0.8, 0.95, 0.999]),
    st.integers(1, 10**5),
)
def test_it_is_never_narrower_than_one_that_is_looked_at_once(
    value: float, error: float, rows: int, confidence: float, narrowest_at: int
) -> None:
    """It holds the usual interval, is centred on the same value, and keeps the rows."""
    once = usual(value, error, rows, confidence)
    always = hold_at_any_time(once, confidence, narrowest_at)
    assert always.lower <= once.lower <= once.upper <= always.upper
    assert (always.value, always.rows) == (once.value, once.rows)


def test_no_spread_stays_no_spread() -> None:
    """Two versions that answer alike differ by exactly nothing, at every look."""
    assert hold_at_any_time(usual(0.0, 0.0, 5000), 0.95, 500) == Estimate(0.0, 0.0, 0.0, 5000)
    assert hold_at_any_time(usual(0.0, 0.1, 0), 0.95, 500) == usual(0.0, 0.1, 0)


def test_it_is_narrowest_where_it_is_asked_to_be() -> None:
    """It costs 1.6 times the width of the usual one there, and hardly more at ten times the rows:
    what a small window cannot show, several show together."""
    widths = {
        rows: (lambda found: found.value - found.lower)(
            hold_at_any_time(usual(0.0, 1.0, rows), 0.95, 500)
        )
        / 1.96
        for rows in (50, 500, 5_000, 50_000)
    }
    assert widths[500] == min(widths.values())
    assert 1.5 < widths[500] < 1.6
    assert widths[5_000] < 1.8
