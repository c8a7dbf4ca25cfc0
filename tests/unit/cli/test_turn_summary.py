"""What `monitor` and `train` say after every turn, and the exit codes for a shell."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.turn_summary import EXIT_CODES, summarise, tell
from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.registry.registry import Registry
from closedloop.settings import Settings
from closedloop.storage.details import (
    ComparisonFacts,
    DriftFacts,
    PromotionDetails,
    RealisedFacts,
    TurnDetails,
    WindowFacts,
)
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.open import Loop
from closedloop.use_case.loop_toml import parse_use_case
from tests.mlflow_in_memory import MemoryClient
from tests.unit.streams import CONTENT

AT = datetime(2026, 4, 1, tzinfo=UTC)
LOOKED = TurnDetails(
    1,
    WindowFacts(1500, 1480, "d"),
    DriftFacts(0.125, ("fee",), False, False),
    RealisedFacts("2026-04", 0.7178),
)
COMPARED = PromotionDetails(1, ComparisonFacts("logistic/all", "2026-04", 0.73, 0.7178, 0.0122))


def entry(action: Action, outcome: str | None = "done") -> Entry:
    """A decision of a turn on 2026-04."""
    kind = (
        Kind.ROLLBACK
        if action is Action.ROLLBACK
        else Kind.PROMOTION
        if action in (Action.PROMOTE, Action.REJECT)
        else Kind.RETRAINING
    )
    details = COMPARED if kind is Kind.PROMOTION else LOOKED
    decision = Decision(kind, action, "2026-04", (), 2 if details is COMPARED else 1)
    return Entry(1, "key", "shop", decision, details, Origin.LOOP, None, AT, outcome)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """Version 1 is live; it was promoted with an AUC of 0.7635."""
    registry, nothing = Registry("shop", "memory", artifacts=tmp_path, downloads=tmp_path), None
    registry._client_made = MemoryClient()
    tags = {"window": "2026-01", "val_auc": "0.7635"}
    first = registry.register("key", "run", tags)
    registry.promote(first, instead_of=None, reason="first")
    registry.register("other", "run", {**tags, "val_auc": "0.73"})
    use_case = parse_use_case(CONTENT, tmp_path / "loop.toml")
    parts: Any = nothing
    return Loop(use_case, Settings(home=tmp_path), parts, parts, parts, registry, parts)


KEEP, RETRAIN = Action.KEEP, Action.RETRAIN
RESULTS = [
    ([entry(KEEP)], "kept", 0),
    ([entry(RETRAIN), entry(Action.PROMOTE)], "promoted", 10),
    ([entry(RETRAIN), entry(Action.REJECT)], "rejected", 11),
    ([entry(Action.ESCALATE)], "escalated", 12),
    ([entry(Action.ROLLBACK)], "rolled back", 13),
    ([entry(RETRAIN), entry(Action.WAIT, None)], "waiting", 15),
    ([entry(RETRAIN), entry(Action.WAIT), entry(Action.PROMOTE)], "promoted", 10),
    ([entry(RETRAIN), entry(Action.WAIT, "superseded"), entry(Action.REJECT)], "rejected", 11),
    ([entry(RETRAIN, None)], "not carried out", 14),
    ([entry(RETRAIN), entry(Action.PROMOTE, "superseded")], "not carried out", 14),
]


@pytest.mark.parametrize(("entries", "result", "code"), RESULTS)
def test_exit_codes_tell_apart_what_came_of_a_turn(
    loop: Loop, entries: list[Entry], result: str, code: int
) -> None:
    """The last decision of a turn says it; errors end below 10, so that no code has two
    meanings."""
    found = summarise(loop, entries)
    assert (found.result, found.exit_code, found.as_json()["exit_code"]) == (result, code, code)
    assert len({*EXIT_CODES.values()}) == len(EXIT_CODES)
    assert all(other == 0 or other >= 10 for other in EXIT_CODES.values())


def test_a_turn_that_changes_nothing_says_what_it_found(loop: Loop) -> None:
    """Rows, labels, drift with its limit, the live AUC beside that of the promotion, the version:
    for people and, with the same numbers, for programs."""
    found = summarise(loop, [entry(KEEP)])
    assert tell(found) == {
        "window": "2026-04: 1,500 rows, 1,480 with a label",
        "drift": "drift_share 0.12, limit 0.30 (fee)",
        "quality": "realised AUC 0.7178 on 2026-04; 0.7635 at the promotion of version 1",
        "production": "version 1",
    }
    expected = {
        "rows": 1500,
        "labelled_rows": 1480,
        "drift_share": 0.125,
        "max_drift_share": 0.3,
        "drifted_columns": ("fee",),
        "realised_auc": 0.7178,
        "auc_at_promotion": 0.7635,
        "production": 1,
    }
    assert expected.items() <= found.as_json().items()


def test_drift_against_a_window_names_it(loop: Loop) -> None:
    """A window that was compared with another, not with the training rows, says with which."""
    drift = replace(LOOKED.drift or DriftFacts(), drift_reference="2025-04")
    seen = replace(entry(KEEP), details=replace(LOOKED, drift=drift))
    found = summarise(loop, [seen])
    assert tell(found)["drift"] == "drift_share 0.12 against 2025-04, limit 0.30 (fee)"
    assert found.as_json()["drift_reference"] == "2025-04"


def test_a_promotion_says_what_the_candidate_did(loop: Loop) -> None:
    """The candidate beside production on the same rows, and the versions before and now; a training
    that a person asked for has looked at no window."""
    loop.registry.promote(2, instead_of=1, reason="better")
    lines = tell(summarise(loop, [entry(RETRAIN), entry(Action.PROMOTE)]))
    assert lines["production"] == "version 1 before, version 2 now"
    assert lines["candidate"] == "version 2: val_auc 0.7300, production 0.7178 on the same rows"
    assert list(tell(summarise(loop, [entry(Action.PROMOTE)]))) == [
        "window",
        "production",
        "candidate",
    ]
