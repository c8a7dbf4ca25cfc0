"""Records: predictions and labels survive, agree and come back as windows, on SQLite and on a real
PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, MetaData, text

from closedloop.errors import LabelConflict, StoreError
from closedloop.records.as_windows import RecordsSource
from closedloop.records.labels import Label, UnknownPrediction, newest_of_key
from closedloop.records.request import AnsweredRequest, describe_answers
from closedloop.records.store import RecordCounts, Records
from closedloop.storage.engine import open_engine
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON


@pytest.fixture
def use_case(tmp_path: Path) -> UseCase:
    content = {
        "name": "shop",
        "key": "customer",
        "target": {"column": "label", "classes": ["False", "True"]},
        "source": {"query": "select 1", "windows": "*.csv"},
        "columns": {"spend": {"type": "numeric"}, "plan": {"type": "categorical"}},
    }
    return parse_use_case(content, tmp_path / "loop.toml")


def answered(
    request: str,
    *,
    key: str | None = None,
    at: datetime | None = None,
    use_case: str = "shop",
    spend: float | None = 1.5,
) -> AnsweredRequest:
    """A request of one row."""
    features, probabilities = {"spend": [spend], "plan": ["gold"]}, {"False": [0.2], "True": [0.8]}
    return describe_answers(
        use_case, 3, features, probabilities, request=request, keys=[key] if key else (), at=at
    )


def many(request: str, rows: int, keys: list[str | None] | None = None) -> AnsweredRequest:
    """A request whose rows spend 0.0, 1.0, 2.0 and so on."""
    features = {"spend": [float(row) for row in range(rows)], "plan": ["gold"] * rows}
    return describe_answers(
        "shop",
        3,
        features,
        {"False": [0.2] * rows, "True": [0.8] * rows},
        request=request,
        keys=keys or (),
    )


def test_rows_come_back_as_they_were_asked(records: Records, use_case: UseCase) -> None:
    """Features, key and label of a recorded row are those that were appended, nulls and unknown
    labels included."""
    records.append([answered("a", key="c1", spend=0.1 + 0.2), answered("b", key="c2", spend=None)])
    records.label("a-000000", "False")
    frame = records.read(use_case)
    assert list(frame.columns) == ["customer", "spend", "plan", "label"]
    assert frame["customer"].tolist() == ["c1", "c2"]
    assert frame["spend"].iloc[0] == 0.1 + 0.2
    assert np.isnan(frame["spend"].iloc[1])
    assert frame["label"].tolist() == ["False", None]


def test_reading_nothing_gives_an_empty_frame_with_all_columns(
    records: Records, use_case: UseCase
) -> None:
    """A use case without records reads as zero rows, not as an error."""
    assert list(records.read(use_case).columns) == ["customer", "spend", "plan", "label"]
    assert len(records.read(use_case)) == 0


def test_append_is_all_or_nothing(records: Records, use_case: UseCase) -> None:
    """One request that cannot be recorded keeps out those beside it, their keys included."""
    records.append([answered("a")])
    with pytest.raises(StoreError, match="records, to record predictions"):
        records.append(
            [*(answered(f"b{number}", key="c1") for number in range(130)), answered("a")]
        )  # more than one statement takes
    assert len(records.read(use_case)) == 1
    with pytest.raises(UnknownPrediction, match="key c1"):
        records.label_many([Label("True", key="c1")], use_case="shop")


def test_the_same_label_twice_is_no_fault(records: Records) -> None:
    """Sending a label again is answered as before and counted once."""
    records.append([answered("a")])
    assert records.label("a-000000", "True") is True
    assert records.label("a-000000", "True") is False
    assert records.count("shop") == RecordCounts(predictions=1, labels=1)


def test_a_contradicting_label_names_both_values_and_changes_nothing(
    records: Records, use_case: UseCase
) -> None:
    """The recorded label stays, the other labels of the request stay out, and the error shows both
    values."""
    records.append([answered("a"), answered("b")])
    records.label("a-000000", "True")
    with pytest.raises(LabelConflict, match=r"'True'.*'False'"):
        records.label_many([Label("True", id="b-000000"), Label("False", id="a-000000")])
    assert records.read(use_case)["label"].tolist() == ["True", None]


def test_labels_that_contradict_each_other_in_one_request_are_refused(records: Records) -> None:
    """A batch with two truths for one prediction records neither."""
    records.append([answered("a", key="c1")])
    with pytest.raises(LabelConflict, match=r"'True'.*'False'"):
        records.label_many(
            [Label("True", id="a-000000"), Label("False", key="c1")], use_case="shop"
        )
    assert records.count("shop").labels == 0


def test_every_unknown_id_and_key_is_named_and_nothing_recorded(records: Records) -> None:
    """Two unknown names in a batch of three are both named, and the known one is not labelled."""
    records.append([answered("a")])
    with pytest.raises(UnknownPrediction, match="id x-000000, key c9"):
        records.label_many(
            [Label("True", id="a-000000"), Label("True", id="x-000000"), Label("True", key="c9")],
            use_case="shop",
        )
    assert records.count("shop").labels == 0


def test_a_label_by_key_means_the_newest_prediction_of_that_use_case(
    records: Records, use_case: UseCase
) -> None:
    """Older predictions of the key and those of other use cases are left alone."""
    older, newer = NOON - timedelta(hours=2), NOON - timedelta(hours=1)
    records.append(
        [
            answered("new", key="c1", at=newer),
            answered("old", key="c1", at=older),
            answered("other", key="c1", use_case="else"),
        ]
    )
    records.label_many([Label("True", key="c1")], use_case="shop")
    assert records.read(use_case)["label"].tolist() == [None, "True"]
    assert records.count("else").labels == 0


def test_a_label_by_key_and_time_means_the_newest_prediction_up_to_then(
    records: Records, use_case: UseCase
) -> None:
    """The prediction at that very microsecond counts, in whatever zone the time is given; what came
    later is left alone."""
    first, second = NOON - timedelta(hours=2), NOON - timedelta(hours=1, microseconds=1)
    records.append(
        [
            answered("one", key="c1", at=first, spend=1.0),
            answered("two", key="c1", at=second, spend=2.0),
        ]
    )
    records.append(
        [
            answered("three", key="c1", at=NOON, spend=3.0),
            answered("other", key="c2", at=first, spend=4.0),
        ]
    )
    east = second.astimezone(timezone(timedelta(hours=3)))
    just_before = second - timedelta(microseconds=1)
    assert (
        records.label_many(
            [Label("True", key="c1", at=east), Label("False", key="c1", at=just_before)],
            use_case="shop",
        )
        == 2
    )
    frame = records.read(use_case).set_index("spend")
    assert frame["label"].to_dict() == {1.0: "False", 2.0: "True", 3.0: None, 4.0: None}


def test_a_label_by_key_and_time_is_said_once(records: Records) -> None:
    """The same again is no news though newer predictions came, by id or by another time that means
    the same; another label is refused with both values."""
    records.append([answered("one", key="c1", at=NOON - timedelta(hours=2))])
    told = Label("True", key="c1", at=NOON - timedelta(hours=1))
    assert records.label_many([told], use_case="shop") == 1
    records.append([answered("two", key="c1", at=NOON)])
    again = [
        told,
        Label("True", key="c1", at=NOON - timedelta(hours=2)),
        Label("True", id="one-000000"),
    ]
    assert records.label_many(again, use_case="shop") == 0
    with pytest.raises(LabelConflict, match=r"one-000000.*'True'.*'False'"):
        records.label_many([Label("False", key="c1", at=told.at)], use_case="shop")
    assert records.count("shop").labels == 1


def test_a_key_without_a_prediction_up_to_its_time_is_unknown(records: Records) -> None:
    """Key and time are named beside the other unknown ones, and nothing of the request is
    recorded."""
    records.append([answered("one", key="c1", at=NOON)])
    early = Label("True", key="c1", at=NOON - timedelta(microseconds=1))
    with pytest.raises(
        UnknownPrediction,
        match=r"id x, key c1 at or before 2026-11-20T11:59:59\.999999\+00:00, key c9: send",
    ):
        records.label_many(
            [Label("True", key="c9"), early, Label("True", id="x"), Label("True", key="c1")],
            use_case="shop",
        )
    assert records.count("shop").labels == 0


def test_the_newest_of_a_key_is_one_look_into_an_index(engine: Engine, records: Records) -> None:
    """The database reaches the prediction of key and time through the primary key of the keys, and
    sorts nothing."""
    records.append([answered("one", key="c1")])
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[engine.dialect.name]
    query = str(
        newest_of_key("shop", "c1", NOON).compile(engine, compile_kwargs={"literal_binds": True})
    )
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(
                text("SET LOCAL enable_seqscan = off")
            )  # it would read a table of one row whole
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        plan = " ".join(
            str(row)
            for row in connection.execute(
                text(f"{explain} {query}").execution_options(no_parameters=True)
            )
        )
    found = {
        "sqlite": "PRIMARY KEY (use_case=? AND key=? AND at<?)",
        "postgresql": "using answer_keys_pkey",
    }
    assert found[engine.dialect.name] in plan
    assert "sort" not in plan.lower()
    assert "temp b-tree" not in plan.lower()


@pytest.mark.parametrize(
    "named", [{"id": "a-000000", "at": NOON}, {"key": "c1", "at": NOON.replace(tzinfo=None)}]
)
def test_a_time_that_means_nothing_is_no_label(named: dict[str, Any]) -> None:
    """A time beside an id, and one without a zone, are refused before anything is looked up."""
    with pytest.raises(ValueError, match="beside a key and has a time zone"):
        Label("True", **named)


def test_rows_of_a_request_are_named_and_labelled_one_by_one(
    records: Records, use_case: UseCase
) -> None:
    """Each row of a request has its id, its key and its own label; rows come back in their order,
    those of large requests, too."""
    records.append([many("r1", 3, ["c1", None, "c1"]), many("r2", 2)])
    records.label_many(
        [Label("False", id="r1-000001"), Label("True", key="c1"), Label("True", id="r2-000000")],
        use_case="shop",
    )
    frame = records.read(use_case)
    assert frame["customer"].tolist() == ["c1", None, "c1", None, None]
    assert frame["spend"].tolist() == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert frame["label"].tolist() == [None, "False", "True", "True", None]
    assert records.count("shop") == RecordCounts(5, 3)


@pytest.mark.parametrize(
    "id",
    [
        "r1-000003",
        "r1-00001",
        "r1-1",
        "r1-0000001",
        "r1",
        "r1-",
        "-000000",
        "r1--00001",
        "r1-٠٠٠٠٠١",
        "r2-000000",
    ],
)
def test_an_id_without_a_row_is_unknown(records: Records, id: str) -> None:
    """A row beyond the request's last one, another spelling of a row, and a request that never was
    are no predictions."""
    records.append([many("r1", 3)])
    with pytest.raises(UnknownPrediction, match="labels: wanted predictions that were recorded"):
        records.label_many([Label("True", id="r1-000001"), Label("True", id=id)], use_case="shop")
    assert records.count("shop").labels == 0


def test_numbers_written_as_bytes_come_back_as_they_were(
    records: Records, use_case: UseCase
) -> None:
    """A column of float64 bytes, the form of large requests, reads as its numbers bit for bit, NaN
    as null."""
    numbers = np.array([0.1 + 0.2, np.nan, -3.4e38, 5e-324], dtype="<f8")
    features = {"spend": numbers.tobytes(), "plan": ["gold", None, "gold", "ß"]}
    records.append([describe_answers("shop", 3, features, {"False": [0.2] * 4, "True": [0.8] * 4})])
    frame = records.read(use_case)
    np.testing.assert_array_equal(frame["spend"].to_numpy(), numbers)
    assert frame["plan"].tolist() == ["gold", None, "gold", "ß"]


def test_a_database_of_row_by_row_records_is_opened_and_its_rows_left_alone(
    engine: Engine, use_case: UseCase, caplog: pytest.LogCaptureFixture
) -> None:
    """Tables of the earlier kind disturb nothing: new records are kept beside them, and the log
    says once that the old are not read."""
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE predictions (id VARCHAR(60) PRIMARY KEY, use_case VARCHAR(100))")
        )
        connection.execute(
            text(
                "CREATE TABLE labels (prediction_id VARCHAR(60) PRIMARY KEY REFERENCES predictions (id), label TEXT)"
            )
        )
        connection.execute(text("INSERT INTO predictions VALUES ('old-000000', 'shop')"))
    records = Records(engine, now=lambda: NOON)
    records.append([answered("a")])
    assert records.label("a-000000", "True")
    assert records.count("shop") == RecordCounts(1, 1)
    assert [one.message for one in caplog.records if "earlier version" in one.message] == [
        "the table predictions of an earlier version is not read any more: its rows are no part of the records"
    ]


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    """Whoever removes the database of a running service does not make it write into nothing: the
    next request is in the new file."""
    engine = open_engine(f"sqlite:///{tmp_path / 'records.db'}")
    records = Records(engine, now=lambda: NOON)
    records.append([answered("a")])
    engine.dispose()
    for path in tmp_path.glob("records.db*"):
        path.unlink()
    records.append([answered("b")])
    assert (
        Records(open_engine(f"sqlite:///{tmp_path / 'records.db'}")).count("shop").predictions == 1
    )


@pytest.mark.parametrize(("sync", "wanted"), [("normal", 1), ("full", 2)])
def test_only_the_writing_connection_is_less_than_full(
    tmp_path: Path, sync: str, wanted: int
) -> None:
    """The setting reaches the connection that appends; all others, the journal's among them, stay
    at full."""
    engine = open_engine(f"sqlite:///{tmp_path / 'records.db'}")
    records = Records(engine, now=lambda: NOON, sync=sync)  # type: ignore[arg-type]
    records.append([answered("a")])
    written = records._writer._connection.cursor().execute("PRAGMA synchronous").fetchone()[0]
    with engine.begin() as connection:
        others = connection.execute(text("PRAGMA synchronous")).scalar_one()
    assert (written, others) == (wanted, 2)


def test_a_label_for_another_use_cases_prediction_is_unknown(records: Records) -> None:
    """An id belongs to its use case: the service of another one does not know it."""
    records.append([answered("a", use_case="else")])
    with pytest.raises(UnknownPrediction, match="id a-000000"):
        records.label_many([Label("True", id="a-000000")], use_case="shop")


def test_more_labels_than_fit_one_query_are_recorded(records: Records) -> None:
    """1,201 labels at once are all recorded, and all counted."""
    requests = [many(f"r{number}", 1) for number in range(600)] + [many("large", 601)]
    records.append(requests)
    assert (
        records.label_many([Label("True", id=id) for request in requests for id in request.ids])
        == 1201
    )
    assert records.count("shop") == RecordCounts(1201, 1201)


def test_two_processes_may_create_the_tables_at_once(engine: Engine) -> None:
    """Eight stores that meet an empty database at the same moment all succeed."""
    barrier = Barrier(8, timeout=20)

    def start(number: int) -> None:
        store = Records(
            open_engine(engine.url.render_as_string(hide_password=False)), now=lambda: NOON
        )
        barrier.wait()
        store.append([answered(f"p{number}")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))
    assert Records(engine).count("shop").predictions == 8


def test_two_writers_of_contradicting_labels_leave_one_winner(engine: Engine) -> None:
    """Of simultaneous labels that differ exactly one is recorded; the other writer is told of the
    conflict."""
    stores = [Records(engine, now=lambda: NOON) for _ in range(2)]
    stores[0].append([answered(f"p{number}") for number in range(20)])
    barrier = Barrier(2, timeout=20)

    def write(store: Records, label: str) -> int:
        won = 0
        for number in range(20):
            barrier.wait()
            try:
                won += store.label(f"p{number}-000000", label)
            except LabelConflict:
                continue
        return won

    with ThreadPoolExecutor(2) as pool:
        wins = list(pool.map(write, stores, ["True", "False"]))
    assert sum(wins) == 20
    assert stores[0].count("shop").labels == 20


def test_windows_are_the_utc_days_with_answers(engine: Engine, use_case: UseCase) -> None:
    """Days come sorted, by UTC whatever zone the time was given in, without empty days and without
    the day that still runs."""
    records = Records(engine, now=lambda: NOON)
    late = datetime(
        2026, 11, 18, 1, tzinfo=timezone(timedelta(hours=3))
    )  # 22:00 of the 17th in UTC
    times = [
        NOON,
        NOON - timedelta(days=1),
        late,
        datetime(2026, 11, 17, tzinfo=UTC),
        datetime(2026, 11, 18, tzinfo=UTC) - timedelta(microseconds=1),
    ]
    records.append([answered(f"p{number}", at=at) for number, at in enumerate(times)])
    source = RecordsSource(records, use_case)
    assert source.windows() == ("records_2026-11-17", "records_2026-11-19")
    assert len(source.read("records_2026-11-17")) == 3
    assert len(source.read("records_2026-11-19")) == 1
    assert RecordsSource(records, use_case, unfinished=True).windows()[-1] == "records_2026-11-20"


@pytest.mark.parametrize(
    ("period", "windows"),
    [
        ("hour", ("records_2026-01-31T23", "records_2026-02-01T00")),
        ("day", ("records_2026-01-31", "records_2026-02-01")),
        ("month", ("records_2026-01", "records_2026-02")),
    ],
)
def test_windows_split_at_the_end_of_their_period(
    records: Records, use_case: UseCase, period: str, windows: tuple[str, ...]
) -> None:
    """The microsecond before and the one at midnight of a month's end fall into different windows
    of every period."""
    midnight = datetime(2026, 2, 1, tzinfo=UTC)
    records.append(
        [answered("before", at=midnight - timedelta(microseconds=1)), answered("at", at=midnight)]
    )
    source = RecordsSource(records, use_case, period)  # type: ignore[arg-type]
    assert source.windows() == windows
    assert [len(source.read(window)) for window in windows] == [1, 1]


def test_a_window_of_another_source_is_refused(records: Records, use_case: UseCase) -> None:
    """A name that is no day says what a name looks like."""
    with pytest.raises(StoreError, match="wanted records_%Y-%m-%d, got month_004"):
        RecordsSource(records, use_case).read("month_004")


def test_a_time_without_zone_is_refused(records: Records) -> None:
    """A naive time would be read as another moment elsewhere, so it is not recorded."""
    with pytest.raises(StoreError, match="no time zone"):
        records.append([answered("a", at=NOON.replace(tzinfo=None))])


@pytest.mark.parametrize(
    "use",
    [
        lambda records, use_case: records.append([answered("b")]),
        lambda records, use_case: records.label("a-000000", "True"),
        lambda records, use_case: records.read(use_case),
        lambda records, use_case: records.count("shop"),
        lambda records, use_case: RecordsSource(records, use_case).windows(),
    ],
)
def test_no_database_is_a_store_error_and_the_store_recovers(
    tmp_path: Path, use_case: UseCase, use: Callable[[Records, UseCase], object]
) -> None:
    """Nothing of SQLAlchemy leaks out when the database cannot be opened, and the same store works
    once it can."""
    folder = tmp_path / "store"
    engine = open_engine(f"sqlite:///{folder / 'records.db'}")
    records = Records(engine, now=lambda: NOON)
    folder.rmdir()
    with pytest.raises(StoreError, match="unable to open database file"):
        use(records, use_case)
    folder.mkdir()
    records.append([answered("a", at=NOON)])
    use(records, use_case)


def test_a_database_that_comes_back_empty_gets_its_tables_again(engine: Engine) -> None:
    """A store that had its tables before finds them missing once, says so, and then records again
    without a restart."""
    records = Records(engine, now=lambda: NOON)
    records.append([answered("a")])
    tables = MetaData()
    tables.reflect(engine)
    tables.drop_all(engine)
    with pytest.raises(StoreError, match="answers"):
        records.append([answered("b")])
    records.append([answered("b")])
    assert records.count("shop").predictions == 1


def test_closed_records_hold_no_file(tmp_path: Path) -> None:
    """A process that opens and closes many records keeps no file of theirs open; closed ones can be
    written to again."""
    path = tmp_path / "records.db"
    records = Records(open_engine(f"sqlite:///{path}"))
    records.append([answered("r1")])
    assert records.append_now([answered("r2")])
    records.close()
    records._engine.dispose()
    held = [
        one
        for one in Path("/proc/self/fd").iterdir()
        if os.path.realpath(one).startswith(str(path))
    ]
    assert held == []
    records.append([answered("r3")])
    assert records.count("shop").predictions == 3


def test_two_who_try_the_store_at_once_find_it_well(records: Records) -> None:
    """Two workers of the service start together: neither takes what the other one writes to try the
    store for a fault."""
    together = Barrier(2)

    def try_it(_: int) -> None:
        for _ in range(10):
            together.wait(timeout=30)
            records.probe()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(try_it, range(2)))
