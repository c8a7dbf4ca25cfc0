"""Labels: what they name, when they are refused, and that nothing changes them by mistake.

On SQLite and on a real PostgreSQL.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, text

from closedloop.errors import LabelConflict
from closedloop.records.labels import Label, UnknownPrediction, newest_of_keys
from closedloop.records.reading import RecordCounts
from closedloop.records.store import Records
from closedloop.use_case.contract import UseCase
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered, many


def test_the_same_label_twice_is_no_error(records: Records) -> None:
    """A repeated label is accepted and counted once."""
    records.append([answered("a")])
    label = Label("True", id="a-000000")
    assert records.label_many([label]) == 1
    assert records.label_many([label]) == 0
    assert records.count("shop") == RecordCounts(predictions=1, labels=1)


def test_a_contradicting_label_names_both_values_and_changes_nothing(
    records: Records, use_case: UseCase
) -> None:
    """The recorded label stays, no other label of the request is recorded, and the error shows both
    values."""
    records.append([answered("a"), answered("b")])
    records.label_many([Label("True", id="a-000000")])
    with pytest.raises(LabelConflict, match=r"'True'.*'False'"):
        records.label_many([Label("True", id="b-000000"), Label("False", id="a-000000")])
    assert records.read(use_case)["label"].tolist() == ["True", None]


def test_labels_that_contradict_each_other_in_one_request_are_refused(records: Records) -> None:
    """A batch with two labels for the same prediction records neither."""
    records.append([answered("a", key="c1")])
    with pytest.raises(LabelConflict, match=r"'True'.*'False'"):
        records.label_many(
            [Label("True", id="a-000000"), Label("False", key="c1")], use_case="shop"
        )
    assert records.count("shop").labels == 0


def test_every_unknown_id_and_key_is_named_and_nothing_recorded(records: Records) -> None:
    """Both unknown names of a batch are in the error, and the known prediction is not labelled."""
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
    """Older predictions of the key, and those of other use cases, get no label."""
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
    """A prediction at that very microsecond counts, whatever the zone of the time; later ones do
    not."""
    first, second = NOON - timedelta(hours=2), NOON - timedelta(hours=1, microseconds=1)
    records.append(
        [
            answered("a", key="c1", at=first, spend=1.0),
            answered("b", key="c1", at=second, spend=2.0),
        ]
    )
    records.append(
        [
            answered("c", key="c1", at=NOON, spend=3.0),
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


def test_a_label_by_key_and_time_is_recorded_once(records: Records) -> None:
    """The same label is not new, by id or by another time with the same meaning, even after newer
    predictions; another label is refused with both values."""
    records.append([answered("a", key="c1", at=NOON - timedelta(hours=2))])
    given = Label("True", key="c1", at=NOON - timedelta(hours=1))
    assert records.label_many([given], use_case="shop") == 1
    records.append([answered("b", key="c1", at=NOON)])
    again = [
        given,
        Label("True", key="c1", at=NOON - timedelta(hours=2)),
        Label("True", id="a-000000"),
    ]
    assert records.label_many(again, use_case="shop") == 0
    with pytest.raises(LabelConflict, match=r"a-000000.*'True'.*'False'"):
        records.label_many([Label("False", key="c1", at=given.at)], use_case="shop")
    assert records.count("shop").labels == 1


def test_a_key_without_a_prediction_up_to_its_time_is_unknown(records: Records) -> None:
    """Key and time are named with the other unknown names, and no label is recorded."""
    records.append([answered("a", key="c1", at=NOON)])
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


def test_the_newest_of_a_key_is_a_single_index_lookup(engine: Engine, records: Records) -> None:
    """The database finds the prediction of a key and time through the primary key, without
    sorting."""
    records.append([answered("a", key="c1")])
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[engine.dialect.name]
    asked = newest_of_keys([("c1", NOON)], "shop", engine.dialect.name)
    query = str(asked.compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Otherwise it reads a table with a single row whole.
            connection.execute(text("SET LOCAL enable_seqscan = off"))
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
def test_a_time_without_meaning_is_refused(named: dict[str, Any]) -> None:
    """A time beside an id, or without a zone, is refused before anything is looked up."""
    with pytest.raises(ValueError, match="needs a key and a time zone"):
        Label("True", **named)


def test_each_row_of_a_request_has_its_own_id_and_label(
    records: Records, use_case: UseCase
) -> None:
    """Each row of a request has an id, a key and a label of its own; rows come back in order."""
    records.append([many("r1", 3, ["c1", None, "c1"]), many("r2", 2)])
    records.label_many(
        [Label("False", id="r1-000001"), Label("True", key="c1"), Label("True", id="r2-000000")],
        use_case="shop",
    )
    frame = records.read(use_case)
    assert frame["customer"].tolist() == [
        "c1",
        "r1-000001",
        "c1",
        "r2-000000",
        "r2-000001",
    ]
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
    """A row after the last, another spelling of a row and an unknown request are refused."""
    records.append([many("r1", 3)])
    with pytest.raises(UnknownPrediction, match="labels: wanted predictions that were recorded"):
        records.label_many([Label("True", id="r1-000001"), Label("True", id=id)], use_case="shop")
    assert records.count("shop").labels == 0


def test_a_label_for_another_use_cases_prediction_is_unknown(records: Records) -> None:
    """An id belongs to its use case: the service of another use case does not know it."""
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


def test_two_writers_of_contradicting_labels_leave_one_winner(engine: Engine) -> None:
    """Of two different labels at the same moment exactly one is recorded; the other writer gets a
    LabelConflict."""
    stores = [Records(engine, now=lambda: NOON) for _ in range(2)]
    stores[0].append([answered(f"p{number}") for number in range(20)])
    barrier = Barrier(2, timeout=20)

    def write(store: Records, label: str) -> int:
        won = 0
        for number in range(20):
            barrier.wait()
            try:
                won += store.label_many([Label(label, id=f"p{number}-000000")])
            except LabelConflict:
                continue
        return won

    with ThreadPoolExecutor(2) as pool:
        wins = list(pool.map(write, stores, ["True", "False"]))
    assert sum(wins) == 20
    assert stores[0].count("shop").labels == 20
