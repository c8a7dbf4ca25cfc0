"""`closedloop upgrade`: what is due is told, what was done is told, and programs can read both."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from closedloop.cli.app import main
from closedloop.storage import revisions
from closedloop.storage.engine import open_engine
from closedloop.storage.revisions import OURS, VERSION_TABLE, Revisions
from tests.postgres import postgres, postgres_url  # noqa: F401

USE_CASE = Path(__file__).resolve().parents[3] / "data" / "streamflow" / "loop.toml"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own; the environment is put back afterwards."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": "home", "USE_CASE": str(USE_CASE), "DATA": "data"}.items():
        monkeypatch.setenv(f"CLOSEDLOOP_{name}", value)
    yield tmp_path / "home"
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def later(tmp_path: Path) -> Revisions:
    """The program as it may be one day, with a revision more."""
    folder = tmp_path / "revisions"
    shutil.copytree(OURS.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    content = (
        f'revision, down_revision = "later", "{OURS.head}"\ndef upgrade(op):\n    '
        'op.execute("DELETE FROM record_probes")\n'
    )
    (folder / "later_without_probes.py").write_text(content)
    return Revisions(folder, (*OURS.names, "later"))


def told(typed: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """What a command says on stdout; stderr has to be empty."""
    assert main(typed.split(), os.environ) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_first_time_it_makes_the_tables(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On nothing at all an upgrade is due, checking makes nothing, and after the upgrade none is
    due any more."""
    assert "upgrade needed from no tables to revision" in told("upgrade --check", capsys, code=1)
    assert not home.exists() or list(home.iterdir()) == []
    assert f"upgraded from no tables to revision {OURS.head}\n" in told("upgrade", capsys)
    assert f"nothing to do, revision {OURS.head} is the newest\n" in told("upgrade", capsys)
    assert "nothing to do" in told("upgrade --check", capsys)
    assert told("history --json", capsys) == "[]\n"


def test_programs_read_it(
    home: Path,
    later: Revisions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """--json says which database, from where, to where, whether that took anything, and where the
    file of before is."""
    told("upgrade", capsys)
    monkeypatch.setattr(revisions, "OURS", later)
    due = json.loads(told("upgrade --check --json", capsys, code=1))
    assert due == {
        "database": f"sqlite:///{home / 'closedloop.db'}",
        "from": OURS.head,
        "to": "later",
        "needed": True,
        "copy": None,
    }
    copy = home / "closedloop.db.before-later"
    assert json.loads(told("upgrade --json", capsys)) == {**due, "copy": str(copy)}
    assert copy.exists()
    assert json.loads(told("upgrade --json", capsys)) == {**due, "from": "later", "needed": False}


def test_people_read_it(
    home: Path,
    later: Revisions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From which revision to which, and where the file of before is, in one line each."""
    told("upgrade", capsys)
    monkeypatch.setattr(revisions, "OURS", later)
    database = f"sqlite:///{home / 'closedloop.db'}"
    way = f"from revision {OURS.head} to revision later"
    assert (
        told("upgrade --check", capsys, code=1)
        == f"{database}: upgrade needed {way}: closedloop upgrade\n"
    )
    assert (
        told("upgrade", capsys) == f"{database}: upgraded {way}; backup of the old file: "
        f"{home / 'closedloop.db.before-later'}\n"
    )


def test_a_server_waits_for_the_command(
    postgres_url: str,
    later: Revisions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On PostgreSQL the command makes the tables of an empty database; an older one is refused by
    the others until it has run."""
    monkeypatch.setenv("CLOSEDLOOP_DATABASE_URL", postgres_url)
    assert "upgraded from no tables" in told("upgrade", capsys)
    monkeypatch.setattr(revisions, "OURS", later)
    assert main(["history"], os.environ) == 6
    assert (
        f"wanted the tables of revision later, got revision {OURS.head}: run: closedloop upgrade\n"
        in capsys.readouterr().err
    )
    assert "backup of the old file" not in told("upgrade", capsys)
    assert told("history --json", capsys) == "[]\n"


def test_tables_from_before_the_revisions_are_noted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that no one has stamped is told to be what it is taken for."""
    told("upgrade", capsys)
    engine = open_engine(f"sqlite:///{home / 'closedloop.db'}")
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
    if OURS.head == OURS.names[0]:
        assert "upgraded to record that it is at revision 0001\n" in told("upgrade", capsys)
    engine.dispose()


@pytest.mark.parametrize("command", ["upgrade", "upgrade --check", "upgrade --json", "history"])
def test_a_newer_database_is_refused(
    home: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program is too old for it, and nothing but another program helps."""
    told("upgrade", capsys)
    engine = open_engine(f"sqlite:///{home / 'closedloop.db'}")
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    assert main(command.split(), os.environ) == 6
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "got revision 9999, of a newer closedloop: update closedloop" in err


def test_a_database_that_is_away_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its address is named without the password."""
    monkeypatch.setenv("CLOSEDLOOP_DATABASE_URL", "postgresql://someone:hidden@127.0.0.1:9/x")
    for command in ("upgrade", "upgrade --check"):
        assert main(command.split(), os.environ) == 6
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "127.0.0.1:9" in err
        assert "hidden" not in err


@pytest.mark.slow
def test_the_doctor_says_the_revision(
    postgres_url: str,
    later: Revisions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What it is at, what comes by itself, and for an older server the command."""

    def tables() -> tuple[bool, str, str]:
        main(["doctor", "--json"], os.environ)
        found = next(
            finding
            for finding in json.loads(capsys.readouterr().out)
            if finding["check"] == "tables"
        )
        return found["ok"], found["found"], found["next"]

    assert tables() == (
        True,
        f"none yet: the next command creates them at revision {OURS.head}",
        "",
    )
    assert tables() == (True, f"revision {OURS.head}, the newest", "")
    monkeypatch.setattr(revisions, "OURS", later)
    assert tables() == (
        True,
        f"revision {OURS.head}: the next command upgrades them to later",
        "",
    )
    monkeypatch.setenv("CLOSEDLOOP_DATABASE_URL", postgres_url)
    monkeypatch.setattr(revisions, "OURS", OURS)
    main(["upgrade"], os.environ)
    capsys.readouterr()
    monkeypatch.setattr(revisions, "OURS", later)
    ok, found, then = tables()
    assert not ok
    assert f"wanted the tables of revision later, got revision {OURS.head}" in found
    assert then == "run: closedloop upgrade"
