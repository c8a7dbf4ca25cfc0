"""Two versions' answers to the same requests, compared with and without labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closedloop.cli.shadow_view import tell_shadow
from closedloop.metrics.auc import measure_delta
from closedloop.records.request import to_json
from closedloop.records.shadow import AnsweredTwice, RecordedRequest
from closedloop.shadow.compare import measure_shift
from closedloop.shadow.live_comparison import compare_live
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    content: dict[str, Any] = {
        "name": "shop",
        "target": {"column": "left", "classes": ["no", "yes"]},
        "source": {"query": "select 1", "windows": "*.csv"},
        "columns": {"spend": {"type": "numeric"}, "plan": {"type": "categorical"}},
        "slices": [
            {"name": "gold", "column": "plan", "values": ["gold"], "protected": True},
            {"name": "big", "column": "spend", "minimum": 100.0},
        ],
    }
    return parse_use_case(content, tmp_path / "loop.toml")


def _twice(
    number: int,
    theirs: list[Any],
    ours: list[Any] | None,
    labels: dict[int, str] | None = None,
    version: int = 1,
    classes: tuple[str, str] = ("no", "yes"),
) -> AnsweredTwice:
    """A request with the probability of the second class in every row: production's and ours."""
    rows = len(theirs)
    features = {"spend": [10.0] * rows, "plan": ["gold", *["basic"] * (rows - 1)]}

    def write(shares: list[Any]) -> bytes:
        first = [None if share is None else 1 - share for share in shares]
        return to_json(dict(zip(classes, (first, shares), strict=True)))

    return AnsweredTwice(
        RecordedRequest(f"r{number}", rows, to_json(features)),
        version,
        write(theirs),
        None if ours is None else write(ours),
        labels or {},
    )


def test_flips_count_by_slice_and_with_each_versions_own_threshold(use_case: UseCase) -> None:
    """A version that answers "yes" from 0.3 on flips what another with 0.5 calls "no"; requests
    that the candidate failed on are rows that failed."""
    asked = [
        _twice(1, [0.4, 0.4], [0.4, 0.2]),
        _twice(2, [0.4], None, version=2),
        _twice(3, [0.6], [0.6], version=3),
    ]
    found = compare_live(9, asked, use_case, {9: 0.3, 1: None, 2: None, 3: None}.get)
    assert (found.version, found.production) == (9, (1, 3))
    assert (found.rows, found.failed, found.compared, found.flips) == (4, 1, 3, 1)
    assert [(part.name, part.rows, part.flips) for part in found.slices] == [
        ("gold", 2, 1),
        ("big", 0, 0),
    ]
    assert (found.labelled, found.delta, found.auc) == (0, None, None)


def test_labels_compare_both_on_the_same_rows(use_case: UseCase) -> None:
    """AUC of both and their paired difference, of rows with a label that is one of the classes."""
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 2, 200)
    theirs = np.clip(0.5 + 0.2 * (truth - 0.5) + draw.normal(0, 0.1, 200), 0.01, 0.99)
    ours = np.clip(0.5 + 0.4 * (truth - 0.5) + draw.normal(0, 0.1, 200), 0.01, 0.99)
    names = [" Yes" if label else "no" for label in truth]  # as people spell them
    asked = [
        _twice(place, [float(theirs[place])], [float(ours[place])], {0: names[place]})
        for place in range(200)
    ]
    asked += [_twice(200, [0.5], [0.5], {0: "perhaps"}), _twice(201, [0.5, 0.5], [0.5, 0.5])]
    found = compare_live(2, asked, use_case, lambda _version: None)
    assert (found.labelled, found.compared) == (200, 203)
    wanted = measure_delta(
        truth, np.column_stack([1 - ours, ours]), np.column_stack([1 - theirs, theirs]), 0.95
    )
    assert wanted is not None
    assert found.delta == wanted
    assert wanted.lower > 0
    assert found.auc is not None
    assert found.production_auc is not None
    assert found.auc.value > found.production_auc.value
    assert [part.name for part in found.slice_deltas] == ["gold", "big"]


