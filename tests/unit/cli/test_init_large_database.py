"""`init` of a database with more rows than it looks at one by one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from closedloop.cli.draft.windows import TimeOptions
from closedloop.cli.draft.write_use_case import Asked, write_use_case
from closedloop.windows import sql_source
from closedloop.windows.sql_source import SqlSource
from tests.unit.cli.test_init_large import EXAMPLE, NUMBERS, ROWS, orders, with_nulls

pytestmark = pytest.mark.slow

LOOKED_AT = 700


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of orders, with times that are not in the order of the rows; it comes in parts."""
    monkeypatch.setattr(sql_source, "_PART_ROWS", 400)
    frame = orders(x=with_nulls(NUMBERS, None, 7), code=[number % 13 for number in range(ROWS)])
    frame["at"] = frame["month"] + "-0" + (1 + frame.index % 9).astype(str) + " 10:00:00"
    address = f"sqlite:///{tmp_path / 'shop.db'}"
    engine = sa.create_engine(address)
    frame.to_sql("orders", engine, index=False)
    engine.dispose()
    return address


def init(url: str, folder: Path, looked_at: int, **options: Any) -> str:
    """What is written and told, without how many rows were looked at."""
    out = folder / "loop.toml"
    asked = Asked("returned", out, table="orders", force=True, most_looked_at=looked_at, **options)
    _, notes = write_use_case([url], asked)
    told = "\n".join((out.read_text(encoding="utf-8"), *notes))
    assert ("a sample of" in told) == (looked_at == LOOKED_AT)
    return EXAMPLE.sub("", re.sub(r".*looked at a sample .*\n", "", told))


@pytest.mark.parametrize(
    "cut", [{"window_column": "month"}, {"times": TimeOptions("at")}], ids=["month", "time"]
)
def test_a_large_table_is_sampled_and_counted(
    url: str, tmp_path: Path, cut: dict[str, Any]
) -> None:
    """It writes what it would have written had it looked at all rows."""
    assert init(url, tmp_path, LOOKED_AT, **cut) == init(url, tmp_path, 10**9, **cut)


def test_rows_may_come_in_another_order(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database promises no order: the window of a row is that of its time, not of its place."""
    wanted = init(url, tmp_path, 10**9, times=TimeOptions("at"))
    ask, asked = SqlSource.ask_in_parts, list[str]()

    def ask_shuffled(source: SqlSource, sql: str, where: str, **options: Any) -> Any:
        asked.append(sql)
        order = "order_id" if len(asked) > 1 else "rowid"
        return ask(source, f"{sql} ORDER BY {order}", where, **options)

    monkeypatch.setattr(SqlSource, "ask_in_parts", ask_shuffled)
    assert init(url, tmp_path, LOOKED_AT, times=TimeOptions("at")) == wanted
    assert len(asked) == 2
