"""Every mistake ends in one sentence on stderr and the exit code of its kind; stdout stays empty
for the program that reads it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from closedloop.cli.app import main
from closedloop.cli.plain_text import plain
from closedloop.errors import (
    StoreError,
    UseCaseError,
)
from closedloop.use_case.loop_toml import load_use_case
from tests.unit.cli.printed import sentence

REPOSITORY = Path(__file__).resolve().parents[3]
USE_CASE = REPOSITORY / "data" / "streamflow" / "loop.toml"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in with a home inside it, and the built-in use case without data; the
    environment is put back afterwards."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": "home", "USE_CASE": str(USE_CASE), "DATA": "data"}.items():
        monkeypatch.setenv(f"CLOSEDLOOP_{name}", value)
    (tmp_path / "data").mkdir()
    (tmp_path / "rows.csv").write_text("age,left\n" + "31,yes\n47,no\n" * 4)
    (tmp_path / "broken.toml").write_text("name = \n")
    (tmp_path / "misspelt.toml").write_text('name = "x"\ntraget = 1\n')
    shutil.copy(tmp_path / "rows.csv", tmp_path / "rows.parquet")
    (tmp_path / "deep.toml").write_text(f"name = {100_000 * '['}")
    (tmp_path / "deep.json").write_text(100_000 * "[")
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


# What is typed, the exit code, and words of the sentence: what was wanted or came, and what to do.
MISTAKES = [
    ("status --use-case nowhere", 2, ["nothing at nowhere", "closedloop init"]),
    ("status --use-case broken.toml", 2, ["a TOML file", "fix that line"]),
    ("status --use-case misspelt.toml", 2, ["traget", "did you mean target?"]),
    ("monitor", 3, ["got none", "closedloop generate"]),
    ("monitor --source rows", 2, ["windows or records", "got rows"]),
    ("monitor --all --window a", 2, ["one window, or many with --all", "monitor --from a"]),
    ("train", 3, ["got none", "closedloop generate"]),
    ("why 1", 6, ["the id of a decision", "got 1", "closedloop history"]),
    ("why 1 --json", 6, ["the id of a decision", "closedloop history"]),
    ("predict rows.csv scores.xlsx", 3, [".csv or .parquet", "got .xlsx"]),
    ("predict rows.csv rows.csv", 3, ["a file other than IN", "choose another OUT"]),
    ("migrate", 2, ["--to-database: wanted an address", "CLOSEDLOOP_TO_DATABASE_URL"]),
    (
        "migrate --to-database sqlite:///there.db",
        2,
        ["--to-mlflow: wanted an address", "CLOSEDLOOP_TO_MLFLOW_URL"],
    ),
    (
        "migrate --to-database sqlite:///there.db --to-mlflow mlflow.db",
        2,
        ["--to-mlflow", "the address of an MLflow server"],
    ),
    ("init other/sales.csv --target left", 3, ["no such file", "name a file that exists"]),
    ("init row.csv --target left", 3, ["no such file", "did you mean rows.csv?"]),
    ("init data --target left", 3, ["CSV or Parquet files with rows", "name another folder"]),
    ("init rows.csv --target lfet", 2, ["a column of the table", "got lfet", "did you mean left?"]),
    ("init rows.csv --target left --out misspelt.toml", 2, ["one that exists", "--force"]),
    (
        "init rows.csv --target left --out rows.csv/loop.toml",
        2,
        ["a file that can be written", "choose another --out"],
    ),
    ("init rows.parquet --target left", 3, ["rows.parquet", "wanted"]),
    ("monitor --window=", 2, ["--window: wanted a value", "leave the option out"]),
    ("status --use-case deep.toml", 2, ["a TOML file", "recursion"]),
]


@pytest.mark.parametrize(
    ("typed", "code", "words"), MISTAKES, ids=[typed for typed, *_ in MISTAKES]
)
def test_a_mistake_is_one_sentence(
    typed: str, code: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wanted, what came and what to do, with the exit code of its kind."""
    assert main(typed.split(), os.environ) == code
    said = sentence(capsys.readouterr())
    assert all(word in said for word in words), said


def test_a_column_kept_out_of_the_records_stops_only_what_needs_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records that lack a column are no windows: a turn on them is refused, and whoever only looks
    at what is kept out of training or on probation, or lists windows for Prefect's page, goes on
    without them."""
    assert main(["init", "rows.csv", "--target", "left", "--out", "kept.toml"], os.environ) == 0
    described = (place / "kept.toml").read_text()
    (place / "kept.toml").write_text(
        described.replace("[columns.age]", "[columns.age]\nrecord = false")
    )
    case = ["--use-case", "kept.toml"]
    capsys.readouterr()
    assert main(["monitor", "--source", "records", *case], os.environ) == 2
    assert "none of age: record = false" in sentence(capsys.readouterr())
    assert main(["quarantine", *case], os.environ) == 0
    assert main(["probation", *case], os.environ) == 0
    assert "nothing is on probation" in capsys.readouterr().out

    from flows.prefect_client.window_choices import list_windows

    assert list_windows(load_use_case(place / "kept.toml")) == ()


@pytest.mark.parametrize(
    "typed",
    [
        ["monitor", "--window", ""],
        ["init", "", "--target", "left"],
        ["init", "rows.csv", "--target="],
        ["rollback", "--use-case", ""],
    ],
)
def test_an_empty_argument_is_refused(typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It comes from a script whose variable is not set, and would mean the default."""
    assert main(typed, os.environ) == 2
    assert "wanted a value, got an empty one" in sentence(capsys.readouterr())


