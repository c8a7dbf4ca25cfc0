"""`closedloop forget` on a real loop: what goes, what is written down, and what is listed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from closedloop.cli.app import main
from closedloop.decisions.checks import Action, Kind
from closedloop.errors import StoreError, UseCaseError
from closedloop.operations.forget import forget, plan_erasure, tell_erasure
from closedloop.records import store
from closedloop.records.archive.error import ArchiveError
from closedloop.records.archive.folder import Archive
from closedloop.records.labels import Label
from closedloop.records.store import Records
from closedloop.storage.details import ErasureDetails
from closedloop.storage.erasure_secret import FILE, name_person
from closedloop.turn.open import Loop
from tests.answers import describe_answers
from tests.turned_loop import TurnedLoop, make_month, write_loop

pytestmark = pytest.mark.slow
DAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
# Customers of February, which the service has answered: one for each test.
ANNA, BEN, CARA, DORA, EVA = "2-117", "2-118", "2-119", "2-120", "2-121"
JANUARY = "1-5"  # one of the first file


@pytest.fixture(scope="module")
def turned(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> TurnedLoop:
    """A version that learnt from a file and from a day of records."""
    turned = write_loop(tmp_path_factory.mktemp("shop"), 1)
    make_mlflow_tables(turned.settings.home_folder)
    answered, loop = make_month(2), turned.open()
    texts = answered.astype(object).where(answered.notna(), None).astype({"active": str})
    features = {name: texts[name].tolist() for name in loop.use_case.columns}
    shares = {label: [0.5] * len(answered) for label in ("no", "yes")}
    keys = answered["customer"].tolist()
    request = describe_answers("shop", 1, features, shares, keys=keys, at=DAY)
    loop.records.append([request])
    loop.records.label_many(
        [Label(label, id=id) for label, id in zip(answered["left"], request.ids, strict=True)]
    )
    turned.train(with_records=True)
    return turned


def texts_of(loop: Loop) -> str:
    """Every row of every table as text."""
    tables = sa.MetaData()
    tables.reflect(loop.engine)
    with loop.engine.connect() as connection:
        return "\n".join(
            repr(tuple(row))
            for table in tables.sorted_tables
            for row in connection.execute(sa.select(table))
        )


def test_a_person_is_forgotten(turned: TurnedLoop) -> None:
    """Their rows go; the journal has who, when and how many, a digest and not the key; the versions
    and windows that held them are listed. A second time there is nothing left to do."""
    loop = turned.open()
    planned = plan_erasure(loop, ANNA)
    assert (planned.entry, loop.records.find_rows("shop", ANNA).rows) == (None, 1)
    done = forget(loop, ANNA, by="anna@desk")
    facts = done.facts
    assert facts == planned.facts
    assert (facts.erased_rows, facts.requests, facts.labels) == (1, 1, 1)
    assert facts.windows_of_records == ("records_2026-11-20",)
    assert (facts.trained_versions, facts.own_windows, done.unknown) == ((1,), (), ())
    assert done.entry is not None
    assert (done.entry.decision.kind, done.entry.outcome) == (Kind.ERASURE, "done")
    assert done.entry.decision.action is Action.FORGET
    assert done.entry.details == ErasureDetails(
        loop.registry.production(), "anna@desk", None, facts, None
    )
    assert f'"{ANNA}"' not in texts_of(loop)
    assert f"'{ANNA}'" not in texts_of(loop)
    assert loop.journal.read_chain("shop").faults == ()
    again = forget(loop, ANNA, by="anna@desk")
    assert (again.needed, again.entry, again.earlier) == (False, None, (done.entry.id,))


def test_the_owners_own_windows_are_looked_through(turned: TurnedLoop) -> None:
    """A person of a file is in no record: the file is named, with the versions that learnt from
    it, and stays as it is; a file that cannot be read is named, too."""
    loop = turned.open()
    unreadable = turned.folder / "2026-03.csv"
    unreadable.write_text("spend\n1\n")
    found = forget(loop, JANUARY, by="anna@desk")
    unreadable.unlink()
    assert (found.needed, found.entry) == (False, None)
    assert found.facts.own_windows == ("2026-01",)
    assert found.facts.trained_versions == (1,)
    assert found.unread == ("2026-03",)


def test_a_crash_in_the_middle_is_finished_by_the_same_command(
    turned: TurnedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written down and not removed, or removed and not overwritten: the same decision is carried
    out in the end, and until then doctor's check of the journal tells of it."""
    from closedloop.cli.examine.agreement import describe_journal

    loop = turned.open()

    def crash(*_: object) -> None:
        raise StoreError(where="disk", wanted="space", got="none", then="free some")

    for broken in ("erase_some", "wipe"):
        with monkeypatch.context() as patched:
            patched.setattr(store, broken, crash)
            with pytest.raises(StoreError):
                forget(loop, BEN, by="anna@desk")
        begun = loop.journal.history("shop", kinds=(Kind.ERASURE,))[-1]
        assert begun.outcome is None
        with pytest.raises(Exception, match="run closedloop forget once more with the same key"):
            describe_journal(loop)
    assert loop.records.find_rows("shop", BEN).rows == 0
    assert plan_erasure(loop, BEN).unfinished
    done = forget(loop, BEN, by="ben@desk")
    assert done.entry is not None
    assert (done.entry.id, done.entry.outcome) == (begun.id, "done")
    assert "decisions at" in describe_journal(loop)


