"""One look: write down what people are to be told, then send what is due.

The first look with channels only notes where the journal is: nobody is told of the past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from closedloop.errors import ClosedLoopError, RegistryError, StoreError
from closedloop.operations.alerts.channels import choose_channels
from closedloop.operations.alerts.conditions import (
    Condition,
    find_labels_overdue,
    find_moved,
    find_no_turn,
    find_records_fault,
    mlflow_away,
    newest_turn,
    records_not_written,
)
from closedloop.operations.alerts.decided import alerts_of, settled_up_to
from closedloop.operations.alerts.page_link import find_page
from closedloop.operations.alerts.safe_text import MOST_KEY, MOST_TITLE, one_line
from closedloop.operations.alerts.sending import Sent, send_due
from closedloop.storage.alert_book import Alert, AlertBook, utc_now
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.loop_notes import LoopNotes
from closedloop.turn.moved_aliases import KINDS
from closedloop.turn.open import Loop

LOOK_SECONDS = 120.0
BEGAN, SEEN, LAST_TURN = "alerts began", "alerts seen", "last turn"
_AWAY = "away: "


@dataclass(frozen=True)
class Looked:
    """How many alerts are new, and what became of deliveries.

    `problem` is what kept the look from its end; empty if nothing did.
    """

    new: int = 0
    sent: Sent = field(default_factory=Sent)
    problem: str = ""


@dataclass(frozen=True)
class _Desk:
    """What a look works with: a loop, its book of alerts and its notes in one database."""

    loop: Loop
    book: AlertBook
    notes: LoopNotes
    now: datetime

    @property
    def channels(self) -> tuple[str, ...]:
        return self.loop.use_case.alerts.channels

    def write(self, alerts: Sequence[Alert]) -> int:
        """Write down those that are new and wanted; returns how many."""
        wanted = self.loop.use_case.alerts.events
        asked = [alert for alert in alerts if alert.event in wanted]
        return sum(self.book.write(alert, self.channels) for alert in asked)

    def alert(self, condition: Condition, state: str, *, over: bool = False) -> Alert:
        name = self.loop.use_case.name
        title = f"over: {condition.title}" if over else condition.title
        return Alert(
            key=one_line(f"{name}/{condition.event}/{state}", MOST_KEY),
            use_case=name,
            event=condition.event,
            title=one_line(f"{name}: {title}", MOST_TITLE),
            what=one_line("It is over." if over else condition.what),
            why="" if over else one_line(condition.why),
            then="" if over else condition.then,
            at=self.now,
            link=find_page(self.loop),
        )


def look_and_send(
    loop: Loop, *, clock: Callable[[], datetime] = utc_now, seconds: float = LOOK_SECONDS
) -> Looked:
    """Look for what people are to be told, write it down, and send what is due.

    Without channels nothing is written, and a later look with channels begins anew. When the
    database does not answer, that is told from a book of its own under CLOSEDLOOP_HOME.
    """
    desk, spare = _open_desk(loop, clock), _spare_file(loop)
    try:
        if not desk.channels:
            _forget(desk)
            return Looked()
        new, problem = _look_well(desk)
        sent = _send(desk, seconds)
    except StoreError as error:
        aside = _open_desk(loop, clock, aside=True)
        new = _tell_away(aside, records_not_written(str(error)))
        return Looked(new, _send(aside, seconds), str(error))
    if spare.exists():  # the database is back
        aside = _open_desk(loop, clock, aside=True)
        new += _tell_back(aside, records_not_written(""))
        sent += _send(aside, seconds)
    return Looked(new, sent, problem)


def _look_well(desk: _Desk) -> tuple[int, str]:
    """How many alerts are new, and what was wrong; raises StoreError when the database is away."""
    try:
        return _look(desk), ""
    except StoreError as error:  # also of a row that somebody damaged: what waits is sent then
        if find_records_fault(desk.loop) is not None:
            raise
        return 0, str(error)
    except Exception as error:  # one broken look must not keep what waits from being sent
        return 0, f"{type(error).__name__}: {error}"


def _forget(desk: _Desk) -> None:
    """Where no channel is chosen nothing is looked at; whoever chooses one begins anew."""
    if desk.notes.read(BEGAN) is not None:
        desk.notes.remove(SEEN)
        desk.notes.remove(BEGAN)


def note_turn(loop: Loop, clock: Callable[[], datetime] = utc_now) -> None:
    """Note that a turn ended now: a turn on rows that were judged before writes no decision."""
    LoopNotes(loop.engine, loop.use_case.name, clock).write(LAST_TURN)


def spare_book(loop: Loop) -> AlertBook | None:
    """The book of what was told while the database was away; None if there is none."""
    spare = _spare_file(loop)
    return AlertBook(open_engine(f"sqlite:///{spare}")) if spare.exists() else None


def _spare_file(loop: Loop) -> Path:
    return loop.settings.home_folder / "alerts-without-database.db"


def _open_desk(loop: Loop, clock: Callable[[], datetime], *, aside: bool = False) -> _Desk:
    engine = open_engine(f"sqlite:///{_spare_file(loop)}") if aside else loop.engine
    notes = LoopNotes(engine, loop.use_case.name, clock)
    return _Desk(loop, AlertBook(engine, clock), notes, clock())


def _look(desk: _Desk) -> int:
    """Write down what is new; returns how many alerts."""
    loop, name = desk.loop, desk.loop.use_case.name
    began, seen = desk.notes.read(BEGAN), desk.notes.read(SEEN)
    if began is None or seen is None:
        entries = loop.journal.history(name)
        desk.notes.write_first(SEEN, str(entries[-1].id if entries else 0))
        desk.notes.write_first(BEGAN)
        return 0
    entries = loop.journal.history(name, after=int(seen.text))
    moves = loop.journal.history(name, kinds=KINDS)
    new = desk.write(alerts_of(entries, moves, find_page(loop), desk.now))
    new += sum(_tell(desk, began.at))
    if (settled := settled_up_to(entries, desk.now)) > int(seen.text):
        desk.notes.write(SEEN, str(settled))
    return new


def _tell(desk: _Desk, began: datetime) -> Iterator[int]:
    """How many alerts each condition gave."""
    loop, now = desk.loop, desk.now
    fault = find_records_fault(loop)
    condition = records_not_written(fault or "")
    yield _tell_away(desk, condition) if fault else _tell_back(desk, condition)
    entries = loop.journal.history(loop.use_case.name)
    for found in (
        find_labels_overdue(loop, entries, now),
        find_no_turn(loop, _last_turn(desk, entries, began), now),
    ):
        yield 0 if found is None else desk.write([desk.alert(found, found.state)])
    try:
        moved = find_moved(loop)
    except RegistryError as error:
        yield _tell_away(desk, mlflow_away(error))
        return
    except ClosedLoopError:
        return  # the journal's faults are told by the turn that stops for them
    yield _tell_back(desk, mlflow_away(_NOTHING))
    yield 0 if moved is None else desk.write([desk.alert(moved, moved.state)])


_NOTHING = RegistryError(where="MLflow", wanted="", got="", then="")


def _last_turn(desk: _Desk, entries: tuple[Entry, ...], began: datetime) -> datetime:
    noted, decided = desk.notes.read(LAST_TURN), newest_turn(entries)
    return max(began, noted.at if noted else began, decided or began)


def _tell_away(desk: _Desk, condition: Condition) -> int:
    """Once something is away for long enough, an alert; one look alone tells nobody."""
    since = desk.notes.write_first(_AWAY + condition.event)
    patience = timedelta(minutes=desk.loop.use_case.alerts.away_minutes)
    if desk.now - since.at < patience:
        return 0
    return desk.write([desk.alert(condition, since.at.strftime("%Y%m%dT%H%M%SZ"))])


def _tell_back(desk: _Desk, condition: Condition) -> int:
    """That what was away is back, if anybody was told."""
    since = desk.notes.read(_AWAY + condition.event)
    if since is None:
        return 0
    state, new = since.at.strftime("%Y%m%dT%H%M%SZ"), 0
    if desk.book.holds(desk.alert(condition, state).key):
        new = desk.write([desk.alert(condition, f"{state}/over", over=True)])
    desk.notes.remove(_AWAY + condition.event)
    return new


def _send(desk: _Desk, seconds: float) -> Sent:
    alerts = desk.loop.use_case.alerts
    return send_due(
        desk.book,
        desk.loop.use_case.name,
        choose_channels(desk.loop.settings, alerts.channels),
        give_up=timedelta(hours=alerts.give_up_hours),
        seconds=seconds,
    )
