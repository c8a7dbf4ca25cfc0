"""The paired interval of a difference in AUC: the textbook's, a bootstrap's, and as often wrong as
it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from closedloop.metrics.auc import estimate_auc, measure_auc, measure_delta
from tests.made_answers import Floats, Labels, binary, equal_models, several

Z90, Z95 = float(norm.ppf(0.95)), float(norm.ppf(0.975))


def _kernel(positive: Labels, scores: Floats) -> Floats:
    """Every positive against every negative: 1 when it is above, a half when it ties."""
    above, below = scores[positive == 1][:, None], scores[positive == 0][None, :]
    return np.asarray((above > below) + 0.5 * (above == below))


def _textbook_variance(positive: Labels, first: Floats, second: Floats) -> float:
    """DeLong 1988, equations 3 to 6, for the contrast (1, -1)."""
    kernels = [_kernel(positive, scores) for scores in (first, second)]
    hits, misses = (
        np.cov([k.mean(axis=1) for k in kernels]),
        np.cov([k.mean(axis=0) for k in kernels]),
    )
    covariance = hits / kernels[0].shape[0] + misses / kernels[0].shape[1]
    return float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])


def _textbook_macro(labels: Labels, first: Floats, second: Floats) -> tuple[float, float]:
    """Difference and standard error of the mean of one-versus-rest AUCs, from the structural
    components of every class.

    Each class gives each row its component over the root of m (m - 1), m rows of its kind; a row's
    are averaged, and squared and summed. With one question this is the sum of the textbook's two
    sample variances, each over its number of rows.
    """
    questions = [1] if first.shape[1] == 2 else list(range(first.shape[1]))
    moved, value = np.zeros(len(labels)), 0.0
    for column in questions:
        positive = (labels == column).astype(np.int64)
        difference = _kernel(positive, first[:, column]) - _kernel(positive, second[:, column])
        value += difference.mean() / len(questions)
        for kind, axis in ((1, 1), (0, 0)):
            component = difference.mean(axis=axis) - difference.mean()
            moved[positive == kind] += (
                component / np.sqrt(len(component) * (len(component) - 1)) / len(questions)
            )
    return float(value), float(np.sqrt(np.square(moved).sum()))


@pytest.mark.parametrize("decimals", [1, 2, 8])
@pytest.mark.parametrize(
    ("rows", "share"), [(10, 0.4), (57, 0.4), (400, 0.4), (1010, 0.01), (1010, 0.99)]
)
def test_delta_is_the_textbooks(rows: int, share: float, decimals: int) -> None:
    """Value and interval agree to 1e-9 with the O(mn) form: with many ties, few and none, and
    classes of 1:100 either way round."""
    labels, candidate = binary(rows, 1, decimals, share=share)
    _, production = binary(rows, 2, decimals, share=share)
    delta = measure_delta(labels, candidate, production, 0.95)
    assert delta is not None
    value = _kernel(labels, candidate[:, 1]).mean() - _kernel(labels, production[:, 1]).mean()
    reach = Z95 * np.sqrt(_textbook_variance(labels, candidate[:, 1], production[:, 1]))
    assert [delta.value, delta.lower, delta.upper] == pytest.approx(
        [value, value - reach, value + reach], abs=1e-9
    )
    assert delta.rows == rows


@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("weights", [(1, 100), (1, 1, 1, 1), (1, 5, 20, 100)], ids=str)
def test_delta_of_any_number_of_classes_is_the_textbooks(
    weights: tuple[int, ...], decimals: int
) -> None:
    """Two and four classes, even and very uneven, with heavy ties and none, agree to 1e-9 with the
    O(mn) form."""
    rng = np.random.default_rng(len(weights))
    count = len(weights)
    labels = np.r_[
        np.repeat(np.arange(count), 2), rng.choice(count, 600, p=np.array(weights) / sum(weights))
    ]
    candidate, production = (
        np.round(rng.normal(size=(len(labels), count)) + np.eye(count)[labels], decimals)
        for _ in range(2)
    )
    delta = measure_delta(labels, candidate, production, 0.95)
    value, error = _textbook_macro(labels, candidate, production)
    assert delta is not None
    assert [delta.value, delta.lower, delta.upper] == pytest.approx(
        [value, value - Z95 * error, value + Z95 * error], abs=1e-9
    )
    if count == 2:
        assert error**2 == pytest.approx(
            _textbook_variance(labels, candidate[:, 1], production[:, 1]), abs=1e-12
        )


def test_interval_of_one_auc_is_the_textbooks() -> None:
    """Against a model that knows nothing, whose variance is 0, the textbook's contrast is the
    variance of the one model."""
    labels, candidate = binary(300, 3, 2, strength=0.3)
    estimate = estimate_auc(labels, candidate, 0.95)
    assert estimate is not None
    reach = Z95 * np.sqrt(_textbook_variance(labels, candidate[:, 1], np.zeros(300)))
    assert [estimate.upper - estimate.value, estimate.value - estimate.lower] == pytest.approx(
        [reach, reach], abs=1e-9
    )


def test_interval_of_an_auc_stays_inside_0_to_1() -> None:
    """A nearly perfect model on few rows does not claim an AUC above 1."""
    labels, candidate = binary(12, 5, 8, strength=2.0)
    estimate = estimate_auc(labels, candidate, 0.99)
    assert estimate is not None
    assert 0 <= estimate.lower < estimate.value < estimate.upper <= 1


def test_delta_of_several_classes_averages_row_by_row() -> None:
    """The macro interval agrees with a jackknife over rows, which knows nothing of influence."""
    labels, candidate = several(400, 3, 7)
    _, production = several(400, 3, 8)
    delta = measure_delta(labels, candidate, production, 0.95)
    kept = [np.delete(np.arange(400), row) for row in range(400)]
    left_out = [
        (measure_auc(labels[k], candidate[k]) or 0) - (measure_auc(labels[k], production[k]) or 0)
        for k in kept
    ]
    reach = Z95 * np.sqrt(399 / 400 * np.square(np.array(left_out) - np.mean(left_out)).sum())
    assert delta is not None
    assert delta.value == pytest.approx(
        roc_auc_score(labels, candidate, multi_class="ovr")
        - roc_auc_score(labels, production, multi_class="ovr")
    )
    assert delta.upper - delta.value == pytest.approx(reach, rel=0.02)


def _bootstrap_error(labels: Labels, first: Floats, second: Floats, repetitions: int) -> float:
    """Standard deviation of delta over rows drawn with replacement, all repetitions at once: counts
    of rows times kernels."""
    rng = np.random.default_rng(11)
    drawn = rng.multinomial(
        len(labels), np.full(len(labels), 1 / len(labels)), size=repetitions
    ).astype(float)
    questions = [1] if first.shape[1] == 2 else list(range(first.shape[1]))
    deltas = np.zeros(repetitions)
    for column in questions:
        positive = (labels == column).astype(np.int64)
        difference = _kernel(positive, first[:, column]) - _kernel(positive, second[:, column])
        hits, misses = drawn[:, positive == 1], drawn[:, positive == 0]
        deltas += (
            ((hits @ difference) * misses).sum(axis=1)
            / hits.sum(axis=1)
            / misses.sum(axis=1)
            / len(questions)
        )
    return float(deltas.std())


@pytest.mark.parametrize("kind", ["two classes", "a rare class", "ties", "four classes"])
def test_the_standard_error_is_a_bootstraps(kind: str) -> None:
    """Within 5 % of 3,000 resamples of the rows, whose own error is 1.3 %: two models that share a
    signal, and four classes."""
    if kind == "four classes":
        labels, candidate = several(500, 4, 3)
        production = np.round(
            candidate + 0.1 * np.random.default_rng(4).normal(size=candidate.shape), 2
        )
    else:
        labels = (np.arange(600) % (15 if kind == "a rare class" else 3) == 0).astype(np.int64)
        candidate, production = (
            np.round(scores, 0 if kind == "ties" else 8) for scores in equal_models(labels, 5)
        )
    delta = measure_delta(labels, candidate, production, 0.95)
    assert delta is not None
    assert (delta.upper - delta.value) / Z95 == pytest.approx(
        _bootstrap_error(labels, candidate, production, 3000), rel=0.05
    )


def test_the_standard_error_of_a_macro_auc_is_a_bootstraps() -> None:
    """One model of five uneven classes against one that knows nothing, whose AUC is 0.5 on any
    rows: within 5 % of 3,000 resamples of the rows."""
    labels, answers = several(600, 5, 12)
    labels = np.where((labels == 4) & (np.arange(600) % 3 > 0), 0, labels)
    estimate = estimate_auc(labels, answers, 0.95)
    assert estimate is not None
    assert (estimate.upper - estimate.value) / Z95 == pytest.approx(
        _bootstrap_error(labels, answers, np.zeros_like(answers), 3000), rel=0.05
    )


@pytest.mark.parametrize(("rows", "repetitions"), [(200, 2000), (2000, 1000)])
def test_equal_models_are_told_apart_as_often_as_the_policy_says(
    rows: int, repetitions: int
) -> None:
    """Of two equally good models 5 % differ at 5 % two-sided, 5 % are harmed at 5 % one-sided,
    within three standard errors of chance."""
    labels = (np.arange(rows) % 5 < 2).astype(np.int64)
    found = [
        measure_delta(labels, *equal_models(labels, seed), 0.95) for seed in range(repetitions)
    ]
    signs = np.array(
        [delta.value / (delta.upper - delta.value) * Z95 for delta in found if delta is not None]
    )
    chance = 3 * np.sqrt(0.05 * 0.95 / repetitions)
    assert len(signs) == repetitions
    assert np.mean(
        [not delta.lower <= 0 <= delta.upper for delta in found if delta is not None]
    ) == pytest.approx(0.05, abs=chance)
    assert np.mean(signs < -Z90) == pytest.approx(0.05, abs=chance)


SCORES = hnp.arrays(float, 30, elements=st.integers(0, 8).map(lambda eighths: eighths / 8))


@given(labels=hnp.arrays(np.int64, 30, elements=st.integers(0, 1)), first=SCORES, second=SCORES)
@settings(deadline=None)
def test_swapping_the_models_negates_delta(labels: Labels, first: Floats, second: Floats) -> None:
    """Exactly, in value and interval; and a model against itself is 0 with no width: the gate
    favours no side."""
    assume(2 <= labels.sum() <= 28)
    ours, theirs = np.column_stack([1 - first, first]), np.column_stack([1 - second, second])
    there, back, itself = (
        measure_delta(labels, a, b, 0.95) for a, b in ((ours, theirs), (theirs, ours), (ours, ours))
    )
    assert there is not None
    assert back is not None
    assert (back.value, back.lower, back.upper) == (-there.value, -there.upper, -there.lower)
    assert itself is not None
    assert (itself.value, itself.lower, itself.upper) == (0.0, 0.0, 0.0)


@given(order=st.permutations(range(30)), first=SCORES, second=SCORES)
@settings(deadline=None)
def test_the_order_of_rows_does_not_move_the_value(
    order: list[int], first: Floats, second: Floats
) -> None:
    """The same rows in another order give the very same delta, and the same interval up to
    rounding: equal scores are one run."""
    labels = (np.arange(30) % 3 == 0).astype(np.int64)
    ours, theirs = np.column_stack([1 - first, first]), np.column_stack([1 - second, second])
    here, there = (
        measure_delta(labels, ours, theirs, 0.95),
        measure_delta(labels[order], ours[order], theirs[order], 0.95),
    )
    assert here is not None
    assert there is not None
    assert here.value == there.value
    assert (here.lower, here.upper) == pytest.approx((there.lower, there.upper), abs=1e-12)
