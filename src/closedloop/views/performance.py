"""How production did, window by window, as the turns wrote it down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import dropwhile
from statistics import NormalDist

from closedloop.registry.versions import VersionFacts
from closedloop.storage.entry import Entry

MOST_WINDOWS = 36


@dataclass(frozen=True)
class RealisedPoint:
    """The AUC of the version that was live, on the labelled rows of a window.

    Bounds and rows are None where an older release did not keep them. `seen_in` is the window of
    the turn that measured it: labels came late when that is another one.
    """

    window: str
    version: int | None
    value: float
    lower: float | None
    upper: float | None
    rows: int | None
    seen_in: str
    decision: int

    @property
    def late(self) -> bool:
        """Whether the labels came after the turn on their own window."""
        return self.seen_in != self.window


@dataclass(frozen=True)
class DriftPoint:
    """The share of columns that drifted in a window; None where it was not measured."""

    window: str
    drift_share: float | None
    over: bool | None
    columns: tuple[str, ...]
    decision: int


def read_realised(entries: Iterable[Entry]) -> tuple[RealisedPoint, ...]:
    """What was measured last for each window and version, in the order of the windows."""
    found: dict[tuple[str, int | None], RealisedPoint] = {}
    for entry in entries:
        facts = entry.turn.realised
        if facts is None or facts.realised_auc is None or facts.realised_on is None:
            continue
        if facts.realised_lower is None and (facts.realised_on, entry.production) in found:
            continue  # the witness of a quarantine repeats the value without its interval
        found[facts.realised_on, entry.production] = RealisedPoint(
            facts.realised_on,
            entry.production,
            facts.realised_auc,
            facts.realised_lower,
            facts.realised_upper,
            facts.realised_rows,
            entry.decision.window,
            entry.id,
        )
    return tuple(found.values())[-MOST_WINDOWS:]


def read_drift(entries: Iterable[Entry]) -> tuple[DriftPoint, ...]:
    """What was measured last for each window, in the order of turns, from the first value on."""
    found: dict[str, DriftPoint] = {}
    for entry in entries:
        facts = entry.turn.drift
        if facts is not None:
            found[entry.decision.window] = DriftPoint(
                entry.decision.window,
                facts.drift_share,
                facts.drift_over,
                facts.drifted_columns,
                entry.id,
            )
    known = tuple(dropwhile(lambda point: point.drift_share is None, found.values()))
    return known[-MOST_WINDOWS:]


def val_auc_interval(version: VersionFacts, confidence: float) -> tuple[float, float] | None:
    """The interval of val_auc, clipped to 0 to 1; None where its error is not known."""
    if version.val_auc is None or version.val_auc_error is None:
        return None
    half = NormalDist().inv_cdf((1 + confidence) / 2) * version.val_auc_error
    return max(0.0, version.val_auc - half), min(1.0, version.val_auc + half)
