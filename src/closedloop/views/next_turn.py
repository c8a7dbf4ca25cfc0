"""What the loop will do next, and when: the schedule, and the rules on what is known today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from closedloop.decisions.checks import Kind, Outcome
from closedloop.decisions.evidence import LoopState, RetrainingEvidence, Window
from closedloop.decisions.policy import Policy
from closedloop.decisions.retraining_guards import cost_checks
from closedloop.errors import ClosedLoopError
from closedloop.registry.versions import VersionFacts
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.history import History
from closedloop.turn.open import Loop, choose_source
from closedloop.use_case.schedule import Schedule


@dataclass(frozen=True)
class NextTurn:
    """When the schedule begins a turn, on what, and what can come of it.

    `waiting` are windows that had no turn yet, oldest first. `says` are sentences; `problem` says
    why the windows could not be listed. `probation_left` counts the windows in which production can
    still be called back.
    """

    at: datetime | None
    schedule: Schedule
    waiting: tuple[str, ...] = ()
    newest: str | None = None
    says: tuple[str, ...] = ()
    problem: str = ""
    probation_left: int | None = None


def find_next_turn(
    loop: Loop, entries: Sequence[Entry], versions: Sequence[VersionFacts], now: datetime
) -> NextTurn:
    """What comes next; nothing is read but the names of the windows."""
    schedule = loop.use_case.schedule
    coming = NextTurn(find_next_time(schedule, now), schedule)
    try:
        history = _open(loop, schedule)
    except ClosedLoopError as error:
        return replace(coming, problem=str(error))
    history.entries, history.versions = tuple(entries), tuple(versions)
    turned = {
        entry.decision.window
        for entry in entries
        if entry.origin is not Origin.PERSON
        and entry.decision.kind in (Kind.RETRAINING, Kind.ROLLBACK)
    }
    places = [place for place, name in enumerate(history.names) if name in turned]
    following = places[-1] + 1 if places else 0
    waiting = history.names[following:]
    # A scheduled turn looks at the newest window.
    index = max(following, history.index)
    state = history.state(index)
    left = _probation_left(state, index, loop.use_case.policy)
    return replace(
        coming,
        waiting=waiting,
        newest=history.names[-1] if history.names else None,
        says=tell_next(state, index, loop.use_case.policy),
        probation_left=left,
    )


def _open(loop: Loop, schedule: Schedule) -> History[Loop]:
    if schedule.source == "records":
        source = choose_source(loop.use_case, loop.settings, loop.records)
        loop = replace(loop, source=source)
    return History(loop)


def find_next_time(schedule: Schedule, now: datetime) -> datetime | None:
    """The next time that the cron line names, in UTC; None when it never comes."""
    try:
        zone = ZoneInfo(schedule.timezone)
        return next(CronSim(schedule.cron, now.astimezone(zone))).astimezone(UTC)
    except (CronSimError, StopIteration):
        return None


def tell_next(state: LoopState, index: int, policy: Policy) -> tuple[str, ...]:
    """What the next turn, on the window with this index, can lead to."""
    rules = policy.retraining
    if state.production is None:
        first = "There is no model in production: it trains the first one"
        return (f"{first} as soon as {rules.min_new_labels:,} rows have a label.",)
    reasons = [
        f"newer labels would have gained {rules.cost:g} or more" * rules.gain_trigger,
        f"more than {rules.max_drift_share:.0%} of the columns drifted" * rules.drift_trigger,
        f"AUC fell clearly, by more than {rules.max_auc_loss:g}" * rules.auc_loss_trigger,
        _tell_age(state, index, policy) * rules.age_trigger,
    ]
    found = [f"It trains a new model if {' or if '.join(filter(None, reasons))}."]
    asked = RetrainingEvidence(Window("", index, 0, 0, (), ""), state)
    closed = [check for check in cost_checks(asked, policy) if check.outcome is Outcome.FAILS]
    if closed:
        found.append(f"Not in the next turn, though: {'; '.join(map(str, closed))}.")
    left = _probation_left(state, index, policy)
    if left:
        found.append(
            f"Version {state.production} is on probation for {_windows(left)} more: it goes back "
            f"to version {state.previous} if it is clearly worse."
        )
    return tuple(found)


def _tell_age(state: LoopState, index: int, policy: Policy) -> str:
    limit = policy.retraining.max_age_windows
    if state.trained_through is None:
        return f"production is {_windows(limit)} old"
    return f"production is {_windows(limit)} old (then {index - state.trained_through})"


def _probation_left(state: LoopState, index: int, policy: Policy) -> int | None:
    """Windows from the next on in which production can be called back; None if it cannot."""
    rules = policy.rollback
    if state.promoted_at is None or state.previous is None or not rules.enabled:
        return None
    left = rules.probation_windows - max(index - state.promoted_at, 1) + 1
    return left if left > 0 else None


def _windows(number: int) -> str:
    return f"{number} window{'' if number == 1 else 's'}"
