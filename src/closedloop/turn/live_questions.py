"""What was live when, as programs ask it: text in, facts for JSON out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from closedloop.records.store import Records
from closedloop.storage.journal import Journal
from closedloop.turn.live_at import live_at, read_moment
from closedloop.turn.prediction_origin import ReadTags, find_origin


def _utc_now() -> datetime:
    return datetime.now(UTC)


class LiveQuestions:
    """Answers from the journal, records and registry of a use case, which it only reads."""

    def __init__(
        self,
        journal: Journal,
        records: Records,
        use_case: str,
        read_tags: ReadTags,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._journal, self._records, self._use_case = journal, records, use_case
        self._read_tags, self._now = read_tags, now

    def at(self, text: str | None) -> dict[str, Any]:
        """What was live at a moment, now without one; raises UseCaseError for another text."""
        now = self._now()
        moment = now if text is None else read_moment(text, now)
        return live_at(self._journal, self._use_case, moment).as_json()

    def prediction(self, id: str) -> dict[str, Any]:
        """Where a prediction came from; raises UnknownPrediction when it is not on record."""
        found = find_origin(self._journal, self._records, self._use_case, id, self._read_tags)
        return found.as_json()
