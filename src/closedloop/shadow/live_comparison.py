"""What a candidate answered in the shadow, held against production on the same rows, and against
the labels that came later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.decisions.evidence import Estimate, SliceDelta
from closedloop.decisions.policy import PromotionPolicy
from closedloop.decisions.shadow import SliceFlips
from closedloop.metrics.auc import estimate_auc, measure_delta
from closedloop.metrics.comparison import measure_slices
from closedloop.metrics.deciding_measure import influence_of
from closedloop.records.shadow import AnsweredTwice, RecordedRequest
from closedloop.shadow.columns import read_probabilities
from closedloop.shadow.compare import count_flips, find_flips, measure_shift
from closedloop.shadow.replay import read_rows
from closedloop.use_case.contract import UseCase
from closedloop.windows.groups import number_groups
from closedloop.windows.prepare import prepare
from closedloop.windows.spelling import find_spellings, read_label


@dataclass(frozen=True)
class LiveComparison:
    """A candidate beside the versions that answered, on the rows that both were asked.

    `failed` rows had no answer of the candidate. `flips` of the `compared` rows got another
    prediction. On the `labelled` ones, `auc` is the candidate's and `production_auc` that of the
    answers that were given; `delta` is their difference in the measure that decides. All three are
    None while a class has fewer than two rows, or fewer than two groups have it; or for the reason
    in `unmeasured`.
    """

    version: int
    production: tuple[int, ...]
    rows: int
    failed: int
    compared: int
    flips: int
    score_shift: float | None
    slices: tuple[SliceFlips, ...]
    labelled: int
    auc: Estimate | None
    production_auc: Estimate | None
    delta: Estimate | None
    slice_deltas: tuple[SliceDelta, ...]
    unmeasured: str = ""


@dataclass
class _Collected:
    requests: list[RecordedRequest] = field(default_factory=list)
    ours: list[NDArray[np.float64]] = field(default_factory=list)
    theirs: list[NDArray[np.float64]] = field(default_factory=list)
    flips: list[NDArray[np.bool_]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)  # -1 without one
    kept: list[NDArray[np.bool_]] = field(default_factory=list)  # of every row of the requests
    versions: set[int] = field(default_factory=set)
    rows: int = 0
    failed: int = 0


def compare_live(
    version: int,
    twice: Iterable[AnsweredTwice],
    use_case: UseCase,
    threshold_of: Callable[[int], float | None],
) -> LiveComparison:
    """All that was answered twice, compared; `threshold_of` says with what a version answers.

    Requests that were answered under other classes are left out.
    """
    found = _Collected()
    thresholds: dict[int, float | None] = {version: threshold_of(version)}
    for answered in twice:
        if answered.version not in thresholds:
            thresholds[answered.version] = threshold_of(answered.version)
        _collect(found, answered, use_case, thresholds[version], thresholds[answered.version])
    rules, classes = use_case.policy.promotion, len(use_case.target.classes)
    ours, theirs = (
        np.concatenate(side) if side else np.empty((0, classes))
        for side in (found.ours, found.theirs)
    )
    flips = np.concatenate(found.flips) if found.flips else np.zeros(0, dtype=bool)
    labels = np.array(found.labels, dtype=np.int64)
    known = labels >= 0
    kept = np.concatenate(found.kept) if found.kept else flips
    prepared = prepare(read_rows(found.requests, use_case)[kept], use_case)
    measured = _measure(labels[known], ours[known], theirs[known], prepared[known], use_case, rules)
    return LiveComparison(
        version,
        tuple(sorted(found.versions)),
        found.rows,
        found.failed,
        len(flips),
        int(flips.sum()),
        measure_shift(ours, theirs),
        count_flips(flips, prepared, use_case.slices),
        int(known.sum()),
        *measured,
        unmeasured=_tell_unmeasured(use_case),
    )


def _tell_unmeasured(use_case: UseCase) -> str:
    """Why no score can be compared: a request is recorded with its features and nothing else."""
    group = use_case.group
    if group is None or (group in use_case.columns and group not in use_case.unrecorded):
        return ""
    return f"requests do not say which rows are of one {group}, so no interval can be told"


def _collect(
    found: _Collected,
    answered: AnsweredTwice,
    use_case: UseCase,
    threshold: float | None,
    their_threshold: float | None,
) -> None:
    request, classes = answered.request, use_case.target.classes
    found.rows += request.rows
    if answered.shadow is None:
        found.failed += request.rows
        return
    try:
        ours, theirs = (
            read_probabilities(written, classes, request.rows)
            for written in (answered.shadow, answered.probabilities)
        )
    except ValueError:
        return
    # A row that a person had erased has no answer any more.
    kept = np.asarray(np.isfinite(ours + theirs).all(axis=1))
    known = find_spellings(classes)
    told = {row: read_label(label, known) for row, label in answered.labels.items()}
    found.requests.append(request)
    found.kept.append(kept)
    found.ours.append(ours[kept])
    found.theirs.append(theirs[kept])
    found.flips.append(find_flips(ours[kept], theirs[kept], threshold, their_threshold))
    found.versions.add(answered.version)
    found.labels += [
        classes.index(label) if (label := told.get(row)) in classes else -1
        for row in np.flatnonzero(kept).tolist()
    ]


def _measure(
    labels: NDArray[np.int64],
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    prepared: pd.DataFrame,
    use_case: UseCase,
    rules: PromotionPolicy,
) -> tuple[Estimate | None, Estimate | None, Estimate | None, tuple[SliceDelta, ...]]:
    if not len(labels) or _tell_unmeasured(use_case):
        return None, None, None, ()
    influence, groups = influence_of(rules), number_groups(use_case, prepared)
    return (
        estimate_auc(labels, ours, rules.confidence, groups),
        estimate_auc(labels, theirs, rules.confidence, groups),
        measure_delta(labels, ours, theirs, rules.confidence, influence, groups),
        measure_slices(
            prepared, use_case.slices, labels, ours, theirs, rules.confidence, influence, groups
        ),
    )