def test_a_name_is_no_command_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither for its colours nor for the direction of its text."""
    assert main(["init", "\x1b]0;title\x07\x1b[31m\u202egpj.csv", "--target", "x"], os.environ) == 3
    said = sentence(capsys.readouterr())
    assert "\\x1b]0;title\\x07\\x1b[31m\\u202egpj.csv" in said
    assert plain("[red]\x1b\n") == "\\[red]\\x1b\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value", "typed", "code", "words"),
    [
        (
            "CLOSEDLOOP_PORT",
            "abc",
            "status",
            2,
            ["CLOSEDLOOP_PORT", "a valid integer", "'abc'", ".env"],
        ),
        (
            "CLOSEDLOOP_FOLLOW_SECONDS",
            "soon",
            "history",
            2,
            ["CLOSEDLOOP_FOLLOW_SECONDS", "'soon'"],
        ),
        (
            "CLOSEDLOOP_HOME",
            "rows.csv/home",
            "history",
            2,
            ["CLOSEDLOOP_HOME", "which is a file", "a folder of your own"],
        ),
        (
            "CLOSEDLOOP_DATABASE_URL",
            "nonsense",
            "history --json",
            6,
            ["CLOSEDLOOP_DATABASE_URL", "fix the address"],
        ),
        (
            "CLOSEDLOOP_DATABASE_URL",
            "postgresql://someone:hidden@127.0.0.1:9/x",
            "history",
            6,
            ["127.0.0.1:9", "closedloop doctor"],
        ),
        (
            "MLFLOW_TRACKING_URI",
            "http://127.0.0.1:9",
            "status --json",
            4,
            ["http://127.0.0.1:9", "closedloop doctor"],
        ),
        (
            "CLOSEDLOOP_API_KEYS_FILE",
            "deep.json",
            "key list",
            1,
            ["a file of API keys", "nested too deeply"],
        ),
        ("CLOSEDLOOP_MLFLOW_URL", "http://127.0.0.1:9", "promote 1", 4, ["http://127.0.0.1:9"]),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    variable: str,
    value: str,
    typed: str,
    code: int,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A setting that cannot be obeyed, or a server that is not there, is named as the user wrote
    it; a password is not shown."""
    monkeypatch.setenv(variable, value)
    assert main(typed.split(), os.environ) == code
    said = sentence(capsys.readouterr())
    assert all(word in said for word in words), said
    assert "hidden" not in said


@pytest.mark.parametrize("typed", ["history --json", "status", "why 1"])
def test_a_damaged_database_is_named(
    typed: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is no database is a mistake of the store, said with its path."""
    (place / "home").mkdir()
    (place / "home" / "closedloop.db").write_text(
        "this is no database, and long enough to be looked at"
    )
    assert main(typed.split(), os.environ) == StoreError.exit_code
    assert "home/closedloop.db" in sentence(capsys.readouterr())


@pytest.mark.parametrize(
    "typed",
    [
        "nonsense",
        "why",
        "why seven",
        "monitor --window",
        "serve --port 99999",
        "history --last 0",
        "init rows.csv",
    ],
)
def test_what_cannot_be_understood_is_a_usage_error(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words that no command takes end with exit code 2 and the way to the help, on stderr."""
    assert main(typed.split(), os.environ) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error" in err


@pytest.mark.parametrize("typed", ["serve", "up"])
def test_a_port_that_is_taken_is_named(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started, the port and what to do about it are said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("CLOSEDLOOP_PORT", str(port))
        monkeypatch.setenv("CLOSEDLOOP_MLFLOW_PORT", str(port))
        assert main([typed], os.environ) == 1
    said = sentence(capsys.readouterr())
    assert f"port {port} on 127.0.0.1" in said
    assert "stop what uses it" in said
    assert ("CLOSEDLOOP_MLFLOW_PORT" in said) is (typed == "up")


def test_a_cron_line_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped schedule is noticed before anything is started, not at six in the morning."""
    assert main(["up", "--cron", "0 25 * * *"], os.environ) == UseCaseError.exit_code
    assert (
        "--cron: wanted cron's hour must be between 0 and 23, as *, a number, a range from low to "
        "high, a step or a list of these, got '0 25 * * *'" in sentence(capsys.readouterr())
    )


def test_a_host_that_is_not_ours_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """An address of another machine is not a question of the port."""
    assert main(["serve", "--host", "192.0.2.1", "--port", "8080"], os.environ) == 1
    assert "an address of this machine" in sentence(capsys.readouterr())


def test_a_refused_init_leaves_nothing(place: Path) -> None:
    """A table that does not fit leaves no half-written file behind."""
    before = sorted(place.iterdir())
    assert main(["init", "rows.csv", "--target", "lfet", "--out", "new.toml"], os.environ) == 2
    assert sorted(path for path in place.iterdir() if path.name != "home") == before
