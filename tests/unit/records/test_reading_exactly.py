"""What is read in bulk is what is written, value by value, whatever anybody has recorded.

On SQLite and on a real PostgreSQL.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from closedloop.errors import StoreError
from closedloop.records import answer_pages, stored_columns
from closedloop.records.as_windows import RecordsSource
from closedloop.records.labels import Label
from closedloop.records.request import AnsweredRequest, to_json
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from closedloop.use_case.contract import UseCase
from closedloop.windows.prepare import prepare
from closedloop.windows.sources import NOTES
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.plain_reader import keep_newest_plainly, read_plainly

LARGEST = 120  # rows of a request: its features are fetched apart
DAY = (NOON - timedelta(days=1)).replace(hour=0)
WINDOW = "records_2026-11-19"
NUMBERS = [0.5, -0.0, 1e16, 1.7976931348623157e308, 5e-324, 0.1 + 0.2, 3.0, None]
TEXTS = [
    "gold",
    "NaN",
    "null",
    "",
    " 1.0 ",
    "ß\u200b",
    "😀",
    'a"b\\c',
    "[1,2]",
    "\n\t",
    "x\0",
    None,
]
ODD = [7, 2**63, -(10**30), True, False, "1,5", [1], [[2], [3]], {"a": 1}, None, 2.5]


def draw_column(draw: random.Random, kind: str, rows: int) -> Any:
    """A column as the service writes it, and now and then as nobody should."""
    usual = NUMBERS if kind == "spend" else TEXTS
    if kind == "spend" and rows >= 16:
        numbers = [draw.choice(usual[:-1]) for _ in range(rows)]
        return np.array([*numbers[:-1], np.nan], dtype="<f8").tobytes()
    return [draw.choice(usual) for _ in range(rows)]


def draw_request(draw: random.Random, number: int, odd: float) -> AnsweredRequest:
    """A request of one row, a few or many; `odd` is the share with something strange."""
    rows = draw.choice([1, 1, 1, 2, 5, 15, 16, LARGEST])
    features = {name: draw_column(draw, name, rows) for name in ("spend", "plan")}
    if draw.random() < odd:
        name = draw.choice(["spend", "plan"])
        strange = [
            [draw.choice(ODD) for _ in range(rows)],
            [draw.choice(TEXTS) for _ in range(rows)],
            [draw.choice([*NUMBERS, 4]) for _ in range(rows)],
            None,
        ]
        features[name] = draw.choice(strange)
        if draw.random() < 0.3:
            del features[name]
        features["unknown"] = [1] * rows
    keys = [draw.choice([None, f"c{draw.randrange(40)}", f" c{number} "]) for _ in range(rows)]
    if draw.random() < 0.2 or not any(keys):
        keys = []
    at = DAY + timedelta(seconds=draw.randrange(30))  # several at the same time
    shares = to_json({"False": [0.2] * rows, "True": [0.8] * rows})
    name = f"r{draw.randrange(10**6)}-{number}"
    return AnsweredRequest(name, "shop", 3, rows, to_json(features), shares, keys, at)


def fill(records: Records, seed: int, odd: float) -> None:
    """Sixty requests, some rows labelled, some corrected, and one person forgotten."""
    draw = random.Random(seed)
    requests = [draw_request(draw, number, odd) for number in range(60)]
    records.append(requests)
    ids = [id for request in requests for id in request.ids if draw.random() < 0.5]
    records.label_many([Label(draw.choice(["True", "False"]), id=id) for id in ids])
    records.label_many([Label("corrected", id=id, replaces=True) for id in ids[::7]])
    records.erase("shop", "c3")


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Types, values and the types of the values are equal."""
    assert found.dtypes.astype(str).to_dict() == wanted.dtypes.astype(str).to_dict()
    for name in wanted.columns:
        assert list(map(type, found[name])) == list(map(type, wanted[name]))
        assert list(map(repr, found[name])) == list(map(repr, wanted[name]))


