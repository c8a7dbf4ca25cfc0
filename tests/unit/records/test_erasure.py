"""One person's rows are erased for good; the rows of others stay as they are, with their ids."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, select, text

from closedloop.errors import StoreError
from closedloop.records import store
from closedloop.records.erasure import MAX_ROWS
from closedloop.records.labels import Label, UnknownPrediction
from closedloop.records.reading import RecordCounts
from closedloop.records.request import AnsweredRequest
from closedloop.records.store import Records
from closedloop.records.tables import ANSWERS, CORRECTIONS, KEYS, LABELS
from closedloop.storage.engine import open_engine
from closedloop.use_case.contract import UseCase
from tests.answers import describe_answers
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered, many

ANNA, BEN = "anna@example.org", "ben@example.org"


def shared(request: str, keys: list[str | None], *, packed: bool = False) -> AnsweredRequest:
    """A request whose rows name their people in a column; `packed` writes numbers as bytes."""
    import numpy as np

    rows = len(keys)
    spend: Any = [float(row) for row in range(rows)]
    features: dict[str, Any] = {"spend": spend, "plan": [f"plan of {key}" for key in keys]}
    made = describe_answers(
        "shop",
        3,
        features,
        {"False": [0.2] * rows, "True": [0.8] * rows},
        request=request,
        keys=keys,
    )
    if not packed:
        return made
    from closedloop.records.request import to_json

    features["spend"] = np.asarray(spend, dtype="<f8").tobytes()
    return AnsweredRequest(
        made.request, made.use_case, 3, rows, to_json(features), made.probabilities, keys, made.at
    )


def everything(engine: Engine) -> str:
    """All rows of the records as text."""
    with engine.connect() as connection:
        return "\n".join(
            repr(tuple(row))
            for table in (ANSWERS, KEYS, LABELS, CORRECTIONS)
            for row in connection.execute(select(table))
        )


@pytest.mark.parametrize("packed", [False, True])
def test_a_persons_rows_are_erased_and_the_others_stay(
    records: Records, engine: Engine, use_case: UseCase, packed: bool
) -> None:
    """Whole requests go; in one that others share, their rows keep values, labels and ids, and the
    erased row is no prediction any more, by key or by id. The same again erases nothing."""
    records.append([shared("own", [ANNA]), shared("both", [BEN, ANNA, BEN, None], packed=packed)])
    records.label_many([Label("True", id=f"both-00000{row}") for row in range(4)])
    records.label_many([Label("False", id="both-000001", replaces=True)])
    records.label_many([Label("True", id="own-000000")])
    found = records.find_rows("shop", ANNA)
    assert (found.rows, found.requests, found.labels, found.corrections) == (2, 2, 2, 1)
    assert records.erase("shop", ANNA) == 2
    assert ANNA not in everything(engine)
    assert records.count("shop") == RecordCounts(predictions=3, labels=3)
    frame = records.read(use_case)
    assert frame["spend"].tolist() == [0.0, 2.0, 3.0]
    assert frame["customer"].tolist() == [BEN, BEN, "both-000003"]
    assert frame["label"].tolist() == ["True"] * 3
    for given in (Label("True", id="both-000001"), Label("True", key=ANNA)):
        with pytest.raises(UnknownPrediction):
            records.label_many([given], "shop")
    assert records.label_many([Label("False", id="both-000002", replaces=True)], "shop") == 1
    assert records.erase("shop", ANNA) == 0
    assert records.erase("shop", BEN) == 2
    assert records.count("shop").predictions == 1
    assert records.delete_before("shop", NOON + timedelta(days=1)) > 0


def test_the_same_key_of_another_use_case_stays(records: Records) -> None:
    """A key names a person of one use case."""
    records.append([answered("a", key=ANNA), answered("b", key=ANNA, use_case="bank")])
    assert records.erase("shop", ANNA) == 1
    assert records.find_rows("bank", ANNA).rows == 1


def test_many_rows_take_many_transactions(
    records: Records, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between leaves whole transactions; the same call goes on from there."""
    records.append([many("r", 450, [ANNA] * 450)])
    real, calls = store.erase_some, iter([False, True])

    def crash_at_second(*given: Any) -> tuple[str, ...]:
        if next(calls):
            raise RuntimeError("killed")
        return real(*given)

    with monkeypatch.context() as patched:
        patched.setattr(store, "erase_some", crash_at_second)
        with pytest.raises(RuntimeError):
            records.erase("shop", ANNA)
    assert records.find_rows("shop", ANNA).rows == 250
    assert records.erase("shop", ANNA) == 250
    assert everything(engine) == ""


