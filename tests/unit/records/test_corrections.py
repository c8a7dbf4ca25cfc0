"""A label that was recorded wrongly is corrected on purpose, and both stay on record."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, select

from closedloop.errors import LabelConflict
from closedloop.records.labels import Label, UnknownPrediction
from closedloop.records.reading import RecordCounts
from closedloop.records.store import Records
from closedloop.records.tables import CORRECTIONS, LABELS
from closedloop.use_case.contract import UseCase
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered

ID = "a-000000"


def corrected(engine: Engine) -> list[tuple[Any, ...]]:
    """What labels were before: id, number, label, when it was recorded, replaced, and by whom."""
    columns = [column for column in CORRECTIONS.c if column.name != "request"]
    query = select(*columns).order_by(CORRECTIONS.c.prediction_id, CORRECTIONS.c.number)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def on_record(engine: Engine) -> list[tuple[str, str]]:
    """Every row of the labels: its id and its label."""
    query = select(LABELS.c.prediction_id, LABELS.c.label).order_by(LABELS.c.prediction_id)
    with engine.connect() as connection:
        return [(row.prediction_id, row.label) for row in connection.execute(query)]


def test_a_wrong_label_is_corrected_and_kept(
    records: Records, engine: Engine, use_case: UseCase
) -> None:
    """Windows read the newest, by id or by key, as often as somebody changes their mind; what was
    recorded before stays with its time, when it was replaced and by whom, and counts as no
    label."""
    records.append([answered("a", key="c1"), answered("ab", key="c2")])
    records.label_many([Label("True", id=ID), Label("True", id="ab-000000")])
    first, second = (NOON + timedelta(hours=hours) for hours in (1, 2))
    records.now = lambda: first
    assert records.label_many([Label("False", id=ID, replaces=True)]) == 1
    assert records.read(use_case)["label"].tolist() == ["False", "True"]
    records.now = lambda: second
    again = [Label("True", key="c1", replaces=True)]
    assert records.label_many(again, use_case="shop", by="anna") == 1
    assert records.read(use_case)["label"].tolist() == ["True", "True"]
    assert records.count("shop") == RecordCounts(predictions=2, labels=2)
    assert on_record(engine) == [(ID, "True"), ("ab-000000", "True")]
    assert corrected(engine) == [
        (ID, 1, "True", NOON, first, None),
        (ID, 2, "False", first, second, "anna"),
    ]


def test_rows_with_a_corrected_label_are_counted_by_window_and_time(records: Records) -> None:
    """Each row once, however often it was corrected; only those answered in the window, and only
    corrections after the moment."""
    day = timedelta(days=1)
    records.append([answered("a"), answered("b"), answered("c", at=NOON + day)])
    ids = [f"{name}-000000" for name in "abc"]
    records.label_many([Label("True", id=id) for id in ids])
    records.now = lambda: NOON + 2 * day
    for label in ("False", "True"):
        records.label_many([Label(label, id=ids[0], replaces=True)])
    records.label_many([Label("False", id=ids[2], replaces=True)])

    def count(since: datetime, until: datetime, after: datetime) -> int:
        return records.count_corrected("shop", since, until, after)

    assert count(NOON, NOON + day, NOON) == 1
    assert count(NOON, NOON + 2 * day, NOON) == 2
    assert count(NOON, NOON + 2 * day, NOON + 2 * day) == 0
    assert records.count_corrected("another", NOON, NOON + 2 * day, NOON) == 0


def test_a_correction_of_nothing_is_a_label(records: Records, engine: Engine) -> None:
    """Without a label on record it is the first one, and the same again is no news."""
    records.append([answered("a")])
    for new in (1, 0):
        assert records.label_many([Label("True", id=ID, replaces=True)]) == new
    assert on_record(engine) == [(ID, "True")]


def test_a_correction_is_refused_like_any_label(
    records: Records, engine: Engine, use_case: UseCase
) -> None:
    """An unknown prediction, two different labels in one request and a conflict beside it: nothing
    of the request is recorded, the correction neither."""
    records.append([answered("a"), answered("b")])
    records.label_many([Label("True", id=ID), Label("True", id="b-000000")])
    correction = Label("False", id=ID, replaces=True)
    with pytest.raises(UnknownPrediction):
        records.label_many([correction, Label("True", id="x-000000")])
    with pytest.raises(LabelConflict):
        records.label_many([correction, Label("True", id=ID, replaces=True)])
    with pytest.raises(LabelConflict, match="send it with replaces: true"):
        records.label_many([correction, Label("False", id="b-000000")])
    assert on_record(engine) == [(ID, "True"), ("b-000000", "True")]


def test_corrections_at_the_same_time_follow_one_another(records: Records, engine: Engine) -> None:
    """Two people correct the same label at once: one of them is last, and all three are on
    record."""
    records.append([answered("a")])
    records.label_many([Label("True", id=ID)])
    barrier = Barrier(2, timeout=30)

    def correct(label: str) -> int:
        barrier.wait()
        return records.label_many([Label(label, id=ID, replaces=True)])

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(correct, ["False", "Perhaps"])) == [1, 1]
    kept, (last,) = corrected(engine), on_record(engine)
    assert sorted([last[1], *(row[2] for row in kept)]) == ["False", "Perhaps", "True"]
    assert [row[:2] for row in kept] == [(ID, 1), (ID, 2)]


def test_deleted_records_take_their_corrected_labels_along(
    records: Records, engine: Engine
) -> None:
    """Nothing of a deleted request stays."""
    records.append([answered("a")])
    records.label_many([Label("True", id=ID)])
    records.label_many([Label("False", id=ID, replaces=True)])
    assert records.delete_before("shop", NOON + timedelta(days=1)) == 1
    assert on_record(engine) == []
    assert corrected(engine) == []
