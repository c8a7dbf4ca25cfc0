"""What a candidate answered in the shadow is kept beside the request, on SQLite and on a real
PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from closedloop.errors import StoreError
from closedloop.records.labels import Label
from closedloop.records.shadow import ShadowAnswer, ShadowRecords
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from tests.postgres import postgres, postgres_url  # noqa: F401
from tests.unit.conftest import NOON
from tests.unit.records.conftest import answered, many


@pytest.fixture
def shadows(engine: Engine) -> Iterator[ShadowRecords]:
    records = ShadowRecords(engine)
    yield records
    records.close()


def _said(request: str, version: int = 4, *, error: str | None = None) -> ShadowAnswer:
    written = None if error else b'{"False":[0.4],"True":[0.6]}'
    return ShadowAnswer(request, "shop", version, written, error)


def test_both_answers_come_back_with_their_labels(records: Records, shadows: ShadowRecords) -> None:
    """Oldest first, of the version that is asked for; a corrected label is the last one."""
    records.append([answered("b", at=NOON), answered("a", at=NOON - timedelta(hours=1))])
    records.append([answered("c", at=NOON)])
    records.label_many([Label("True", id="a-000000"), Label("True", id="b-000000")], "shop")
    records.label_many([Label("False", id="b-000000", replaces=True)], "shop")
    shadows.write([_said("a"), _said("b", error="SIGSEGV"), _said("a", 5)])
    found = list(shadows.read_twice("shop", 4))
    assert [answer.request.request for answer in found] == ["a", "b"]
    assert [answer.shadow for answer in found] == [b'{"False":[0.4],"True":[0.6]}', None]
    assert [(answer.version, answer.labels) for answer in found] == [
        (3, {0: "True"}),
        (3, {0: "False"}),
    ]
    assert found[0].probabilities == b'{"False":[0.2],"True":[0.8]}'
    assert shadows.read_versions("shop") == {4: 2, 5: 1}
    assert shadows.read_versions("another") == {}


def test_an_answer_is_kept_once(records: Records, shadows: ShadowRecords) -> None:
    """Several workers, or a second try, cannot write two answers of a version to one request; more
    than a statement takes are written all the same."""
    records.append([answered(f"r{number}") for number in range(400)])
    shadows.write([_said(f"r{number}") for number in range(400)])
    shadows.write([_said("r1", error="later")])
    assert shadows.read_versions("shop") == {4: 400}
    assert all(answer.shadow for answer in shadows.read_twice("shop", 4))


def test_the_newest_requests_come_back_whole(records: Records, shadows: ShadowRecords) -> None:
    """Newest first, until there are enough rows; the last request may have more."""
    records.append([answered("a"), many("b", 5)])
    records.append([answered("c", use_case="another")])
    found = shadows.read_newest("shop", 3)
    assert [(request.request, request.rows) for request in found] == [("b", 5)]
    assert [request.request for request in shadows.read_newest("shop", 6)] == ["b", "a"]
    assert shadows.read_newest("shop", 6)[1].features == b'{"spend":[1.5],"plan":["gold"]}'


def test_they_are_deleted_with_their_requests(records: Records, shadows: ShadowRecords) -> None:
    """And with no other."""
    records.append([answered("a", at=NOON - timedelta(days=2)), answered("b", at=NOON)])
    shadows.write([_said("a"), _said("a", 5), _said("b")])
    records.delete_before("shop", NOON - timedelta(days=1))
    assert shadows.read_versions("shop") == {4: 1}


def test_a_database_that_is_away_is_an_error_of_the_store() -> None:
    """Not one of its driver, in reading and in writing."""
    away = ShadowRecords(open_engine("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(StoreError, match="read predictions"):
        away.read_newest("shop", 1)
    with pytest.raises(StoreError, match="record what a candidate answers"):
        away.write([_said("a")])