def test_rows_that_are_recorded_meanwhile_are_erased_too(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that arrives between two transactions of the erasure is found by the next one."""
    records.append([many("r", MAX_ROWS, [ANNA] * MAX_ROWS)])
    real, arriving = store.erase_some, [answered("late", key=ANNA)]

    def arrive(*given: Any) -> tuple[str, ...]:
        ids = real(*given)
        if arriving:
            # Another connection: it waits for this transaction, so it is written right after it.
            thread = Thread(target=records.append, args=([arriving.pop()],))
            thread.start()
            threads.append(thread)
        return ids

    threads: list[Thread] = []
    sleep = store.time.sleep

    def let_it_write(seconds: float) -> None:
        for thread in threads:
            thread.join()
        sleep(seconds)

    monkeypatch.setattr(store, "erase_some", arrive)
    monkeypatch.setattr(store.time, "sleep", let_it_write)
    assert records.erase("shop", ANNA) == MAX_ROWS + 1
    assert records.find_rows("shop", ANNA).rows == 0


@pytest.fixture
def file_engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'records.db'}")
    # As SQLite is built by default; some distributions build it with ON.
    sa.event.listen(engine, "connect", lambda made, _: made.execute("PRAGMA secure_delete=OFF"))
    yield engine
    engine.dispose()


def test_no_byte_of_them_is_left_in_sqlites_files(tmp_path: Path, file_engine: Engine) -> None:
    """Neither in the database nor in its log, while a service keeps its connection open and answers
    others; before, the bytes are there."""
    records, service = Records(file_engine), Records(file_engine)
    for number in range(300):
        other = f"{7919 * number % 1000:03}@example.org"  # in no order
        service.append([shared(f"r{number:03}", [other, ANNA if number % 3 else BEN])])
    service.label_many([Label("True", key=ANNA)], "shop")

    def left() -> bool:
        # Other requests have moved cells between pages; copies of them may be anywhere.
        return any(ANNA.encode() in path.read_bytes() for path in tmp_path.glob("records.db*"))

    assert left()
    assert records.erase("shop", ANNA) == 200
    assert not left()
    service.append([answered("next", key=BEN)])
    assert records.count("shop").predictions == 401
    service.close()


def test_a_reader_that_is_in_the_way_is_told(
    tmp_path: Path, file_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads an older state still needs it: the rows are gone, their bytes are not, and the
    error says to run it again; then they are."""
    records = Records(file_engine)
    records.append([answered("a", key=ANNA)])
    sa.event.listen(
        file_engine, "checkout", lambda driver, *_: driver.execute("PRAGMA busy_timeout=50")
    )
    with open_engine(str(file_engine.url)).connect() as reading:
        reading = reading.execution_options(closedloop_reads=True)
        reading.execute(text("SELECT count(*) FROM answers"))
        with pytest.raises(StoreError, match="run the same command again"):
            records.erase("shop", ANNA)
    assert records.erase("shop", ANNA) == 0
    files = list(tmp_path.glob("records.db*"))
    assert not any(ANNA.encode() in path.read_bytes() for path in files)


def test_what_a_candidate_answered_beside_production_goes_too(
    records: Records, engine: Engine
) -> None:
    """Its answers to a whole request are deleted; in a shared one they become null."""
    records.append([shared("own", [ANNA]), shared("both", [BEN, ANNA])])
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO shadow_answers (request, version, use_case, probabilities) VALUES "
                "('own', 4, 'shop', '{\"True\": [0.7]}'), "
                "('both', 4, 'shop', '{\"True\": [0.25, 0.75]}')"
            )
        )
    records.erase("shop", ANNA)
    with engine.connect() as connection:
        left = connection.execute(text("SELECT request, probabilities FROM shadow_answers")).all()
    assert [tuple(row) for row in left] == [("both", '{"True":[0.25,null]}')]
