"""`closedloop init` of a database, and a loop.toml that reads one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from closedloop.cli.app import main
from closedloop.errors import SourceError
from closedloop.use_case.loop_toml import load_use_case
from closedloop.use_case.source import Source
from closedloop.windows.contract_check import check_contract
from closedloop.windows.database_url import without_password
from closedloop.windows.open_source import open_source
from closedloop.windows.prepare import prepare
from closedloop.windows.sql_source import SqlSource
from tests.postgres import postgres, postgres_url  # noqa: F401

DOCS = Path(__file__).resolve().parents[3] / "docs"
MONTHS = ("2025-12", "2026-01", "2026-02")
ROWS = 60


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("place")]


def fill(url: str) -> str:
    """A table of orders of three months, in a database that exists or in a new file."""
    rng, rows = np.random.default_rng(0), ROWS * len(MONTHS)
    frame = pd.DataFrame(
        {
            "order_id": [f"o{number}" for number in range(rows)],
            "month": np.repeat(MONTHS, ROWS),
            "at": np.repeat([f"{month}-27 10:00:00" for month in MONTHS], ROWS),
            "amount": rng.normal(50, 9, rows).round(2) + 0.001,
            "returned": rng.choice(["no", "yes"], rows),
        }
    )
    engine = sa.create_engine(url)
    frame.to_sql("orders", engine, index=False)
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A filled database."""
    if request.param == "sqlite":
        return fill(f"sqlite:///{tmp_path / 'shop.db'}")
    found: str = request.getfixturevalue("postgres_url")
    return fill(found.replace("postgresql://", "postgresql+psycopg://"))


def init(*arguments: str) -> int:
    return main(["init", *arguments, "--target", "returned"], os.environ)


@pytest.mark.parametrize(
    "rows",
    [
        ("--table", "orders"),
        ("--query", "SELECT order_id, month, at, amount, returned FROM orders;"),
    ],
)
@pytest.mark.parametrize("cut", [("--window-column", "month"), ("--time-column", "at")])
def test_init_of_a_database_writes_a_source_that_reads_it(
    url: str, rows: tuple[str, ...], cut: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every month has its rows, under SQLite and PostgreSQL."""
    assert init(url, *rows, *cut) == 0
    assert "3 windows, 2025-12 to 2026-02" in capsys.readouterr().out
    use_case = load_use_case(Path("loop.toml"))
    assert (use_case.name, use_case.key, "amount" in use_case.columns) == (
        "orders",
        "order_id",
        True,
    )
    source = open_source(use_case)
    assert source.windows() == MONTHS
    assert [len(source.read(window)) for window in MONTHS] == [ROWS] * 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("sqlite:///shp.db --table orders --window-column month", 3, "did you mean shop.db?"),
        ("sqlite:///shop.db --table ordres --window-column month", 3, "did you mean orders?"),
        ("sqlite:///shop.db --table orders", 2, "wanted --window-column or --time-column"),
        ("sqlite:///shop.db --window-column month", 2, "wanted --query or --table"),
        (
            "postgresql://me:secret@h/d --table orders --window-column month",
            3,
            "write postgresql+psycopg:// before the rest of the address",
        ),
        (
            "postgresql+psycopg://me:secret@127.0.0.1:1/d --table orders --window-column month",
            3,
            "Connection refused",
        ),
        ("shop.csv --table orders", 2, "wanted the address of a database"),
    ],
)
def test_what_is_wrong_with_a_database_is_said(
    arguments: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wanted and found; no file is written, no database created, no password shown."""
    fill("sqlite:///shop.db")
    assert init(*arguments.split()) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert "secret" not in printed.out + printed.err
    assert not Path("loop.toml").exists()
    assert [path.name for path in Path().glob("*.db")] == ["shop.db"]


def test_a_password_is_neither_written_nor_printed(
    postgres_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The variable is named instead, with the line that sets it."""
    parsed = sa.make_url(fill(postgres_url.replace("postgresql://", "postgresql+psycopg://")))
    address = parsed.set(password="se@cret").render_as_string(hide_password=False)
    assert init(address, "--table", "orders", "--window-column", "month") == 0
    printed, written = capsys.readouterr().out, Path("loop.toml").read_text()
    assert "export CLOSEDLOOP_SOURCE_URL='postgresql+psycopg://closedloop:***@" in printed
    assert 'url = "$CLOSEDLOOP_SOURCE_URL"' in written
    assert "cret" not in printed + written


def test_a_password_is_hidden_in_whatever_is_said() -> None:
    """In an address and in the words of a driver, as typed and as meant."""
    server = "postgresql+psycopg://me:se%40cret@h/d"
    assert without_password(server, server) == "postgresql+psycopg://me:***@h/d"
    assert without_password("no se@cret here", server) == "no *** here"
    option = "sqlite:///shop.db?password=hidden"
    assert without_password(option, option) == "sqlite:///shop.db?password=***"


def test_a_typo_in_the_path_of_sqlite_creates_no_database(tmp_path: Path) -> None:
    """Neither windows nor rows are looked for in an empty database; one in memory is none."""
    fill("sqlite:///shop.db")
    source = Source(kind="sql", url="x", windows_query="SELECT 'a'", query="SELECT 1")
    with pytest.raises(SourceError, match=r"the SQLite file shop\.bd.*did you mean shop\.db\?"):
        SqlSource(source, "sqlite:///shop.bd").windows()
    assert not Path("shop.bd").exists()
    assert SqlSource(source, "sqlite://").windows() == ("a",)
    assert SqlSource(source, "sqlite:///file:shop.db?mode=ro&uri=true").windows() == ("a",)


def test_the_documented_loop_of_a_database_runs(url: str) -> None:
    """The loop.toml in docs/own-table.md reads the table that it describes."""
    text = (DOCS / "own-table.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```ini\n(name = .*?)```", text, re.DOTALL)
    Path("loop.toml").write_text(block, encoding="utf-8")
    use_case = load_use_case(Path("loop.toml"))
    source = open_source(use_case, environ={"CLOSEDLOOP_SOURCE_URL": url})
    assert source.windows() == MONTHS
    raw = source.read("2026-01")
    assert len(raw) == ROWS
    assert check_contract(raw, prepare(raw, use_case), use_case) == ()


def test_the_address_of_a_database_may_stand_in_a_file_of_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """.env holds CLOSEDLOOP_SOURCE_URL, and doctor reads the windows by it."""
    address = fill("sqlite:///shop.db")
    assert init(address, "--table", "orders", "--window-column", "month") == 0
    written = Path("loop.toml").read_text().replace(address, "$CLOSEDLOOP_SOURCE_URL")
    Path("loop.toml").write_text(written)
    Path(".env").write_text(f"CLOSEDLOOP_SOURCE_URL={address}\n")
    main(["doctor", "--use-case", "loop.toml"], os.environ)
    said = " ".join(capsys.readouterr().out.split())
    assert f"newest window: 2026-02, {ROWS} rows, keeps the contract" in said
    assert "that loop.toml does not name" not in said
