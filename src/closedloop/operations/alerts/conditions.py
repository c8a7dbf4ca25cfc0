"""What no decision tells: that something is away, that labels or turns do not come, or that an
alias was moved. Each look is short and changes nothing that the loop decides by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.error import HTTPError
from zoneinfo import ZoneInfo

from cronsim import CronSim

from closedloop.decisions.checks import Action, Kind
from closedloop.errors import ClosedLoopError, StoreError
from closedloop.records.as_windows import length_of_windows
from closedloop.registry.bounded_http import open_bounded
from closedloop.registry.live import PREVIOUS, PRODUCTION, ProductionReader
from closedloop.storage.entry import Entry
from closedloop.turn.moved_aliases import KINDS, Live, ask_moved, last_settled, read_live
from closedloop.turn.open import Loop
from closedloop.use_case.several import prefix_of
from closedloop.windows.periods import end_of, name_of, start_of
from closedloop.windows.time_column import zone_of

_API_SECONDS = 5.0
_GRACE = timedelta(hours=1)  # a turn may take that long


@dataclass(frozen=True)
class Condition:
    """Something that is so now. `state` tells one occurrence from the next."""

    event: str
    state: str
    title: str
    what: str
    why: str
    then: str


def read_aliases(loop: Loop) -> Live:
    """What `production` and `previous` point at, asked without MLflow's library.

    Raises RegistryError in seconds when MLflow does not answer.
    """
    settings = loop.settings
    reader = ProductionReader(
        loop.use_case.name,
        settings.tracking_uri,
        artifacts=settings.artifacts_folder,
        downloads=settings.home_folder / "bundles",
    )
    return Live(reader.find(PRODUCTION), reader.find(PREVIOUS))


def mlflow_away(error: ClosedLoopError) -> Condition:
    """That MLflow does not answer."""
    return Condition(
        "mlflow_away",
        "",
        "MLflow does not answer",
        "MLflow does not answer. What is live goes on answering; turns and promotions wait.",
        str(error),
        "Start MLflow again, and look at its log. Nothing needs repair afterwards.",
    )


def records_not_written(error: str) -> Condition:
    """That answers cannot be recorded."""
    return Condition(
        "records_not_written",
        "",
        "answers cannot be recorded",
        "The records take no rows, so /predict answers 503, unless answers without a record are "
        "allowed.",
        error,
        "Bring the database back, or free its disk. The service recovers by itself.",
    )


def find_records_fault(loop: Loop) -> str | None:
    """Why answers cannot be recorded; None when they can, as far as can be asked from here."""
    try:
        loop.records.probe()
    except StoreError as error:
        return str(error)
    finally:
        loop.records.close()
    if not loop.settings.api_url:
        return None
    address = loop.settings.api_url.rstrip("/")
    # An API of several use cases has each behind a prefix; one that serves a single one has none.
    records = _ask_api(f"{address}{prefix_of(loop.use_case.name)}") or _ask_api(address)
    return None if records in (None, "writable") else f"API: {records}"


def _ask_api(address: str) -> str | None:
    """What `/ready` says of the records; None where nothing like it answers."""
    try:
        with open_bounded(f"{address}/ready", {}, _API_SECONDS) as answer:
            said = json.loads(answer.read(100_000))
    except HTTPError as error:
        try:
            said = json.loads(error.read(100_000))
        except (OSError, ValueError):
            return None
    except (OSError, ValueError):
        return None  # whether it answers at all is watched by Prometheus
    records = said.get("records") if isinstance(said, dict) else None
    return records if isinstance(records, str) else None


def find_moved(loop: Loop) -> Condition | None:
    """That an alias stands elsewhere than the journal put it; raises RegistryError."""
    told = ask_moved(loop.journal, loop.use_case.name, lambda: read_aliases(loop))
    if not told:
        return None
    live, entries = read_aliases(loop), loop.journal.history(loop.use_case.name, kinds=KINDS)
    known = {state.production for state in read_live(entries)}
    found = f"previous-{live.previous}" if live.production in known else str(live.production)
    return Condition(
        "moved_outside",
        f"{count_from(entries)}/{found}",
        "an alias was moved outside of closedloop",
        "Somebody moved an alias in MLflow.",
        "; ".join(told),
        "Find out who it was; closedloop status says how to go on.",
    )


def count_from(moves: Sequence[Entry], before: int | None = None) -> int:
    """The id of the newest decision that says what is live, 0 for none: what came since is news."""
    settled = last_settled([move for move in moves if before is None or move.id < before])
    return settled.id if settled else 0


def find_labels_overdue(loop: Loop, entries: tuple[Entry, ...], now: datetime) -> Condition | None:
    """That labels which are due have not come, in the windows or in the records."""
    return _overdue_in_records(loop, now) or _overdue_in_windows(loop, entries)


def _overdue_in_records(loop: Loop, now: datetime) -> Condition | None:
    """Only where labels come to the records: some did, or turns look at the records."""
    use_case, records = loop.use_case, loop.records
    every, zone = length_of_windows(use_case), zone_of(use_case.source)
    labelled = records.newest_labelled(use_case.name)
    if labelled is None and use_case.schedule.source != "records":
        return None
    due = now
    # The period that runs, those of the delay, and one more for labels on their way.
    for _ in range(use_case.labels.delay_windows + 2):
        due = start_of(due - timedelta(seconds=1), every, zone)
    answered = [
        start
        for start in records.read_periods(use_case.name, every, due, zone)
        if end_of(start, every, zone) <= due and (labelled is None or start > labelled)
    ]
    if not answered:
        return None
    window = f"records_{name_of(answered[-1], every, zone)}"
    since = "none came yet" if labelled is None else f"the newest is of {labelled:%Y-%m-%d %H:%M}"
    return _overdue(window, f"records/{labelled and labelled.isoformat()}", since)


def _overdue_in_windows(loop: Loop, entries: tuple[Entry, ...]) -> Condition | None:
    """From what turns found: the newest window that was judged is too many windows ago."""
    turns = [
        entry for entry in entries if entry.decision.kind is Kind.RETRAINING and entry.turn.window
    ]
    if not turns:
        return None
    newest, judged = turns[-1], [turn.turn.realised for turn in turns if turn.turn.realised]
    windows = list(dict.fromkeys(turn.decision.window for turn in turns))
    facts = newest.turn.window
    delay = loop.use_case.labels.delay_windows
    if delay == 0 and facts is not None and facts.rows and facts.labelled_rows == 0:
        window = newest.decision.window
        return _overdue(window, f"window/{window}", "no row of it has one")
    name = judged[-1].realised_on if judged else None
    if name not in windows or len(windows) - 1 - windows.index(name) <= delay + 1:
        return None
    return _overdue(windows[-1 - delay], f"after/{name}", f"the newest judged window is {name}")


def _overdue(window: str, state: str, why: str) -> Condition:
    return Condition(
        "labels_overdue",
        state,
        f"labels of {window} are overdue",
        f"The labels of {window} should be there by now. Without labels nobody knows how good "
        "production is, and nothing new can be trained.",
        why,
        "Ask whoever sends the labels, or correct delay_windows under [labels].",
    )


def find_no_turn(loop: Loop, last: datetime, now: datetime) -> Condition | None:
    """That no turn ended since `last`, for as long as [alerts] says."""
    hours, schedule = loop.use_case.alerts.no_turn_hours, loop.use_case.schedule
    if hours is not None:
        limit, wanted = last + timedelta(hours=hours), f"one in {hours:g} hours"
    else:
        times = CronSim(schedule.cron, last.astimezone(ZoneInfo(schedule.timezone)))
        next(times)
        limit, wanted = next(times) + _GRACE, f"one at {schedule.cron} ({schedule.timezone})"
    if now <= limit:
        return None
    return Condition(
        "no_turn",
        last.strftime("%Y%m%dT%H%M%SZ"),
        f"no turn since {last:%Y-%m-%d %H:%M} UTC",
        f"The loop has not looked at a window since {last:%Y-%m-%d %H:%M} UTC.",
        f"wanted {wanted}",
        "Look whether Prefect and its workers run, and whether runs fail: closedloop doctor.",
    )


def newest_turn(entries: tuple[Entry, ...]) -> datetime | None:
    """When the newest decision that ends a turn was written."""
    ends = (
        entry.at
        for entry in reversed(entries)
        if entry.decision.kind is Kind.RETRAINING or entry.decision.action is Action.ROLLBACK
    )
    return next(ends, None)
