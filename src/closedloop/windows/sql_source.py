"""Windows in a database, read by the queries of loop.toml in the database's own SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from closedloop.errors import SourceError
from closedloop.use_case.source import Source
from closedloop.windows.database_url import require_database, without_password
from closedloop.windows.query_text import fill_query
from closedloop.windows.sources import NoWindows, first_line, regroup, require_window
from closedloop.windows.sql_periods import SqlPeriods
from closedloop.windows.time_column import utc_now
from closedloop.windows.time_names import in_time_order

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Engine

Row = tuple[Any, ...]

_PART_ROWS = 10_000
# Databases in which a backslash inside quotes is a letter like any other.
_PLAIN_BACKSLASH = ("sqlite", "postgresql", "oracle", "mssql", "duckdb")


@dataclass(frozen=True)
class SqlSource:
    """Tables of the database at `url`, a SQLAlchemy address."""

    source: Source
    url: str
    now: Callable[[], datetime] = utc_now

    @cached_property
    def periods(self) -> SqlPeriods | None:
        """The rows by `time_column`, if there is one."""
        if self.source.time_column is None:
            return None
        return SqlPeriods(self.source, self.ask, self._quote, self.now)

    def windows(self) -> tuple[str, ...]:
        if self.periods is not None:
            return self.periods.windows()
        rows = self.ask(self.source.windows_query or "", "windows_query")
        names = {str(value) for value in rows.iloc[:, 0].dropna()} if rows.shape[1] else set()
        if not names:
            raise NoWindows(
                where="source database",
                wanted="rows from windows_query",
                got="none",
                then="fill the table, or fix windows_query in [source]",
            )
        return in_time_order(names)

    def read(self, window: str) -> pd.DataFrame:
        if self.periods is not None:
            return self.periods.read(window)
        return self.ask(self.fill(window), f"window {window}")

    def chunks(self, window: str, rows: int) -> Iterator[pd.DataFrame]:
        """As `InChunks.chunks`; a `time_column` without `{start}` in the query reads all rows."""
        periods = self.periods
        sql = self.fill(window) if periods is None else periods.query_of(window)
        if sql is None:
            yield self.read(window)
            return
        parts = self.ask_in_parts(sql, f"window {window}")
        frames = (make_frame(names, part) for names, part in parts)
        if periods is not None:
            frames = (periods.choose(frame, window) for frame in frames)
        yield from regroup(frames, rows)

    def remarks(self) -> tuple[str, ...]:
        """What is in no window, in words."""
        return self.periods.remarks() if self.periods is not None else ()

    def _quote(self, column: str) -> str:
        return str(self._dialect.identifier_preparer.quote_identifier(column))

    @cached_property
    def _dialect(self) -> Any:
        import sqlalchemy as sa

        require_database(self.url)
        return sa.make_url(self.url).get_dialect()()

    def ask(self, sql: str, where: str) -> pd.DataFrame:
        """The rows of one query, which only reads; raises SourceError, at `where`, without any."""
        parts = list(self.ask_in_parts(sql, where, at_once=True))
        return make_frame(parts[0][0], [row for _, rows in parts for row in rows])

    def ask_in_parts(
        self, sql: str, where: str, *, at_once: bool = False
    ) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
        """As `ask`, the names of the columns with some rows at a time, or all `at_once`."""
        import sqlalchemy as sa

        require_database(self.url)
        try:
            with _open(self.url).connect() as connection:
                # Passed on as written: text() would read a colon as a parameter, and a driver that
                # is given parameters would read a percent sign.
                as_written = connection.execution_options(
                    no_parameters=True, stream_results=not at_once
                )
                result = as_written.exec_driver_sql(sql)
                names = tuple(map(str, result.keys()))
                yield names, []
                while rows := result.fetchall() if at_once else result.fetchmany(_PART_ROWS):
                    yield names, [tuple(row) for row in rows]
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise SourceError(
                where=f"source database, {where}",
                wanted="rows",
                got=without_password(first_line(error), self.url),
                then="check that the database answers, and fix url or the queries in [source]",
            ) from None

    def fill(self, window: str) -> str:
        """The query of one window. Raises SourceError when there is no such window."""
        require_window(window, self.windows(), "source database")
        return fill_query(
            self.source.query or "",
            {"window": window},
            backslash_escapes=self._dialect.name not in _PLAIN_BACKSLASH,
        )


def make_frame(names: Sequence[str], rows: Sequence[Row]) -> pd.DataFrame:
    """Rows of a database as a frame, each column with the type of its values."""
    import pandas as pd

    if not rows:
        return pd.DataFrame(columns=pd.Index(names))
    frame = pd.concat([_as_column(values) for values in zip(*rows, strict=True)], axis=1)
    frame.columns = pd.Index(names)
    return frame


def _open(url: str) -> Engine:
    """An engine whose connections only read: without it a query could change what it reads."""
    import sqlalchemy as sa

    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _refuse_writing)
    if engine.dialect.name == "postgresql":
        return engine.execution_options(postgresql_readonly=True)
    return engine


def _refuse_writing(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA query_only = ON")


def _as_column(values: Sequence[Any]) -> pd.Series[Any]:
    """Whole numbers beside nulls stay whole: floats tell them apart only up to 2^53."""
    import pandas as pd

    column = pd.Series(values, dtype=object)
    whole = pd.api.types.infer_dtype(column, skipna=True) == "integer"
    return column if whole and column.isna().any() else column.infer_objects()
