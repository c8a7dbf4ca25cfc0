"""Served rows read back as a window: those of a table, recorded one by one and in requests of many.

From the database, and from the file of their day.

`python -m tests.bench.scale_records HOW TABLE URL` is the process that is measured.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset

from closedloop.records.archive.folder import Archive
from closedloop.records.as_windows import RecordsSource
from closedloop.records.labels import Label
from closedloop.records.request import AnsweredRequest, to_json
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import parse_use_case
from tests.bench.servers import ROOT
from tests.bench.used import Used, run
from tests.postgres import Cluster, find_owner, find_programs

KEY, TARGET, DAY = "order_id", "returned", datetime(2026, 11, 19, tzinfo=UTC)
WINDOW = f"records_{DAY:%Y-%m-%d}"
REQUESTS = {"single rows": 1, "requests of 1,000": 1_000}
_TYPED = 16  # rows; from here the service writes numbers as bytes
_COMMIT_ROWS, _LABELS = 4_000, 10_000


def measure_records(table: Path, folder: Path) -> dict[str, Used]:
    """What reading a day of these rows takes, half of them labelled, on both databases."""
    used = {}
    for name, rows in REQUESTS.items():
        with _databases(folder) as urls:
            for database, url in urls.items():
                # In a process of its own: what is measured inherits the memory of this one.
                _run("fill", table, url, str(rows), folder=folder)
                for how in ("read", "chunks"):
                    used[f"{how} {name}, {database}"] = _run(how, table, url, folder=folder)
                archive = str(folder / "archive")
                for how in ("archive", "read", "chunks"):
                    used[f"{how} {name} as a file, {database}"] = _run(
                        how, table, url, "1", archive, folder=folder
                    )
                shutil.rmtree(archive)
    return used


def _run(how: str, table: Path, url: str, *more: str, folder: Path) -> Used:
    command = [sys.executable, "-m", "tests.bench.scale_records", how, str(table), url, *more]
    return run(command, folder, ROOT)


def describe(table: Path) -> UseCase:
    """The use case of the table's rows: twelve numbers, six categories, a key and a target."""
    columns = {
        field.name: {"type": "numeric" if _is_number(field) else "categorical"}
        for field in pa.dataset.dataset(table).schema
        if field.name not in (KEY, TARGET)
    }
    content = {
        "name": "orders",
        "key": KEY,
        "target": {"column": TARGET, "classes": ["no", "yes"]},
        "source": {"windows": "*.csv"},
        "columns": columns,
    }
    return parse_use_case(content, table.with_name("loop.toml"))


def _is_number(field: Any) -> bool:
    return pa.types.is_integer(field.type) or pa.types.is_floating(field.type)


def fill(url: str, table: Path, rows: int) -> None:
    """Record the table's rows as answered during a day, `rows` in a request; label every other."""
    engine, use_case = open_engine(url), describe(table)
    records = Records(engine)
    data = pa.dataset.dataset(table)
    step, number = timedelta(days=1) / data.count_rows(), 0
    for batch in data.to_batches(batch_size=_COMMIT_ROWS):
        made = list(_requests(batch, rows, number, step, use_case))
        records.append(made)
        labels = batch.column(TARGET).to_pylist()
        ids = [id for request in made for id in request.ids]
        given = [Label(label, id=id) for id, label in zip(ids, labels, strict=True)]
        records.label_many(given[::2], use_case.name)
        number += batch.num_rows
    records.close()
    engine.dispose()


def _requests(
    batch: Any, rows: int, number: int, step: timedelta, use_case: UseCase
) -> Iterator[AnsweredRequest]:
    """As the service records them."""
    numbers = {name: batch.column(name).cast(pa.float64()) for name in use_case.numeric}
    written: dict[str, Any] = {
        name: column.to_pylist()
        if rows < _TYPED
        else np.asarray(column.to_numpy(zero_copy_only=False), dtype="<f8")
        for name, column in numbers.items()
    }
    for name in use_case.categorical:
        written[name] = batch.column(name).cast(pa.string()).to_pylist()
    keys = batch.column(KEY).to_pylist()
    for first in range(0, batch.num_rows, rows):
        slices = {name: values[first : first + rows] for name, values in written.items()}
        typed = {
            name: values.tobytes() if isinstance(values, np.ndarray) else values
            for name, values in slices.items()
        }
        many = len(keys[first : first + rows])
        yield AnsweredRequest(
            f"{number + first:012x}{number + first:020x}",
            use_case.name,
            1,
            many,
            to_json(typed),
            to_json({"no": [0.8] * many, "yes": [0.2] * many}),
            keys[first : first + rows],
            DAY + (number + first) * step,
        )


@contextmanager
def _databases(folder: Path) -> Iterator[dict[str, str]]:
    """A new SQLite file, and a new database of a PostgreSQL that ends with the block."""
    urls = {"SQLite": f"sqlite:///{folder / 'records.db'}"}
    programs = find_programs()
    try:
        if programs is None:
            yield urls
            return
        # Its socket's path has to be short, and its user may not be this one.
        with tempfile.TemporaryDirectory(prefix="closedloop-pg-") as temporary:
            cluster = Cluster(programs, Path(temporary), find_owner())
            cluster.create()
            try:
                yield {**urls, "PostgreSQL": cluster.make_database()}
            finally:
                cluster.stop()
    finally:
        for path in folder.glob("records.db*"):
            path.unlink()


def main(how: str, table: Path, url: str, rows: int = 1, archive: str = "") -> None:
    """Fill a database, write its day's file into the archive, or read the window, whole or in
    parts, and say how many rows it has."""
    if how == "fill":
        fill(url, table, rows)
        return
    engine = open_engine(url)
    records = Records(engine, archive=Archive(archive) if archive else None)
    if how == "archive":
        print(f"{records.archive_day(describe(table), DAY.date())[0]} rows")
        engine.dispose()
        return
    source = RecordsSource(records, describe(table))
    parts = [source.read(WINDOW)] if how == "read" else source.chunks(WINDOW, 50_000)
    print(f"{sum(map(len, parts))} rows")
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:5]), *sys.argv[5:])
