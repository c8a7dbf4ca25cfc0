"""Where the loop stands before a turn, from the decisions in the journal and what is live."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import takewhile

from closedloop.decisions.checks import Action, Kind
from closedloop.decisions.evidence import LoopState
from closedloop.registry.versions import VersionFacts
from closedloop.storage.entry import Entry
from closedloop.turn.ended_probation import is_end_of_probation
from closedloop.turn.waiting_decisions import read_waiting


def read_state(
    entries: Iterable[Entry],
    live: VersionFacts | None,
    previous: VersionFacts | None,
    place: Callable[[str | None], int | None],
    now: int,
) -> LoopState:
    """The state before the turn on the window with index `now`.

    `place` gives the index of a window, None without a name.
    """
    entries = tuple(entries)
    waits = read_waiting(entries)
    turns: dict[int, Entry] = {}
    trained, promoted_at = set(), None
    for entry in entries:
        index = place(entry.decision.window)
        if (
            entry.decision.kind in (Kind.PROMOTION, Kind.ROLLBACK)
            and entry.outcome == "done"
            and live is not None
        ):
            if entry.decision.action is Action.PROMOTE:
                promoted_at = index if entry.decision.version == live.version else None
            elif entry.decision.action is Action.ROLLBACK or is_end_of_probation(entry):
                promoted_at = None
        if entry.decision.kind is Kind.RETRAINING and index is not None:
            if entry.decision.action is Action.RETRAIN:
                trained.add(index)
            # A broken window leaves no mark; one whose labels are suspect has drifted or not.
            broken = entry.decision.action is Action.ESCALATE and entry.turn.drift is None
            if not broken and index < now:
                turns[index] = entry
    measured = [(index, facts) for index in sorted(turns) if (facts := turns[index].turn.drift)]
    drift_marks = [
        (index, facts.drift_over) for index, facts in measured if facts.drift_over is not None
    ]
    episode = list(takewhile(lambda mark: mark[1], reversed(drift_marks)))
    return LoopState(
        production=live.version if live else None,
        previous=previous.version if previous else None,
        trained_through=place(live.trained_through) if live else None,
        promoted_at=promoted_at,
        expected_auc=live.val_auc if live else None,
        expected_auc_error=live.val_auc_error if live else None,
        expected=live.measured if live else None,
        trained_at=tuple(sorted(trained)),
        drift_marks=tuple(over for _, over in drift_marks),
        loss_marks=tuple(facts.loss_over for _, facts in measured if facts.loss_over is not None),
        drifting_since=episode[-1][0] if episode else None,
        waiting=waits[-1].id if waits else None,
        missed=_find_missed(entries, live, turns),
    )


def _find_missed(
    entries: tuple[Entry, ...], live: VersionFacts | None, turns: dict[int, Entry]
) -> tuple[tuple[str, float], ...]:
    """What turns with this production found since the last training, once a judged window."""
    trained = max(
        (
            entry.id
            for entry in entries
            if entry.decision.kind is Kind.RETRAINING and entry.decision.action is Action.RETRAIN
        ),
        default=0,
    )
    found: dict[str, float] = {}
    for index in sorted(turns):
        entry, gain = turns[index], turns[index].turn.gain
        if live is None or entry.id <= trained or entry.turn.production != live.version:
            continue
        if gain is not None and gain.gain_on is not None and gain.gain_counted is not None:
            found[gain.gain_on] = gain.gain_counted
    return tuple(found.items())