@pytest.mark.parametrize("odd", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("page", [7, 90, 50_000])
def test_every_value_comes_back_as_it_was_written(
    engine: Engine, use_case: UseCase, odd: float, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers, nulls, texts that look like something else, whole numbers of any size, lists,
    columns that are missing, erased rows, labels: whatever stands beside them, and however many
    are read at a time."""
    records = Records(engine, now=lambda: NOON)
    fill(records, page, odd)
    monkeypatch.setattr(answer_pages, "PAGE_ROWS", page)
    plain = read_plainly(engine, use_case)
    assert plain["label"].notna().any()
    same(records.read(use_case), plain)
    source = RecordsSource(records, use_case)
    wanted = keep_newest_plainly(plain, use_case)
    whole, chunks = source.read(WINDOW), list(source.chunks(WINDOW, page))
    same(whole, wanted)
    assert whole.attrs[NOTES][0].startswith(f"{wanted.attrs[NOTES][0]} answers were followed")
    assert max(map(len, records.read_chunks(use_case))) <= max(page, LARGEST)
    assert max(map(len, chunks)) < 2 * page
    assert chunks[0].attrs == whole.attrs
    assert not any(chunk.attrs for chunk in chunks[1:])
    # Each chunk has the types of its values; what they mean does not depend on that.
    joined = pd.concat([prepare(chunk, use_case) for chunk in chunks], ignore_index=True)
    same(joined, prepare(whole, use_case))
    if not odd:
        same(pd.concat(chunks, ignore_index=True), whole)


def test_what_the_service_writes_is_read_in_bulk(
    engine: Engine, use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request of a few rows is decoded by itself, unless one of its columns is none of floats or
    texts."""
    careful: list[int] = []
    decode = stored_columns._decode_carefully

    def note(page: Any, places: Any, use_case: UseCase) -> Any:
        careful.extend(page.rows[places].tolist())
        return decode(page, places, use_case)

    monkeypatch.setattr(stored_columns, "_decode_carefully", note)
    records = Records(engine, now=lambda: NOON)
    fill(records, 1, 0.0)
    records.read(use_case)
    assert careful
    assert min(careful) >= 16
    careful.clear()
    fill(Records(engine, now=lambda: NOON), 2, 0.05)
    records.read(use_case)
    assert min(careful) < 16


def test_who_stops_after_a_chunk_leaves_no_transaction_open(
    engine: Engine, use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the next page was on its way."""
    records = Records(engine, now=lambda: NOON)
    fill(records, 1, 0.0)
    records.close()
    monkeypatch.setattr(answer_pages, "PAGE_ROWS", 20)
    chunks = iter(records.read_chunks(use_case))
    assert len(next(chunks))
    del chunks
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_window_without_answers_is_one_empty_chunk(records: Records, use_case: UseCase) -> None:
    """It has all columns, so that chunks can always be joined."""
    (chunk,) = RecordsSource(records, use_case).chunks(WINDOW, 1)
    same(chunk, records.read(use_case))


def test_a_database_in_memory_is_read_by_its_own_thread(use_case: UseCase) -> None:
    """A replay has one, without records: its windows are empty, and no error."""
    assert Records(open_engine("sqlite://")).read(use_case).empty


def test_chunks_of_another_source_are_refused(records: Records, use_case: UseCase) -> None:
    """At once, not when the first chunk is asked for."""
    with pytest.raises(StoreError, match="wanted records_%Y-%m-%d, got month_004"):
        RecordsSource(records, use_case).chunks("month_004", 1)


def test_a_column_that_is_not_as_long_as_its_request_is_said(
    engine: Engine, use_case: UseCase
) -> None:
    """Rows would otherwise get the values of others."""
    records = Records(engine, now=lambda: NOON)
    fill(records, 1, 0.0)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE answers SET features = :short WHERE rows = 2"),
            {"short": '{"spend":[1.5],"plan":["a","b"]}'},
        )
    with pytest.raises(StoreError, match=r"wanted a value in every column .* got \d+ values for"):
        records.read(use_case)
