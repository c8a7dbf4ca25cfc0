"""Records survive and come back as they were, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from sqlalchemy import Engine, MetaData, text

from closedloop.errors import StoreError
from closedloop.records.as_windows import RecordsSource
from closedloop.records.labels import Label, UnknownPrediction
from closedloop.records.reading import RecordCounts
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from closedloop.use_case.contract import UseCase
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered


def test_rows_come_back_as_they_were_asked(records: Records, use_case: UseCase) -> None:
    """Features, key and label come back as they were appended, including nulls and missing
    labels."""
    records.append([answered("a", key="c1", spend=0.1 + 0.2), answered("b", key="c2", spend=None)])
    records.label_many([Label("False", id="a-000000")])
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
    """A request that cannot be recorded keeps out all others of the call, and their keys."""
    records.append([answered("a")])
    with pytest.raises(StoreError, match="records, to record predictions"):
        records.append(
            [*(answered(f"b{number}", key="c1") for number in range(130)), answered("a")]
        )  # more than one statement takes
    assert len(records.read(use_case)) == 1
    with pytest.raises(UnknownPrediction, match="key c1"):
        records.label_many([Label("True", key="c1")], use_case="shop")


def test_numbers_written_as_bytes_come_back_as_they_were(
    records: Records, use_case: UseCase
) -> None:
    """A column of float64 bytes, as in large requests, comes back bit for bit, with NaN as null."""
    numbers = np.array([0.1 + 0.2, np.nan, -3.4e38, 5e-324], dtype="<f8")
    features = {"spend": numbers.tobytes(), "plan": ["gold", None, "gold", "ß"]}
    records.append([describe_answers("shop", 3, features, {"False": [0.2] * 4, "True": [0.8] * 4})])
    frame = records.read(use_case)
    np.testing.assert_array_equal(frame["spend"].to_numpy(), numbers)
    assert frame["plan"].tolist() == ["gold", None, "gold", "ß"]


def test_tables_of_row_by_row_records_are_left_alone(
    engine: Engine, use_case: UseCase, caplog: pytest.LogCaptureFixture
) -> None:
    """Tables of an earlier version do no harm: new records are kept beside them, and the log warns
    once that the old rows are not read."""
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE predictions (id VARCHAR(60) PRIMARY KEY, use_case VARCHAR(100))")
        )
        connection.execute(
            text(
                "CREATE TABLE labels (label TEXT, "
                "prediction_id VARCHAR(60) PRIMARY KEY REFERENCES predictions (id))"
            )
        )
        connection.execute(text("INSERT INTO predictions VALUES ('old-000000', 'shop')"))
    records = Records(engine, now=lambda: NOON)
    records.append([answered("a")])
    assert records.label_many([Label("True", id="a-000000")])
    assert records.count("shop") == RecordCounts(1, 1)
    warnings = [record.message for record in caplog.records if "earlier" in record.message]
    assert warnings == [
        "the table predictions of an earlier version is no longer read: "
        "its rows are not part of the records"
    ]


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    """When the database of a running service is removed, the next request is in the new file."""
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
def test_only_the_writing_connection_is_not_fully_synchronous(
    tmp_path: Path, sync: str, wanted: int
) -> None:
    """The setting reaches the connection that appends; all others, such as the journal's, stay at
    full."""
    engine = open_engine(f"sqlite:///{tmp_path / 'records.db'}")
    records = Records(engine, now=lambda: NOON, sync=sync)  # type: ignore[arg-type]
    records.append([answered("a")])
    written = records._writer._connection.cursor().execute("PRAGMA synchronous").fetchone()[0]
    with engine.begin() as connection:
        others = connection.execute(text("PRAGMA synchronous")).scalar_one()
    assert (written, others) == (wanted, 2)


def test_two_processes_may_create_the_tables_at_once(engine: Engine) -> None:
    """Eight stores that open an empty database at the same moment all succeed."""
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


def test_a_time_without_zone_is_refused(records: Records) -> None:
    """A naive time means another moment elsewhere, so it is not recorded."""
    with pytest.raises(StoreError, match="no time zone"):
        records.append([answered("a", at=NOON.replace(tzinfo=None))])


@pytest.mark.parametrize(
    "use",
    [
        lambda records, use_case: records.append([answered("b")]),
        lambda records, use_case: records.label_many([Label("True", id="a-000000")]),
        lambda records, use_case: records.read(use_case),
        lambda records, use_case: records.count("shop"),
        lambda records, use_case: RecordsSource(records, use_case).windows(),
    ],
)
def test_no_database_is_a_store_error_and_the_store_recovers(
    tmp_path: Path, use_case: UseCase, use: Callable[[Records, UseCase], object]
) -> None:
    """An unreachable database is a StoreError, not one of SQLAlchemy, and the same store works once
    it is back."""
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
    """A store whose tables were dropped fails once, then makes them and records again without a
    restart."""
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
    """Closed records keep no file open, and can be written to again."""
    path = tmp_path / "records.db"
    records = Records(open_engine(f"sqlite:///{path}"))
    records.append([answered("r1")])
    assert records.append_now([answered("r2")])
    records.close()
    records._engine.dispose()
    opened = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert [name for name in opened if name.startswith(str(path))] == []
    records.append([answered("r3")])
    assert records.count("shop").predictions == 3


def test_two_probes_at_once_succeed(records: Records) -> None:
    """Two workers that start together both find the store sound, though both write to it."""
    together = Barrier(2)

    def probe(_: int) -> None:
        for _ in range(10):
            together.wait(timeout=30)
            records.probe()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(probe, range(2)))
