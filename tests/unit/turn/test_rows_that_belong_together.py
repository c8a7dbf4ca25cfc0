"""A real candidate, a realised AUC and a probation where customers have several rows: intervals
count customers, over all windows that they are in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.replay import Past, ReplayParts, Stream, fit_first
from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.decisions.evidence import Estimate
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.rollback import decide_rollback
from closedloop.storage.details import PromotionDetails
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.candidate import fit_candidate, make_evidence
from closedloop.turn.carry_out import carry_out
from closedloop.turn.history import History
from closedloop.turn.realised import judge_production, watch_promotion
from tests.unit.streams import Frames, make_use_case

CUSTOMERS, ROWS = 60, 10


@pytest.fixture
def journal() -> Iterator[Journal]:
    engine = open_engine("sqlite://")
    yield Journal(engine)
    engine.dispose()


def month(number: int) -> pd.DataFrame:
    """Ten orders of each customer, who leaves with most of them or with few, whatever is spent."""
    draw, who = np.random.default_rng(number), np.repeat(np.arange(CUSTOMERS), ROWS)
    spend = (draw.normal(size=CUSTOMERS) + 0.3 * number)[who] + 0.3 * draw.normal(size=len(who))
    leaving = spend + draw.normal(0, 2, CUSTOMERS)[who] + draw.normal(size=len(who)) > 0
    return pd.DataFrame(
        {
            "spend": spend,
            "plan": draw.choice(["basic", "gold"], len(who)),
            "left": np.where(leaving, "yes", "no"),
            "customer": [f"c{number}" for number in who],
        }
    )


MONTHS = {f"w{number}": month(number) for number in range(4)}
SLICES = [{"name": "gold", "column": "plan", "values": ["gold"], "protected": True}]


def look_at(
    folder: Path, journal: Journal, window: str, *, first: int = 1, **changes: Any
) -> History[Any]:
    """A window while version 1, trained on the first windows, is production."""
    use_case = make_use_case(folder, slices=SLICES, training={"recipes": ["lightgbm"]}, **changes)
    past = Past(Stream(Frames(MONTHS)), use_case, CachedCompute(), first)
    registry = MemoryRegistry("shop")
    registry.promote(registry.add(fit_first(past), "w0"), instead_of=None, reason="installed")
    return History(
        ReplayParts(use_case, past.as_of(window), journal, registry, past.compute), window
    )


def width(found: Estimate | None) -> float:
    assert found is not None
    return found.upper - found.lower


def test_a_candidate_and_production_are_judged_by_customers(
    tmp_path: Path, journal: Journal
) -> None:
    """The same candidate on the same rows: with customers as groups the interval of its delta, of
    its protected slice and of the realised AUC are wider, and the errors that it keeps larger; no
    value is another one. The decision counts customers of the rarest class."""
    plain, grouped = (
        look_at(tmp_path, journal, "w2", **changes) for changes in ({}, {"group": "customer"})
    )
    rows, together = fit_candidate(plain), fit_candidate(grouped)
    delta, wider = rows.chosen.delta, together.chosen.delta
    assert delta is not None
    assert wider is not None
    assert wider.value == delta.value
    assert width(wider) > 1.2 * width(delta)
    assert width(together.chosen.slices[0].delta) > 1.1 * width(rows.chosen.slices[0].delta)
    assert rows.chosen.candidate.val_auc_error is not None
    assert together.chosen.candidate.val_auc_error is not None
    ratio = together.chosen.candidate.val_auc_error / rows.chosen.candidate.val_auc_error
    assert ratio > 1.3
    aucs = [judge_production(history, history.state()).auc for history in (plain, grouped)]
    assert width(aucs[1]) > 1.3 * width(aucs[0])
    assert [history.loop.use_case.group for history in (plain, grouped)] == [None, "customer"]

    evidence = make_evidence(grouped, together, together.scorer, 0.0)
    decision = decide_promotion(evidence, grouped.loop.use_case.policy)
    told = next(check for check in decision.checks if check.claim == "enough evaluation rows")
    assert told.wanted == "50 rows, 5 of each class in 5 groups"
    assert f"in {wider.groups} groups" in told.got
    assert wider.groups is not None
    assert wider.groups <= CUSTOMERS


def test_a_customer_of_several_windows_is_one_while_a_promotion_is_watched(
    tmp_path: Path, journal: Journal
) -> None:
    """Version 2 is compared with version 1 on two months together, in which the same 60 customers
    are: no more than 60 count, and a minimum of 61 is met by the rows but not by them."""
    history = look_at(tmp_path, journal, "w3", group="customer")
    loop = history.loop
    second = fit_first(Past(Stream(Frames(MONTHS)), loop.use_case, loop.compute, 2))
    version = loop.registry.add(second, "w1")
    better = Decision(Kind.PROMOTION, Action.PROMOTE, "w1", (request_check("promote"),), version)
    carry_out(loop, journal.write("better", "shop", better, details=PromotionDetails(1)))
    history = History(history.loop, "w3")
    watched = watch_promotion(history, history.state(), None)
    assert watched is not None
    assert watched.compared == ("w2", "w3")
    assert watched.delta is not None
    assert watched.delta.rows == 2 * CUSTOMERS * ROWS
    assert watched.delta.groups is not None
    assert watched.delta.groups <= CUSTOMERS
    assert watched.rarest is not None
    assert watched.rarest > CUSTOMERS
    policy = make_use_case(
        tmp_path, policy={"rollback": {"min_rows": 50, "min_rows_per_class": CUSTOMERS + 1}}
    ).policy
    decision = decide_rollback(watched, policy)
    told = next(check for check in decision.checks if "significantly worse" in check.claim)
    assert "61 of each class in 61 groups" in told.summary
    assert f"in {watched.delta.groups} groups" in told.summary
