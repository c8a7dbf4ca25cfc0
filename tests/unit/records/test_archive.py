"""A window is the same whether its days are read from files or from the database.

On SQLite and on a real PostgreSQL.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from closedloop.errors import UseCaseError
from closedloop.records import answer_pages
from closedloop.records.as_windows import RecordsSource
from closedloop.records.labels import Label
from closedloop.records.request import AnsweredRequest, to_json
from closedloop.records.store import Records
from closedloop.use_case.contract import Column, UseCase
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.archived_days import (  # noqa: F401
    NEXT,
    archive,
    asked,
    fill_days,
    find_file,
    records,
)
from tests.unit.records.conftest import answered
from tests.unit.records.plain_reader import keep_newest_plainly, read_plainly
from tests.unit.records.test_erasure import ANNA, BEN, shared
from tests.unit.records.test_reading_exactly import DAY, WINDOW, fill, same


@pytest.mark.parametrize("odd", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("page", [7, 90, 50_000])
def test_what_a_file_gives_is_what_was_written(
    engine: Engine,
    records: Records,
    use_case: UseCase,
    odd: float,
    page: int,
    asked: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whole numbers, truth values, mixed types, nulls, numbers as bytes, lists, large requests,
    erased rows: values and types are those of the database, which is not asked for them. Labels
    that come or are corrected later are the newest. A second run writes nothing."""
    fill(records, page, odd)
    monkeypatch.setattr(answer_pages, "PAGE_ROWS", page)
    written, why = records.archive_day(use_case, DAY.date())
    assert (written > 300, why) == (True, "it had no file")
    assert records.archive_day(use_case, DAY.date()) == (written, "")
    unlabelled = read_plainly(engine, use_case).query("label.isna()")["customer"]
    late = [id for id in unlabelled.unique() if id.startswith("r")]
    records.label_many([Label("late", id=id) for id in late[:9]], "shop")
    plain = read_plainly(engine, use_case)
    assert {"late", "corrected", None} <= {*plain["label"]}
    same(records.read(use_case, DAY, NEXT), plain)
    source = RecordsSource(records, use_case)
    wanted = keep_newest_plainly(plain, use_case)
    same(source.read(WINDOW), wanted)
    chunks = list(records.read_chunks(use_case, DAY, NEXT))
    assert asked == []
    monkeypatch.setattr(records, "archive", None)
    for found, plainly in zip(chunks, records.read_chunks(use_case, DAY, NEXT), strict=True):
        same(found, plainly)
        assert found.attrs == plainly.attrs


def packed(request: str, numbers: list[float]) -> AnsweredRequest:
    """A request of many rows, whose numbers are written as bytes."""
    rows = len(numbers)
    features = {"spend": np.array(numbers, dtype="<f8").tobytes(), "plan": ["gold"] * rows}
    shares = to_json({"False": [0.2] * rows, "True": [0.8] * rows})
    return AnsweredRequest(request, "shop", 3, rows, to_json(features), shares, (), NOON)