def test_scores_are_compared_by_groups_that_requests_tell(use_case: UseCase) -> None:
    """A group that is a feature on record is counted; one that is not leaves scores unknown with
    the reason, instead of an interval that is too narrow. Predictions are compared all the same."""
    draw = np.random.default_rng(3)
    asked, truth = [], draw.integers(0, 2, 100)
    for place in range(100):
        middle = 0.5 + 0.2 * (truth[place] - 0.5) + draw.normal(0, 0.1)
        scores = np.clip(middle + draw.normal(0, 0.02, 4), 0.01, 0.99)
        names = dict.fromkeys(range(4), "yes" if truth[place] else "no")
        both = [float(score) for score in scores]
        twice = _twice(place, both, [score / 2 for score in both], names)
        features = to_json({"spend": [float(place)] * 4, "plan": ["gold"] * 4})
        asked.append(replace(twice, request=replace(twice.request, features=features)))
    plain = compare_live(2, asked, use_case, lambda _version: None)
    told = compare_live(2, asked, replace(use_case, group="spend"), lambda _version: None)
    untold = compare_live(2, asked, replace(use_case, group="customer"), lambda _version: None)
    assert plain.auc is not None
    assert told.auc is not None
    assert told.auc.groups == min(truth.sum(), 100 - truth.sum())
    assert told.auc.upper - told.auc.lower > 1.2 * (plain.auc.upper - plain.auc.lower)
    assert (untold.auc, untold.delta, untold.slice_deltas) == (None, None, ())
    assert (untold.labelled, untold.flips) == (400, plain.flips)
    assert tell_shadow(untold, "AUC")[-1] == (
        "400 of these rows have a label: requests do not say which rows are of one customer, so no "
        "interval can be told"
    )


def test_erased_rows_and_other_classes_are_left_out(use_case: UseCase) -> None:
    """A row that somebody had erased has null for an answer; a request from before the classes
    were changed says nothing of these."""
    asked = [
        _twice(1, [0.2, None, 0.9], [0.2, None, 0.1], {0: "no", 2: "yes"}),
        _twice(2, [0.2], [0.2], classes=("no", "maybe")),
        _twice(3, [0.2, 0.2], [0.9, 0.9], {1: "yes"}),
    ]
    found = compare_live(2, asked, use_case, lambda _version: None)
    assert (found.rows, found.compared, found.flips, found.labelled) == (6, 4, 3, 3)
    assert [(part.rows, part.flips) for part in found.slices] == [(2, 1), (0, 0)]


def test_nothing_is_no_error(use_case: UseCase) -> None:
    """A version that was asked nothing is described as such."""
    found = compare_live(2, [], use_case, lambda _version: None)
    assert (found.rows, found.compared, found.score_shift, found.delta) == (0, 0, None, None)


def test_the_distance_of_scores_is_that_of_kolmogorov_and_smirnov() -> None:
    """0 for the same scores in any order, 1 for scores that are all higher, else the largest
    difference of both shares; the largest over the classes."""

    def both(*shares: float) -> np.ndarray:
        return np.column_stack([1 - np.array(shares), shares])

    assert measure_shift(both(0.1, 0.2, 0.3), both(0.3, 0.1, 0.2)) == 0
    assert measure_shift(both(0.1, 0.2), both(0.3, 0.4)) == 1
    assert measure_shift(both(0.1, 0.2, 0.3, 0.4), both(0.1, 0.2, 0.3, 0.9)) == 0.25
    three = np.array([[0.2, 0.3, 0.5], [0.2, 0.5, 0.3]])
    assert measure_shift(three, three[:, [0, 2, 1]]) == 0
    assert measure_shift(three, three[:, [1, 0, 2]]) == 1
    assert measure_shift(np.empty((0, 2)), np.empty((0, 2))) is None
