"""The versions: which there are, how each came to be, and how two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from closedloop.decisions.checks import Kind
from closedloop.decisions.evidence import Comparison
from closedloop.metrics.importance import Importance
from closedloop.registry.versions import VersionFacts
from closedloop.storage.entry import Entry
from closedloop.turn.card_facts import TrainingFacts
from closedloop.turn.live_at import name_decider
from closedloop.turn.moved_aliases import MOVES
from closedloop.turn.open import Loop
from closedloop.views.kept_files import (
    read_kept_evidence,
    read_kept_importance,
    read_kept_training,
)
from closedloop.views.performance import RealisedPoint, read_realised, val_auc_interval


@dataclass(frozen=True)
class VersionLine:
    """A version with the interval of its val_auc, and the decisions that judged and moved it."""

    facts: VersionFacts
    interval: tuple[float, float] | None
    judged: Entry | None
    moves: tuple[Entry, ...]


@dataclass(frozen=True)
class VersionSide:
    """Everything that is known of one of two versions; None for what was not kept."""

    line: VersionLine
    comparison: Comparison | None
    importance: Importance | None
    training: TrainingFacts | None
    realised: tuple[RealisedPoint, ...]


@dataclass(frozen=True)
class Row:
    """One line of a comparison: what it is about, and both sides as people read them."""

    about: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        """Whether the sides are not the same."""
        return self.first != self.second


@dataclass(frozen=True)
class NeededColumn:
    """What both versions lose without a column; None where one does not have it."""

    column: str
    first: float | None
    second: float | None


@dataclass(frozen=True)
class Compared:
    """Two versions side by side; `same_rows` is a sentence when they were scored on the same."""

    first: VersionSide
    second: VersionSide
    scores: tuple[Row, ...]
    making: tuple[Row, ...]
    needed: tuple[NeededColumn, ...]
    same_rows: str


def list_lines(loop: Loop) -> tuple[VersionLine, ...]:
    """Every version, newest first."""
    entries = loop.journal.history(loop.use_case.name)
    confidence = loop.use_case.policy.promotion.confidence
    return tuple(_line(facts, entries, confidence) for facts in reversed(loop.registry.versions()))


def compare_versions(loop: Loop, first: int, second: int) -> Compared | None:
    """Two versions side by side; None when one of them does not exist."""
    entries = loop.journal.history(loop.use_case.name)
    known = {facts.version: facts for facts in loop.registry.versions()}
    if first not in known or second not in known:
        return None
    one_side, other = (_side(loop, known[number], entries) for number in (first, second))
    sides = (one_side, other)
    return Compared(
        one_side,
        other,
        tuple(_score_rows(*sides)),
        tuple(_making_rows(*sides)),
        tuple(_needed(*sides)),
        _same_rows(*sides),
    )


def _line(facts: VersionFacts, entries: Sequence[Entry], confidence: float) -> VersionLine:
    about = [entry for entry in entries if entry.decision.version == facts.version]
    judged = [entry for entry in about if entry.decision.kind is Kind.PROMOTION]
    moves = [entry for entry in about if entry.decision.action in MOVES and entry.outcome == "done"]
    interval = val_auc_interval(facts, confidence)
    return VersionLine(facts, interval, judged[-1] if judged else None, tuple(moves))


def _side(loop: Loop, facts: VersionFacts, entries: Sequence[Entry]) -> VersionSide:
    evidence = read_kept_evidence(loop.registry, facts.run_id)
    return VersionSide(
        _line(facts, entries, loop.use_case.policy.promotion.confidence),
        evidence.comparison if evidence is not None else None,
        read_kept_importance(loop.registry, facts.run_id),
        read_kept_training(loop.registry, facts.run_id),
        tuple(point for point in read_realised(entries) if point.version == facts.version),
    )


def _score_rows(*sides: VersionSide) -> list[Row]:
    found = [
        _row("val_auc", *map(_tell_auc, sides)),
        _row("measured on", *(_tell_rows(side.comparison) for side in sides)),
    ]
    for name, words in (
        ("accuracy", "accuracy"),
        ("f1", "F1"),
        ("log_loss", "log loss (less is better)"),
        ("brier", "Brier score (less is better)"),
        ("calibration_error", "calibration error (less is better)"),
    ):
        values = [
            getattr(side.comparison.candidate, name, None) if side.comparison else None
            for side in sides
        ]
        found.append(_row(words, *map(_number, values)))
    latest = [side.realised[-1] if side.realised else None for side in sides]
    found.append(_row("newest live AUC", *map(_tell_realised, latest)))
    return found


def _making_rows(*sides: VersionSide) -> list[Row]:
    facts = [side.line.facts for side in sides]
    training = [side.training for side in sides]
    windows = ["" if made is None else _tell_windows(made) for made in training]
    return [
        _row("status", *(known.status for known in facts)),
        _row("recipe", *(known.recipe for known in facts)),
        _row("trained for", *(known.window for known in facts)),
        _row("trained through", *(known.trained_through for known in facts)),
        _row("training rows", *windows),
        _row("answers as", *(known.served_by for known in facts)),
        _row("files (sha256)", *(known.digest[:12] for known in facts)),
        _row("code", *(made.revision[:12] if made else "" for made in training)),
        _row("loop.toml", *(made.fingerprint[:12] if made else "" for made in training)),
        _row("went live", *(_tell_moves(side.line) for side in sides)),
    ]


def _row(about: str, first: str, second: str) -> Row:
    return Row(about, first or "not known", second or "not known")


def _tell_windows(made: TrainingFacts) -> str:
    rows = sum(window.rows for window in made.windows)
    names = [window.name for window in made.windows]
    span = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" if names else ""
    return f"{rows:,} rows of {len(names)} windows: {span}" if names else ""


def _tell_moves(line: VersionLine) -> str:
    told = [
        f"{entry.at:%Y-%m-%d %H:%M} (decision {entry.id}, by {name_decider(entry)})"
        for entry in line.moves
    ]
    return "; ".join(told) or "never"


def _tell_auc(side: VersionSide) -> str:
    facts, interval = side.line.facts, side.line.interval
    if facts.val_auc is None:
        return ""
    told = f"{facts.val_auc:.4f}"
    return told if interval is None else f"{told} [{interval[0]:.4f}, {interval[1]:.4f}]"


def _tell_rows(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    return f"{comparison.candidate.rows:,} rows of {comparison.judged_on}"


def _tell_realised(point: RealisedPoint | None) -> str:
    return "" if point is None else f"{point.value:.4f} on {point.window}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _needed(first: VersionSide, second: VersionSide) -> list[NeededColumn]:
    losses = [
        {column.column: column.loss for column in side.importance.columns}
        if side.importance
        else {}
        for side in (first, second)
    ]
    names = dict.fromkeys([*losses[0], *losses[1]])
    rows = [NeededColumn(name, losses[0].get(name), losses[1].get(name)) for name in names]
    return sorted(rows, key=lambda row: -max(row.first or 0.0, row.second or 0.0))


def _same_rows(first: VersionSide, second: VersionSide) -> str:
    """The paired comparison, if one of the two was judged against the other."""
    for newer, older in ((first, second), (second, first)):
        compared, judged = newer.comparison, newer.line.judged
        live = older.line.facts.version
        if compared is None or compared.delta is None or judged is None:
            continue
        if judged.production == live:
            ours = newer.line.facts.version
            return (
                f"On the same {compared.delta.rows:,} rows of {compared.window}, version {ours} "
                f"against version {live}: {compared.delta}"
            )
    return ""
