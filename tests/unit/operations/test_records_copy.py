"""Answers and labels move to another database as they were, once, and a bounded number of rows at a
time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, event, inspect, select

from closedloop.errors import LabelConflict, StoreError
from closedloop.operations.moving import records_copy
from closedloop.operations.moving.records_copy import copy_records
from closedloop.records.labels import Label
from closedloop.records.reading import RecordCounts
from closedloop.records.request import AnsweredRequest
from closedloop.records.store import Records
from closedloop.records.tables import ANSWERS, CORRECTIONS, KEYS, LABELS
from closedloop.storage.engine import open_engine
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url  # noqa: F401

pytestmark = pytest.mark.slow

BEGAN = datetime(2026, 11, 1, 6, 0, 0, 250, tzinfo=UTC)


def answered(
    number: int, rows: int = 1, use_case: str = "shop", keyed: bool = True
) -> AnsweredRequest:
    """One request; three in a row have the same time, and their ids are in no order."""
    values = {
        "spend": [None if row == 1 else row / 3 for row in range(rows)],
        "plan": ["gold, 'ä' \\" if row % 2 else None for row in range(rows)],
    }
    return describe_answers(
        use_case,
        1 + number % 2,
        values,
        {"yes": [0.1 + 0.2] * rows},
        request=f"{(number * 7919) % 1000:04d}-{number}",
        keys=[None if row == 2 else f"k{row}" for row in range(rows)] if keyed else (),
        at=BEGAN + timedelta(seconds=number // 3),
    )


def live(engine: Engine, requests: int = 20) -> None:
    """Requests of one row and more, with and without keys, of two use cases; some of their rows
    have labels."""
    records = Records(engine, lambda: BEGAN + timedelta(days=3))
    for number in range(requests):
        records.append(
            [
                answered(number, 1 + number % 4, keyed=number % 5 > 0),
                answered(500 + number, 2, "bank"),
            ]
        )
        labelled = answered(number, 1 + number % 4).ids[: number % 3]
        records.label_many([Label(f"label {place}", id=id) for place, id in enumerate(labelled)])
    records.close()


def everything(engine: Engine, use_case: str = "shop") -> list[Any]:
    with engine.begin() as connection:
        tables: dict[sa.Table, Any] = {
            ANSWERS: ANSWERS.c.request,
            KEYS: (KEYS.c.request, KEYS.c.row),
            LABELS: LABELS.c.prediction_id,
        }
        found = []
        for table, order in tables.items():
            query = sa.select(table).order_by(*(order if isinstance(order, tuple) else (order,)))
            if table is LABELS:
                query = query.join(ANSWERS, LABELS.c.request == ANSWERS.c.request)
            found.append(
                [
                    tuple(row)
                    for row in connection.execute(
                        query.where((KEYS if table is KEYS else ANSWERS).c.use_case == use_case)
                    )
                ]
            )
        return found


def silent(_done: int, _size: int) -> None:
    """Nobody watches."""


def test_all_three_tables_come_along_as_they_were(source: Engine, target: Engine) -> None:
    """Every value of every column, the times too, and no row of another use case; keys are there
    once, though the database fills them in."""
    live(source)
    copied = copy_records(source, target, "shop", silent)
    assert copied == Records(source).count("shop") == Records(target).count("shop")
    assert copied.labels > 10
    assert everything(target) == everything(source)
    assert everything(target, "bank") == [[], [], []]


def test_what_is_there_is_left_alone(source: Engine, target: Engine) -> None:
    """A second time nothing is copied; what came since is, a late label of an old answer among it,
    beside answers that were given there."""
    live(source)
    copy_records(source, target, "shop", silent)
    Records(target).append([answered(900)])
    assert copy_records(source, target, "shop", silent) == RecordCounts(0, 0)
    records = Records(source)
    records.append([answered(100, 3)])
    records.label_many(
        [Label("late", id=answered(3).ids[0]), Label("new", id=answered(100, 3).ids[2])]
    )
    assert copy_records(source, target, "shop", silent, write=False) == RecordCounts(3, 2)
    assert copy_records(source, target, "shop", silent) == RecordCounts(3, 2)
    assert (
        Records(target).count("shop").predictions == Records(source).count("shop").predictions + 1
    )


@pytest.mark.parametrize("labelled", [1, 2, 4])
def test_a_copy_that_was_cut_off_is_finished(
    source: Engine, target: Engine, labelled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off between answers and their labels, the same copy made again brings what is missing of
    both."""
    monkeypatch.setattr(records_copy, "_PAGE", 4)
    live(source)
    asked: list[str] = []

    def fail(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)
        if sum("INTO answer_labels" in statement for statement in asked) == labelled:
            raise KeyboardInterrupt

    event.listen(target, "before_cursor_execute", fail)
    with pytest.raises(KeyboardInterrupt):
        copy_records(source, target, "shop", silent)
    event.remove(target, "before_cursor_execute", fail)
    assert (
        Records(target).count("shop").predictions
        > Records(target).count("shop").labels
        >= labelled - 1
    )
    copy_records(source, target, "shop", silent)
    assert everything(target) == everything(source)


