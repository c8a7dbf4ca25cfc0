"""Old records are deleted whole, with keys and labels, while the service goes on recording.

On SQLite and on a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from threading import Event

import pytest
from sqlalchemy import Engine, func, select

from closedloop.records import retention
from closedloop.records.labels import Label, UnknownPrediction
from closedloop.records.reading import RecordCounts
from closedloop.records.request import AnsweredRequest
from closedloop.records.store import Records
from closedloop.records.tables import ANSWERS, KEYS, LABELS
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON


def answered(number: int, days: float, *, rows: int = 1, use_case: str = "shop") -> AnsweredRequest:
    """A request of `days` days ago; every other row has a key."""
    keys = [f"c{number}-{row}" if row % 2 == 0 else None for row in range(rows)]
    return describe_answers(
        use_case,
        3,
        {"spend": [1.0] * rows},
        {"False": [0.2] * rows, "True": [0.8] * rows},
        request=f"{use_case}{number}",
        keys=keys,
        at=NOON - timedelta(days=days),
    )


def count_rows(engine: Engine) -> tuple[int, ...]:
    """Rows in each of the three tables."""
    with engine.begin() as connection:
        return tuple(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (ANSWERS, KEYS, LABELS)
        )


def test_older_requests_are_deleted_with_keys_and_labels(records: Records, engine: Engine) -> None:
    """Requests before the moment are deleted from all three tables; a request at that very moment,
    newer ones and another use case stay whole."""
    records.append(
        [answered(1, 9, rows=3), answered(2, 5), answered(3, 1), answered(4, 9, use_case="other")]
    )
    records.label_many(
        [
            Label("True", id="shop1-000000"),
            Label("True", key="c1-2"),
            Label("True", id="shop3-000000"),
        ],
        "shop",
    )
    assert count_rows(engine) == (4, 5, 3)
    assert records.count_before("shop", NOON - timedelta(days=5)) == 3
    assert records.delete_before("shop", NOON - timedelta(days=5)) == 3
    assert count_rows(engine) == (3, 3, 1)
    assert (records.count("shop"), records.count("other")) == (
        RecordCounts(2, 1),
        RecordCounts(1, 0),
    )
    with pytest.raises(UnknownPrediction, match="key c1-2"):
        records.label_many([Label("True", key="c1-2")], "shop")
    assert records.delete_before("shop", NOON - timedelta(days=5)) == 0


def test_the_newest_labelled_request_is_found(records: Records) -> None:
    """The newest of several labelled requests, or None; newer requests without a label and other
    use cases do not count."""
    records.append(
        [answered(1, 9), answered(2, 5), answered(3, 1), answered(4, 2, use_case="other")]
    )
    assert records.newest_labelled("shop") is None
    records.label_many(
        [Label("True", id=id) for id in ("shop1-000000", "shop2-000000", "other4-000000")]
    )
    assert records.newest_labelled("shop") == NOON - timedelta(days=5)


def test_deletion_goes_in_parts_and_each_request_whole(
    records: Records, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most five rows per transaction, unless a single request has more; after each part every
    request is whole or gone."""
    monkeypatch.setattr(retention, "_MAX_ROWS", 5)
    records.append(
        [
            answered(number, 9 - number / 100, rows=rows)
            for number, rows in enumerate((2, 3, 1, 7, 2))
        ]
    )
    parts = []
    while True:
        with engine.begin() as connection:
            parts.append(retention.delete_some(connection, "shop", NOON))
        if not parts[-1]:
            break
        with engine.begin() as connection:
            kept = connection.execute(select(ANSWERS.c.request, ANSWERS.c.rows)).all()
            keys = connection.execute(
                select(KEYS.c.request, func.count()).group_by(KEYS.c.request)
            ).all()
        assert dict(keys) == {answer.request: (answer.rows + 1) // 2 for answer in kept}
    assert parts == [5, 1, 7, 2, 0]


@pytest.mark.slow
def test_the_service_records_while_old_rows_are_deleted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another connection appends from the first deleted part to the last: none of its requests
    fails, and all are recorded."""
    monkeypatch.setattr(retention, "_MAX_REQUESTS", 5)
    pruning, serving = Records(engine, now=lambda: NOON), Records(engine, now=lambda: NOON)
    pruning.append([answered(number, 9) for number in range(150)])
    over = Event()

    def serve() -> int:
        for number in count():
            serving.append([answered(1000 + number, 0)])
            if over.is_set():
                return number + 1
        raise AssertionError("count() ends")

    with ThreadPoolExecutor(1) as pool:
        recorded = pool.submit(serve)
        try:
            assert pruning.delete_before("shop", NOON - timedelta(days=1)) == 150
        finally:
            over.set()
    serving.close()
    assert pruning.count("shop").predictions == recorded.result() > 1
