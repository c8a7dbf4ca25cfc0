"""The manual of the checks of recorded requests: what a candidate may do otherwise than production.

The ordinary replay: 500 rows in 400 requests, 20 predictions change, both take a millisecond and 200 MB.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from closedloop.decisions.checks import Action, Outcome, Role
from closedloop.decisions.policy import Policy
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.shadow import (
    ANSWERS,
    FLIPS,
    LATENCY,
    MEMORY,
    REPLAYED,
    SHIFT,
    UNSENT,
    Answering,
    ShadowReplay,
    SliceFlips,
)
from closedloop.decisions.shadow_policy import ShadowPolicy
from tests.spec.examples import Row, first_model, promotion

PROMOTE, REJECT = Action.PROMOTE, Action.REJECT
USUAL = Answering(500, p50_ms=0.8, p95_ms=1.0, memory_mb=200.0)
SENIORS = f"{FLIPS} in slice seniors"


def shadow(
    candidate: dict[str, Any] | None = None,
    production: dict[str, Any] | None = None,
    **changes: Any,
) -> Any:
    """The ordinary candidate after an ordinary replay; `candidate` and `production` say how each answered."""
    usual = ShadowReplay(
        400,
        500,
        replace(USUAL, **(candidate or {})),
        replace(USUAL, **(production or {})),
        0,
        500,
        20,
        0.1,
    )
    return promotion(shadow=replace(usual, **changes))


def alone(**candidate: Any) -> Any:
    """The same without a production that answers."""
    return promotion(
        shadow=ShadowReplay(400, 500, replace(USUAL, **candidate), None, candidate.get("errors", 0))
    )


def seniors(flips: int, rows: int = 200, *, protected: bool = True) -> dict[str, Any]:
    return {"slices": (SliceFlips("seniors", protected, rows, flips),)}


def limits(**changes: Any) -> Policy:
    return Policy(shadow=ShadowPolicy(**changes))


# fmt: off
TABLE = [
    # -- an ordinary refit passes, and a loop that has no records goes on: the check says that nothing is known
    Row("as production does",                     shadow(),                                                   PROMOTE, (f"{ANSWERS} holds", f"{LATENCY} holds", f"{MEMORY} holds", f"{FLIPS} holds", f"{SHIFT} holds")),
    Row("nothing was recorded",                   promotion(shadow=ShadowReplay(0, 0)),                        PROMOTE, (f"{REPLAYED} unknown",)),
    Row("nothing was recorded for a first model", first_model(shadow=ShadowReplay(0, 0)),                      PROMOTE, (f"{REPLAYED} unknown",)),
    Row("evidence of an older version",           promotion(shadow=None),                                      PROMOTE, ()),
    # -- errors: what production answers, the candidate has to answer
    Row("an error on one row",                    shadow({"errors": 1, "error": "ValueError: no"}, new_errors=1), REJECT, (f"{ANSWERS} fails",)),
    Row("one may fail",                           shadow({"errors": 1}, new_errors=1),                         PROMOTE, (f"{ANSWERS} holds",), limits(max_errors=1)),
    Row("production fails on these, too",         shadow({"errors": 5}, {"errors": 5}),                        PROMOTE, (f"{ANSWERS} holds",)),
    Row("its process ended",                      shadow({"failure": "SIGSEGV"}),                              REJECT,  (f"{ANSWERS} fails",)),
    Row("its process ended; errors may be",       shadow({"failure": "SIGSEGV"}),                              REJECT,  (f"{ANSWERS} fails",), limits(max_errors=500)),
    Row("nobody to compare with",                 alone(),                                                     PROMOTE, (f"{ANSWERS} holds", f"{LATENCY} holds")),
    Row("nobody to compare with, and an error",   alone(errors=1),                                             REJECT,  (f"{ANSWERS} fails",)),
    # -- time and memory: a factor of production's, from where it matters to anybody
    Row("ten times slower, and still quick",      shadow({"p95_ms": 10.0}),                                    PROMOTE, (f"{LATENCY} holds",)),
    Row("as slow as is quick",                    shadow({"p95_ms": 25.0}),                                    PROMOTE, (f"{LATENCY} holds",)),
    Row("much slower",                            shadow({"p95_ms": 25.1}),                                    REJECT,  (f"{LATENCY} fails",)),
    Row("slow as production is",                  shadow({"p95_ms": 90.0}, {"p95_ms": 30.0}),                  PROMOTE, (f"{LATENCY} holds",)),
    Row("slower than three times that",           shadow({"p95_ms": 90.1}, {"p95_ms": 30.0}),                  REJECT,  (f"{LATENCY} fails",)),
    Row("a factor of its own",                    shadow({"p95_ms": 6.0}),                                     REJECT,  (f"{LATENCY} fails",), limits(max_latency_factor=5, quick_ms=0)),
    Row("slow; nobody knows how slow production is", alone(p95_ms=90.0),                                      PROMOTE, (f"{LATENCY} unknown",)),
    Row("five times the memory, and still small", shadow({"memory_mb": 1000.0}),                               PROMOTE, (f"{MEMORY} holds",)),
    Row("far more memory",                        shadow({"memory_mb": 1001.0}),                               REJECT,  (f"{MEMORY} fails",)),
    Row("memory of an unknown production",        alone(memory_mb=1001.0),                                     PROMOTE, (f"{MEMORY} unknown",)),
    # -- predictions that change are the point of a candidate: they close the gate only with a limit
    Row("all predictions change",                 shadow(flips=500),                                           PROMOTE, (f"{FLIPS} holds",)),
    Row("too many change",                        shadow(flips=51),                                            REJECT,  (f"{FLIPS} fails",), limits(max_flips=0.1)),
    Row("as many as may",                         shadow(flips=50),                                            PROMOTE, (f"{FLIPS} holds",), limits(max_flips=0.1)),
    Row("few rows tell nothing",                  shadow(flips=99, compared=99),                               PROMOTE, (f"{FLIPS} unknown",), limits(max_flips=0.1)),
    Row("too many in a protected slice",          shadow(**seniors(21)),                                       REJECT,  (f"{SENIORS} fails",), limits(max_flips=0.1)),
    Row("too many in another slice",              shadow(**seniors(21, protected=False)),                      PROMOTE, (f"{SENIORS} holds",), limits(max_flips=0.1)),
    Row("a slice with few rows",                  shadow(**seniors(60, 60)),                                   PROMOTE, (f"{SENIORS} unknown",), limits(max_flips=0.1)),
    Row("a slice without rows",                   shadow(**seniors(0, 0)),                                     PROMOTE, (f"{FLIPS} holds",), limits(max_flips=0.1)),
    Row("the scores moved far",                   shadow(score_shift=0.9),                                     PROMOTE, (f"{SHIFT} holds",)),
    Row("the scores moved too far",               shadow(score_shift=0.9),                                     REJECT,  (f"{SHIFT} fails",), limits(max_score_shift=0.5)),
    Row("scores of few rows",                     shadow(score_shift=0.9, compared=99),                        PROMOTE, (f"{SHIFT} unknown",), limits(max_score_shift=0.5)),
    # -- a column that clients do not send yet
    Row("a new column",                           shadow(unsent=("phone",)),                                   PROMOTE, (f"{UNSENT} holds",)),
]
# fmt: on


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_when_a_shadow_stops_it(row: Row) -> None:
    """Each situation of the table leads to its action, by the checks that it names and no other."""
    row.assert_holds(decide_promotion(row.evidence, row.policy))


def test_what_is_unknown_is_a_note() -> None:
    """A replay that says nothing closes no gate: a loop without a service has no requests."""
    decision = decide_promotion(promotion(shadow=ShadowReplay(0, 0)), Policy())
    unknown = [check for check in decision.checks if check.outcome is Outcome.UNKNOWN]
    assert [check.role for check in unknown] == [Role.NOTE]
    assert "nothing" not in decision.reason
    assert unknown[0].got == "no requests are recorded yet"


def test_the_reason_says_what_happened() -> None:
    """In words that name rows, milliseconds and the error itself."""
    bad = shadow(
        {"errors": 7, "error": "ValueError: platinum", "p95_ms": 60.0}, new_errors=7, flips=100
    )
    reason = decide_promotion(bad, limits(max_flips=0.1)).reason
    assert "it fails on 7 of 500 recorded rows: ValueError: platinum" in reason
    assert (
        "slower than production on recorded requests: p50 0.8 ms, p95 60.0 ms; production p50 0.8 ms"
        in reason
    )
    assert "80.0% of 500 rows, 100 would change" in reason


def test_the_policy_keeps_its_keys() -> None:
    """A policy that says nothing of shadows has the fingerprint that it had before there were any."""
    assert Policy().fingerprint == Policy(shadow=ShadowPolicy()).fingerprint == "a35ac8677e35"
    assert Policy().fingerprint != limits(rows=0).fingerprint
    with pytest.raises(ValueError, match="max_flips must be between 0 and 1, got 2"):
        limits(max_flips=2)
