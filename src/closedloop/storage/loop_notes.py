"""Notes about a use case by name, such as when its last turn ended: one each, the newest stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from closedloop.storage.alert_book import as_utc, begin, utc_now
from closedloop.storage.alert_tables import NOTES


@dataclass(frozen=True)
class Note:
    """A text, and when it was written."""

    text: str
    at: datetime


class LoopNotes:
    """The notes of one use case. Every error of the database is a StoreError."""

    def __init__(
        self, engine: Engine, use_case: str, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._engine, self._use_case, self._now = engine, use_case, now

    def read(self, name: str) -> Note | None:
        """The note of this name, if there is one."""
        query = select(NOTES.c.text, NOTES.c.at).where(*self._place(name))
        with begin(self._engine, reading=True) as connection:
            found = connection.execute(query).first()
        return None if found is None else Note(found.text, as_utc(found.at))

    def write(self, name: str, text: str = "") -> None:
        """Write a note, in the place of the one of this name."""
        values = {"text": text, "at": self._now().astimezone(UTC)}
        change = update(NOTES).where(*self._place(name)).values(**values)
        with begin(self._engine) as connection:
            if connection.execute(change).rowcount:
                return
        if not self._add(name, values):  # somebody else was first: change theirs
            self.write(name, text)

    def write_first(self, name: str, text: str = "") -> Note:
        """Write a note unless there is one of this name; returns the one that is there then."""
        if (found := self.read(name)) is None:
            self._add(name, {"text": text, "at": self._now().astimezone(UTC)})
            found = self.read(name)
        return found or Note(text, self._now())

    def remove(self, name: str) -> None:
        """Forget the note of this name."""
        with begin(self._engine) as connection:
            connection.execute(delete(NOTES).where(*self._place(name)))

    def _add(self, name: str, values: dict[str, object]) -> bool:
        row = {"use_case": self._use_case, "name": name, **values}
        try:
            with begin(self._engine) as connection:
                connection.execute(insert(NOTES).values(**row))
        except IntegrityError:  # somebody else was first
            return False
        return True

    def _place(self, name: str) -> tuple[ColumnElement[bool], ...]:
        return NOTES.c.use_case == self._use_case, NOTES.c.name == name