def test_files_of_the_archive_go_first(turned: TurnedLoop, tmp_path: Path) -> None:
    """Those of the days with the person's rows are named before, and deleted. Where that is
    impossible, no row is erased, and the same command does it later."""
    away = tmp_path / "away"
    away.symlink_to(away)
    loop = turned.open()
    broken = replace(loop, records=Records(loop.engine, archive=Archive(str(away))))
    loop = replace(loop, records=Records(loop.engine, archive=Archive(str(tmp_path / "files"))))
    assert loop.records.archive is not None
    rows, _ = loop.records.archive_day(loop.use_case, DAY.date())
    assert rows > 1
    with pytest.raises(ArchiveError, match="archive, to list days"):
        plan_erasure(broken, EVA)
    planned = plan_erasure(loop, EVA)
    assert planned.archived == ("2026-11-20",)
    told = tell_erasure(planned, on_sqlite=True, done=False)
    assert "days whose files in the archive go as a whole: 2026-11-20" in told
    (file,) = (tmp_path / "files").rglob("*.parquet")
    forget(loop, EVA, by="anna@desk")
    assert loop.records.archive.days("shop") == ()
    loop.records.archive_day(loop.use_case, DAY.date())
    assert EVA not in pd.read_parquet(file)["_key"].tolist()
    assert EVA not in loop.records.read(loop.use_case)["customer"].tolist()


def test_a_person_who_comes_back_is_forgotten_by_another_decision(turned: TurnedLoop) -> None:
    """New requests with the key are new rows; the digest says that it is the same person."""
    loop = turned.open()
    first = forget(loop, CARA, by="anna@desk")
    at = DAY + timedelta(days=1)
    request = describe_answers("shop", 1, {"spend": [1.0]}, {"no": [1.0]}, keys=[CARA], at=at)
    loop.records.append([request])
    second = forget(loop, CARA, by="anna@desk")
    assert first.entry is not None
    assert second.entry is not None
    assert second.entry.id != first.entry.id
    assert second.facts == replace(
        first.facts,
        labels=0,
        windows_of_records=("records_2026-11-21",),
        trained_versions=(),
    )


def test_the_digest_cannot_be_made_without_the_secret(tmp_path: Path) -> None:
    """The same person of the same use case and home has the same; another use case or another home
    has another. The secret is its owner's alone."""
    first, second = tmp_path / "first", tmp_path / "second"
    for home in (first, second):
        home.mkdir()
    digest = name_person(first, "shop", "c-1")
    assert digest == name_person(first, "shop", "c-1")
    others = (name_person(first, "bank", "c-1"), name_person(second, "shop", "c-1"))
    assert len({digest, *others}) == 3
    assert (first / FILE).stat().st_mode & 0o777 == 0o600
    (first / FILE).write_text("short")
    with pytest.raises(StoreError, match="wanted 32 random bytes"):
        name_person(first, "shop", "c-1")


@pytest.mark.parametrize("key", ["", "x" * 501, "a\0b"])
def test_what_can_be_no_key_is_refused(turned: TurnedLoop, key: str) -> None:
    """Nobody was ever recorded under it."""
    with pytest.raises(UseCaseError, match="wanted a key of 1 to 500 characters"):
        plan_erasure(turned.open(), key)


def test_the_command_asks_first(turned: TurnedLoop, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run tells what would go; without a terminal to ask on it wants --yes; then it removes
    and says in JSON what a dry run had said. The key is in no output."""
    home = str(turned.settings.home_folder)

    def say(*options: str) -> tuple[int, str]:
        given = ["forget", "--key", DORA, "--use-case", str(turned.path), *options]
        code = main(given, {"CLOSEDLOOP_HOME": home})
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    code, said = say("--dry-run")
    assert code == 0
    assert "would remove 1 rows of 1 requests, 1 labels and 0 corrected labels" in said
    assert "not touched, versions that were trained on such windows: 1" in said
    code, said = say()
    assert code == 2
    assert "no terminal to ask on: look first with --dry-run, then give --yes" in said
    planned = json.loads(say("--dry-run", "--json")[1])
    code, text = say("--yes", "--json")
    done = json.loads(text)
    assert (code, planned["decision"], done["rows"]) == (0, None, 1)
    assert {**planned, "decision": done["decision"]} == done
    code, said = say("--yes")
    assert (code, f"forgotten before by decision {done['decision']}" in said) == (0, True)
    assert "no rows of this key are in the records" in said
    assert DORA not in said + text
