"""Rows that come in together are answered and recorded together, and nobody notices."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest

from api.model.answer import LoadedModel
from closedloop.errors import StoreError
from tests.api.conftest import GOOD_ROW, Service


def ask_together(service: Service, bodies: list[Any]) -> list[httpx.Response]:
    """All of them in one turn of one event loop."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await asyncio.gather(*(client.post("/predict", json=body) for body in bodies))

    return asyncio.run(ask())


def rows(spends: list[float]) -> list[dict[str, Any]]:
    return [
        {**GOOD_ROW, "monthly spend": spend, "customer": f"c{number}"}
        for number, spend in enumerate(spends)
    ]


def count_requests(service: Service) -> int:
    with service.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM answers").scalar() or 0)


def test_together_they_are_one_record_and_each_has_its_own_answer(service: Service) -> None:
    """Sixteen requests, some of several rows and one outside the contract, make fewer records than
    requests; each is answered as alone, under ids that name its own rows in the records."""
    spends = [5.0 * number for number in range(20)]
    spends[3] = 600.0
    all_rows = rows(spends)
    bodies: list[Any] = [*all_rows[:14], {"rows": all_rows[14:17]}, {"rows": all_rows[17:]}]
    answers = [answer.json()["predictions"] for answer in ask_together(service, bodies)]
    made = count_requests(service)
    assert made < len(bodies)
    alone = [service.client.post("/predict", json=body).json()["predictions"] for body in bodies]
    for together, single_rows in zip(answers, alone, strict=True):
        assert [row["prediction"] for row in together] == [row["prediction"] for row in single_rows]
        assert [row["warnings"] for row in together] == [row["warnings"] for row in single_rows]
        for row, single in zip(together, single_rows, strict=True):
            assert np.allclose(
                list(row["probabilities"].values()),
                list(single["probabilities"].values()),
                atol=1e-6,
            )
    assert [len(row["warnings"]) for rows in answers for row in rows] == [0, 0, 0, 1] + [0] * 16
    ids = [row["id"] for rows in answers for row in rows]
    assert len(set(ids)) == 20
    labels = [{"id": id, "label": str(spend > 40)} for id, spend in zip(ids, spends, strict=True)]
    assert service.client.post("/labels", json={"labels": labels}).status_code == 200
    recorded = service.records.read(service.use_case).dropna(subset=["left"])
    assert len(recorded) == 20
    assert ((recorded["monthly spend"] > 40).astype(str) == recorded["left"]).all()


def test_what_the_model_fails_on_fails_alone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row that breaks the model is answered 503; those that came in with it are answered."""
    answer = LoadedModel.answer

    def answer_most(self: LoadedModel, rows: Any) -> Any:
        if any(numbers[0] == 13.0 for numbers in rows.numbers):
            raise ArithmeticError("thirteen")
        return answer(self, rows)

    monkeypatch.setattr(LoadedModel, "answer", answer_most)
    answers = ask_together(service, rows([1.0, 13.0, 3.0, 4.0]))
    assert [answer.status_code for answer in answers] == [200, 503, 200, 200]
    assert "thirteen" in answers[1].text


def test_a_lost_store_refuses_all_of_them(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came in together is refused together when it cannot be recorded, each with the
    reason."""
    lost = StoreError(where="records", wanted="a database", got="none", then="wait")

    def fail(_requests: Any) -> bool:
        raise lost

    monkeypatch.setattr(service.records, "append", fail)
    monkeypatch.setattr(service.records, "append_now", fail)
    answers = ask_together(service, rows([1.0, 2.0, 3.0]))
    assert [answer.status_code for answer in answers] == [503] * 3
    assert all("not recorded, so not answered" in answer.text for answer in answers)