@pytest.mark.parametrize("page", [2, 50_000])
@pytest.mark.parametrize(
    ("spend", "plan"),
    [
        ([1.5, 7], ["gold", None]),
        ([True, None], ["gold", None]),
        (["1,5", 2.5], ["gold", None]),
        ([1.5, None], [2.5, None]),
        ([1.5, None], [None, False]),
        ([None, None], [[1], {"a": 2.0}]),
        ([10**30, -0.0], ["\u2028", ""]),
    ],
)
def test_a_value_of_another_type_among_the_usual_ones(
    engine: Engine,
    records: Records,
    use_case: UseCase,
    asked: list[Any],
    spend: Any,
    plan: Any,
    page: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also beside numbers that JSON does not have, and where a page has no other type."""
    monkeypatch.setattr(answer_pages, "PAGE_ROWS", page)
    odd = describe_answers(
        "shop", 3, {"spend": spend, "plan": plan}, {"False": [0.5] * 2}, request="odd", at=NOON
    )
    many = packed("many", [float("inf"), float("-inf"), float("nan"), *map(float, range(20))])
    records.append([answered("usual", at=NOON), many, odd])
    records.archive_day(use_case, NOON.date())
    start = NOON.replace(hour=0)
    found = records.read(use_case, start, start + timedelta(days=1))
    same(found, read_plainly(engine, use_case))
    assert asked == []


def test_days_come_from_files_and_the_rest_from_the_database(
    engine: Engine, records: Records, use_case: UseCase, asked: list[Any]
) -> None:
    """In time order, however a window lies: a day without a file, or of which the window has a few
    hours only, is the database's."""
    fill_days(records)
    days = [DAY - timedelta(days=age) for age in (4, 3, 2, 1, 0)]
    for day in (days[1], days[2], days[4]):
        records.archive_day(use_case, day.date())
    same(records.read(use_case), read_plainly(engine, use_case))
    assert asked == [(None, days[1]), (days[3], days[4]), (NEXT, None)]
    asked.clear()
    hour = timedelta(hours=1)
    bare = Records(engine)
    for since, until in [
        (days[1] + hour, days[4] + hour),
        (days[0] - hour, NEXT - hour),
        (days[1], days[3]),
        (days[1], days[2] + 23.9 * hour),
        (days[1], days[2] + timedelta(hours=23, minutes=59)),
        (days[2] + 3 * hour, days[2] + 23.5 * hour),
        (days[2] + 23.9 * hour, days[4] + 23 * hour),
        (days[2], days[2] + hour),
        (None, days[2]),
        (days[4], None),
        (NEXT + hour, None),
    ]:
        same(records.read(use_case, since, until), bare.read(use_case, since, until))
    asked.clear()
    records.read(use_case, days[1] + hour, days[4] + hour)
    assert asked == [(days[3], days[4] + hour)]


def test_windows_by_another_clock_are_parts_of_files(
    engine: Engine, records: Records, use_case: UseCase, asked: list[Any]
) -> None:
    """A day of Tokyo is 15 hours of a day of UTC, and nine of the next."""
    fill_days(records)
    for age in range(5):
        records.archive_day(use_case, (DAY - timedelta(days=age)).date())
    source = replace(use_case.source, timezone="Asia/Tokyo")
    tokyo = replace(use_case, source=source)
    windows, plain = RecordsSource(records, tokyo), RecordsSource(Records(engine), tokyo)
    names = windows.windows()
    assert len(names) == 5
    for name in names[1:]:
        same(windows.read(name), plain.read(name))
        assert len(windows.read(name)) == 2
    assert len(asked) == len(names[1:])  # those without an archive


def test_people_can_read_a_file_with_other_programs(
    records: Records, use_case: UseCase, tmp_path: Path
) -> None:
    """Ids, times, versions, keys, features with types of their own, and probabilities; no
    labels."""
    records.append([shared("r", [ANNA, None], packed=True)])
    records.archive_day(use_case, NOON.date())
    found = pd.read_parquet(find_file(tmp_path, NOON))
    assert found.columns.tolist() == [
        *("_request", "_row", "_answered_at", "_version", "_key", "spend", "plan"),
        *("_probability_False", "_probability_True"),
    ]
    assert found["_request"].tolist() == ["r", "r"]
    assert found["_row"].tolist() == [0, 1]
    assert found["_answered_at"].tolist() == [pd.Timestamp(NOON)] * 2
    assert found["_key"].tolist()[0] == ANNA
    assert found["spend"].tolist() == [0.0, 1.0]
    assert found["_probability_True"].tolist() == [0.8, 0.8]


def test_a_late_request_makes_a_day_the_databases_again(
    engine: Engine, records: Records, use_case: UseCase, asked: list[Any]
) -> None:
    """Until the next run writes its file anew."""
    fill_days(records, 1, DAY)
    records.archive_day(use_case, DAY.date())
    records.append([answered("late", key="c9", at=DAY + timedelta(hours=3))])
    same(records.read(use_case), read_plainly(engine, use_case))
    assert asked == [(None, None)]
    assert records.archive_day(use_case, DAY.date()) == (3, "its records have changed")
    asked.clear()
    same(records.read(use_case, DAY, NEXT), read_plainly(engine, use_case))
    assert asked == []


@pytest.mark.parametrize("key", [ANNA, BEN])
def test_who_was_erased_by_a_program_without_the_archive_is_not_read(
    engine: Engine, records: Records, use_case: UseCase, key: str
) -> None:
    """A whole request is missed by its number; a second row of a request that has lost one before,
    by what is noted of it."""
    records.append([shared("both", [BEN, "c1", None], packed=True), answered("own", key=ANNA)])
    records.erase("shop", "c1")
    records.archive_day(use_case, NOON.date())
    assert len(records.read(use_case)) == 3
    Records(engine, now=lambda: NOON).erase("shop", key)
    found = records.read(use_case)
    assert key not in found["customer"].tolist()
    same(found, read_plainly(engine, use_case))
    assert records.archive_day(use_case, NOON.date())[1] == "its records have changed"


def test_a_file_of_another_database_is_not_read(
    engine: Engine, records: Records, use_case: UseCase
) -> None:
    """Though it has as many requests and rows: their ids differ."""
    records.append([answered("here")])
    records.archive_day(use_case, NOON.date())
    with engine.begin() as connection:
        connection.execute(text("UPDATE answers SET request = 'there'"))
    assert records.read(use_case)["customer"].tolist() == ["there-000000"]


def test_a_column_that_came_later_makes_files_anew(
    engine: Engine, records: Records, use_case: UseCase, asked: list[Any]
) -> None:
    """A file that lacks it is not read; one with a column more than loop.toml is."""
    fill_days(records, 1, DAY)
    records.archive_day(use_case, DAY.date())
    columns = {**use_case.columns, "age": Column("numeric")}
    grown = replace(use_case, columns=MappingProxyType(columns))
    same(records.read(grown), read_plainly(engine, grown))
    assert asked
    assert records.archive_day(grown, DAY.date())[1] == "its file lacks a column"
    asked.clear()
    same(records.read(grown, DAY, NEXT), read_plainly(engine, grown))
    same(records.read(use_case, DAY, NEXT), read_plainly(engine, use_case))
    assert records.archive_day(use_case, DAY.date())[1] == ""
    assert asked == []


def test_a_column_that_changed_its_type_is_read_as_it_was(
    engine: Engine, records: Records, use_case: UseCase, asked: list[Any]
) -> None:
    """The file has the types of its values, not those of loop.toml."""
    fill_days(records, 1, DAY)
    records.archive_day(use_case, DAY.date())
    columns = {"spend": Column("categorical"), "plan": Column("numeric")}
    changed = replace(use_case, columns=MappingProxyType(columns))
    same(records.read(changed, DAY, NEXT), read_plainly(engine, changed))
    assert asked == []
    records.append([answered("late", at=DAY)])
    records.archive_day(changed, DAY.date())
    same(records.read(changed, DAY, NEXT), read_plainly(engine, changed))
    assert asked == []


def test_a_column_with_a_name_of_the_archives_own_is_refused(
    records: Records, use_case: UseCase
) -> None:
    """Rather than one of the two being lost."""
    records.append([answered("r")])
    odd = replace(use_case, columns=MappingProxyType({"_row": Column("numeric")}))
    with pytest.raises(UseCaseError, match="got _row: rename the column"):
        records.archive_day(odd, NOON.date())
