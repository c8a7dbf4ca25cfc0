"""What `closedloop doctor` says about gates that windows of this size can never meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from closedloop.errors import ClosedLoopError
from closedloop.metrics.clustering import count_rarest
from closedloop.metrics.comparison import slice_rows
from closedloop.training.candidates import LabelledWindow, split_windows
from closedloop.turn.open import Loop
from closedloop.use_case.contract import UseCase
from closedloop.windows.groups import number_groups
from closedloop.windows.order import columns_not_yet, mature

_NEWEST = 5  # windows whose median is the usual one, together with the first
_HELD_OUT, _LARGEST_SHARE = "the held-out part", 0.5
_USUAL = "the usual window has"


@dataclass(frozen=True)
class _Unmet:
    """A minimum of loop.toml that asks for more than there is."""

    table: str
    name: str
    limit: int
    there: int
    where: str

    def __str__(self) -> str:
        return f"{self.name} = {self.limit} in [{self.table}], where {self.where}"


def describe_gates(loop: Loop) -> str:
    """One sentence if windows can meet every minimum, or while none has labels.

    Raises ClosedLoopError that names each minimum that they cannot meet, with the line to write.
    """
    windows = _read_labelled(loop)
    if not windows:
        return "no readable window has labels yet"
    unmet = [*_of_the_first_model(loop, windows[0]), *_of_later_windows(loop, windows)]
    if not unmet:
        return "windows of this size can meet every minimum of loop.toml"
    raise ClosedLoopError(
        where=str(loop.use_case.path),
        wanted="minimums that windows of this size can meet",
        got="; ".join(map(str, unmet)),
        then=_advise(unmet, loop.use_case.training.holdout_share),
    )


def _advise(unmet: Sequence[_Unmet], holdout_share: float) -> str:
    """The lines to write, with the lowest number there is, because a minimum holds everywhere."""
    lowest: dict[tuple[str, str], int] = {}
    for gate in sorted(unmet, key=lambda gate: -gate.there):
        lowest[gate.table, gate.name] = gate.there
    lines = [
        f"{name} = {there} in [{table}]" for (table, name), there in lowest.items() if there > 0
    ]
    ways = [f"write {', '.join(lines)}"] if lines else []
    if holdout_share < _LARGEST_SHARE and any(gate.where.startswith(_HELD_OUT) for gate in unmet):
        ways.append(f"raise holdout_share in [training] (at most {_LARGEST_SHARE})")
    ways.append("make windows longer: closedloop init says how long they would have to be")
    if any(gate.where.startswith(_USUAL) for gate in unmet):
        ways.append(
            "let newest windows judge together: max_evaluation_windows in [policy.promotion]"
        )
    return "; or ".join(ways)


def _read_labelled(loop: Loop) -> list[LabelledWindow]:
    """The first window with due labels and the newest ones, of those that keep the contract."""
    names, use_case = loop.source.windows(), loop.use_case
    due = mature(names, names[-1], use_case.labels.delay_windows) if names else ()
    reads = (
        loop.compute.read_window(
            loop.source,
            name,
            names.index(name),
            use_case,
            None,
            columns_not_yet(use_case.columns, names, name),
        )
        for name in dict.fromkeys((*due[:1], *due[-_NEWEST:]))
    )
    return [read.labelled for read in reads if not read.violations and len(read.labelled.labels)]


def _of_the_first_model(loop: Loop, first: LabelledWindow) -> list[_Unmet]:
    """A first model that has one window only is judged on a part of it."""
    use_case, rules = loop.use_case, loop.use_case.policy.promotion
    if _has_production(loop):
        return []
    if rules.max_evaluation_windows > 1:
        return []  # it waits for more windows, if need be
    judged = split_windows((first,), use_case).evaluation
    return _compare(
        f"{_HELD_OUT} of {first.name}, which judges a first model, has",
        "policy.promotion",
        ("min_rows", rules.min_rows, len(judged.labels)),
        ("min_rows_per_class", rules.min_rows_per_class, _count_rarest(use_case, judged)),
        rarest=_of_rarest(use_case),
    )


def _count_rarest(use_case: UseCase, *windows: LabelledWindow) -> int:
    """What these windows together have of the rarest class: rows, or groups where there are any."""
    labels = np.concatenate([window.labels for window in windows])
    groups = number_groups(use_case, *(window.frame for window in windows))
    return count_rarest(labels, len(use_case.target.classes), groups)


def _of_rarest(use_case: UseCase) -> str:
    return " of the rarest class" if use_case.group is None else " groups of the rarest class"


def _has_production(loop: Loop) -> bool:
    try:
        return loop.registry.production() is not None
    except ClosedLoopError:
        return True  # another line of doctor tells what is wrong with the registry


def _of_later_windows(loop: Loop, windows: Sequence[LabelledWindow]) -> list[_Unmet]:
    use_case, policy = loop.use_case, loop.use_case.policy
    rules, rows = policy.retraining, int(median(len(window.labels) for window in windows))
    told, classes = _of_rarest(use_case), len(use_case.target.classes)
    labels = int(median(count_rarest(window.labels, classes) for window in windows))
    rarest = int(median(_count_rarest(use_case, window) for window in windows))
    most = policy.promotion.max_evaluation_windows
    unmet = _compare(
        _USUAL if most == 1 else f"the {most} windows that may judge together have",
        "policy.promotion",
        ("min_rows", policy.promotion.min_rows, most * rows),
        ("min_rows_per_class", policy.promotion.min_rows_per_class, most * rarest),
        rarest=told,
    )
    if rules.age_trigger:
        age = rules.max_age_windows
        unmet += _compare(
            f"the {age} windows after which age asks for a retraining have",
            "policy.retraining",
            ("min_new_labels", rules.min_new_labels, age * rows),
            ("min_new_labels_per_class", rules.min_new_labels_per_class, age * labels),
        )
    if policy.rollback.enabled:
        watched = policy.rollback.probation_windows
        # The same groups may come in each window, the same rows do not.
        seen = watched * rarest
        if use_case.group is not None:
            seen = min(seen, _count_rarest(use_case, *windows[-watched:]))
        unmet += _compare(
            f"the {watched} windows of a probation together have",
            "policy.rollback",
            ("min_rows", policy.rollback.min_rows, watched * rows),
            ("min_rows_per_class", policy.rollback.min_rows_per_class, seen),
            rarest=told,
        )
    return unmet + _of_slices(loop, windows)


def _of_slices(loop: Loop, windows: Sequence[LabelledWindow]) -> list[_Unmet]:
    """A protected slice with too few rows is unknown, and lets nothing be promoted."""
    use_case, rules, unmet = loop.use_case, loop.use_case.policy.promotion, []
    for part in use_case.slices:
        if not part.protected:
            continue
        inside = [(window, slice_rows(window.frame, part)) for window in windows]
        found = [
            replace(window, frame=window.frame[rows], labels=window.labels[rows])
            for window, rows in inside
        ]
        rarest = int(median(_count_rarest(use_case, window) for window in found))
        unmet += _compare(
            f"the protected slice {part.name} of the usual window has",
            "policy.promotion",
            (
                "min_slice_rows",
                rules.min_slice_rows,
                int(median(len(window.labels) for window in found)),
            ),
            ("min_slice_rows_per_class", rules.min_slice_rows_per_class, rarest),
            rarest=_of_rarest(use_case),
        )
    return unmet


def _compare(
    where: str, table: str, *limits: tuple[str, int, int], rarest: str = " of the rarest class"
) -> list[_Unmet]:
    what = {True: rarest, False: " labelled rows"}
    return [
        _Unmet(table, name, limit, there, f"{where} {there}{what[name.endswith('_per_class')]}")
        for name, limit, there in limits
        if there < limit
    ]