def test_no_more_rows_are_read_at_once_than_fit(
    source: Engine, target: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, what is fetched with its values in one go has a bounded number of
    rows; progress ends at all of them."""
    monkeypatch.setattr(records_copy, "MOST_ROWS", 7)
    live(source, 60)
    fetched: list[int] = []
    read = records_copy._read_requests

    def reading(engine: Engine, group: records_copy.Group) -> list[AnsweredRequest]:
        found = read(engine, group)
        fetched.append(sum(request.rows for request in found))
        return found

    monkeypatch.setattr(records_copy, "_read_requests", reading)
    told: list[tuple[int, int]] = []
    copied = copy_records(source, target, "shop", lambda done, size: told.append((done, size)))
    assert sum(fetched) == copied.predictions == 150
    assert max(fetched) <= 7
    assert told[-1] == (150, 150)
    assert everything(target) == everything(source)


def test_pages_are_ranges_of_the_index(source: Engine) -> None:
    """A page in the middle of a million answers is looked up, not counted out: SQLite takes the
    index by time and sorts nothing but ids."""
    live(source, 3)
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        asked.append((statement, values))

    event.listen(source, "before_cursor_execute", note)
    list(records_copy._groups(source, "shop"))
    statement, values = asked[-1]
    with source.begin() as connection:
        plan = " ".join(
            row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        )
    assert "answers_by_time (use_case=? AND at>?)" in plan
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


def test_counting_makes_no_tables(source: Engine, target: Engine) -> None:
    """Without writing, all of it is missing in an empty database, and the database stays empty."""
    live(source)
    assert copy_records(source, target, "shop", silent, write=False) == Records(source).count(
        "shop"
    )
    assert inspect(target).get_table_names() == []


def test_a_label_that_contradicts_is_named(source: Engine, target: Engine) -> None:
    """What was said there of a prediction that came along is neither overwritten nor passed
    over."""
    live(source)
    copy_records(source, target, "shop", silent)
    id = answered(3).ids[0]
    Records(source).label_many([Label("yes", id=id)])
    Records(target).label_many([Label("no", id=id)])
    with pytest.raises(LabelConflict, match=f"{id}: wanted 'yes' as here, got 'no' in the target"):
        copy_records(source, target, "shop", silent)


def test_a_label_that_was_corrected_meanwhile_is_corrected_there(
    source: Engine, target: Engine
) -> None:
    """Copying again brings the correction along, with what it replaced."""
    live(source)
    id = answered(3).ids[0]
    Records(source).label_many([Label("yes", id=id)])
    copy_records(source, target, "shop", silent)
    Records(source).label_many([Label("no", id=id, replaces=True)], by="anna")
    assert copy_records(source, target, "shop", silent) == RecordCounts(0, 0)
    with target.connect() as connection:
        (label,) = connection.execute(select(LABELS).where(LABELS.c.prediction_id == id))
        (before,) = connection.execute(select(CORRECTIONS))
    assert (label.label, before.prediction_id, before.label) == ("no", id, "yes")
    assert before.replaced_by == "anna"


def test_a_database_that_goes_away_is_a_store_error(source: Engine) -> None:
    """Without a traceback, as everywhere."""
    live(source)
    with pytest.raises(StoreError, match="wanted a database that answers"):
        copy_records(source, open_engine("postgresql://loop:hidden@127.0.0.1:9/x"), "shop", silent)
