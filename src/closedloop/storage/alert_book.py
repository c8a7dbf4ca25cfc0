"""The book of alerts: each is written once under its key, with a delivery for each channel.

A delivery is taken before it is sent and noted after. Whoever takes it keeps others off for a
while, so of two senders one sends. After a crash between sending and noting it is sent again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from closedloop.json_text import read_json
from closedloop.storage.alert_tables import ALERTS, DELIVERIES
from closedloop.storage.engine import read_only
from closedloop.storage.revisions import store_errors
from closedloop.storage.upgrade import prepare_tables

_WAITS = (DELIVERIES.c.sent_at.is_(None), DELIVERIES.c.given_up_at.is_(None))


@dataclass(frozen=True)
class Alert:
    """What happened, why, and what to do, as text that is safe to show.

    `link` leads to the page; it is empty where none is known. `decision` is an id of the journal.
    """

    key: str
    use_case: str
    event: str
    title: str
    what: str
    why: str
    then: str
    at: datetime
    link: str = ""
    decision: int | None = None


@dataclass(frozen=True)
class Delivery:
    """One alert on its way to one channel."""

    alert: Alert
    number: int
    channel: str
    attempts: int
    next_at: datetime
    sent_at: datetime | None = None
    given_up_at: datetime | None = None
    last_error: str = ""

    @property
    def state(self) -> str:
        """`sent`, `given up` or `waits`."""
        return "sent" if self.sent_at else "given up" if self.given_up_at else "waits"

    def as_json(self) -> dict[str, Any]:
        """What `closedloop alert --json` prints."""
        times = {"at": self.alert.at, "sent_at": self.sent_at, "given_up_at": self.given_up_at}
        return {
            **asdict(self.alert),
            "channel": self.channel,
            "state": self.state,
            "attempts": self.attempts,
            "last_error": self.last_error or None,
            "next_at": None if self.state != "waits" else self.next_at.isoformat(),
            **{name: at and at.isoformat() for name, at in times.items()},
        }


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class AlertBook:
    """Writes and reads alerts; safe to open from several processes at once.

    Every error of the database is a StoreError.
    """

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self.now = engine, now

    def write(self, alert: Alert, channels: Sequence[str]) -> bool:
        """Write an alert down, to be sent to these channels; False when its key is there already.

        What was written first stays as it is.
        """
        facts = asdict(alert)
        row = {name: facts.pop(name) for name in ("key", "use_case", "event", "at")}
        row["content"] = json.dumps(facts, sort_keys=True)
        try:
            with begin(self._engine) as connection:
                made = connection.execute(insert(ALERTS).values(row)).inserted_primary_key
                assert made is not None
                for channel in channels:
                    delivery = {"alert": made[0], "channel": channel, "attempts": 0}
                    times = {"next_at": alert.at, "last_error": ""}
                    connection.execute(insert(DELIVERIES).values(**delivery, **times))
        except IntegrityError:
            return False
        return True

    def holds(self, key: str) -> bool:
        """Whether an alert was written under this key."""
        with begin(self._engine, reading=True) as connection:
            found = connection.execute(select(ALERTS.c.id).where(ALERTS.c.key == key)).first()
        return found is not None

    def due(self, use_case: str) -> tuple[Delivery, ...]:
        """What may be sent now, oldest first."""
        return self._read(use_case, *_WAITS, DELIVERIES.c.next_at <= self.now())

    def waiting(self, use_case: str) -> tuple[Delivery, ...]:
        """What is still to be sent, now or later, oldest first."""
        return self._read(use_case, *_WAITS)

    def listed(self, use_case: str) -> tuple[Delivery, ...]:
        """Every delivery, oldest first."""
        return self._read(use_case)

    def take(self, delivery: Delivery, keep_off: timedelta) -> bool:
        """Take a delivery to send it; False when somebody else has.

        Others keep off it for this long.
        """
        now = self.now()
        taken = {"next_at": now + keep_off, "attempts": delivery.attempts + 1}
        # As it was read: of two that read the same, one changes it.
        same = DELIVERIES.c.attempts == delivery.attempts
        return self._change(delivery, taken, same, DELIVERIES.c.next_at <= now, *_WAITS)

    def note_sent(self, delivery: Delivery) -> None:
        """Note that it was sent."""
        self._change(delivery, {"sent_at": self.now(), "last_error": ""})

    def note_failed(self, delivery: Delivery, error: str, next_at: datetime) -> None:
        """Note why it was not sent, and when to try again."""
        self._change(delivery, {"next_at": next_at, "last_error": error}, *_WAITS)

    def give_up(self, delivery: Delivery, error: str) -> None:
        """Note that it will not be sent."""
        self._change(delivery, {"given_up_at": self.now(), "last_error": error}, *_WAITS)

    def _change(self, delivery: Delivery, values: dict[str, Any], *only: Any) -> bool:
        row = (DELIVERIES.c.alert == delivery.number, DELIVERIES.c.channel == delivery.channel)
        with begin(self._engine) as connection:
            changed = connection.execute(update(DELIVERIES).where(*row, *only).values(**values))
        return bool(changed.rowcount)

    def _read(self, use_case: str, *only: Any) -> tuple[Delivery, ...]:
        query = (
            select(ALERTS, DELIVERIES)
            .join(DELIVERIES, DELIVERIES.c.alert == ALERTS.c.id)
            .where(ALERTS.c.use_case == use_case, *only)
            .order_by(ALERTS.c.id, DELIVERIES.c.channel)
        )
        with begin(self._engine, reading=True) as connection:
            return tuple(_delivery(row) for row in connection.execute(query).mappings())


@contextmanager
def begin(engine: Engine, *, reading: bool = False) -> Iterator[Connection]:
    """A transaction on tables that are up to date.

    Raises StoreError, or IntegrityError when a key is there already.
    """
    try:
        prepare_tables(engine)
        with (read_only(engine) if reading else engine).begin() as connection:
            yield connection
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        with store_errors(engine):
            raise error


def _delivery(row: Any) -> Delivery:
    content = read_json(row["content"])
    alert = Alert(
        key=row["key"],
        use_case=row["use_case"],
        event=row["event"],
        at=as_utc(row["at"]),
        **{name: content.get(name, "") for name in ("title", "what", "why", "then", "link")},
        decision=content.get("decision"),
    )
    sent_at, given_up_at = row["sent_at"], row["given_up_at"]
    return Delivery(
        alert,
        row["id"],
        row["channel"],
        row["attempts"],
        as_utc(row["next_at"]),
        sent_at and as_utc(sent_at),
        given_up_at and as_utc(given_up_at),
        row["last_error"],
    )


def as_utc(moment: datetime) -> datetime:
    """A time of the database: SQLite keeps no zone, PostgreSQL answers in that of the session."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
