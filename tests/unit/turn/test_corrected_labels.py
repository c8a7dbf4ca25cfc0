"""Labels that were corrected after a decision: the next turn measures them anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.records.labels import Label
from closedloop.storage.details import RealisedFacts, TurnDetails
from closedloop.turn.corrected_labels import count_corrections
from closedloop.turn.history import History
from closedloop.turn.realised import realised_before
from tests.answers import describe_answers
from tests.turned_loop import make_month, write_loop

pytestmark = pytest.mark.slow
FIRST_DAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAYS = ("records_2026-11-20", "records_2026-11-21")


def test_what_production_realised_is_measured_anew(
    tmp_path: Path, make_mlflow_tables: Callable[[Path], None]
) -> None:
    """An AUC that an earlier turn wrote down counts until labels of its window are corrected; then
    the window is scored again, on the labels as they are now."""
    turned = write_loop(tmp_path, 1)
    make_mlflow_tables(turned.settings.home_folder)
    turned.train()
    loop = turned.open(with_records=True)
    requests = []
    for day in range(2):
        month = make_month(2 + day)
        texts = month.astype(object).where(month.notna(), None).astype({"active": str})
        features = {name: texts[name].tolist() for name in loop.use_case.columns}
        shares = {label: [0.5] * len(month) for label in ("no", "yes")}
        at = FIRST_DAY + timedelta(days=day)
        requests.append(describe_answers("shop", 1, features, shares, at=at))
        loop.records.append(requests[-1:])
        loop.records.label_many(
            [Label(label, id=id) for label, id in zip(month["left"], requests[-1].ids, strict=True)]
        )
    written = loop.journal.write(
        "shop/first day",
        "shop",
        Decision(Kind.RETRAINING, Action.KEEP, DAYS[0], ()),
        details=TurnDetails(1, realised=RealisedFacts(DAYS[0], 0.987, quarantined=False)),
    )
    assert realised_before(History(loop, DAYS[1]), DAYS[1]) == ((0.987, 0.0),)
    assert count_corrections(loop, [written]) == {}

    known = loop.records.read(loop.use_case, until=FIRST_DAY + timedelta(hours=1))["left"]
    flipped = [
        Label("no" if label == "yes" else "yes", id=id, replaces=True)
        for label, id in zip(known, requests[0].ids, strict=True)
    ]
    loop.records.label_many(flipped[: len(flipped) // 2])
    ((anew, error),) = realised_before(History(loop, DAYS[1]), DAYS[1])
    assert 0.3 < anew < 0.7
    assert 0.01 < error < 0.1
    assert count_corrections(loop, [written]) == {written.id: len(flipped) // 2}
