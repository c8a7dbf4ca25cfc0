"""The words of a check: a healthy month must not read like a failure."""

from __future__ import annotations

import pytest

from closedloop.decisions.checks import Decision, Outcome, Role, make_check
from closedloop.decisions.policy import Policy
from closedloop.decisions.promotion import decide_promotion
from closedloop.decisions.quarantine import decide_quarantine
from closedloop.decisions.retraining import decide_retraining
from closedloop.decisions.rollback import decide_rollback
from tests.spec.examples import HEALTHY

ROLES = {
    Role.TRIGGER: ("yes", "no"),
    Role.NOTE: ("yes", "no"),
    Role.GUARD: ("holds", "fails"),
    Role.GATE: ("holds", "fails"),
}


@pytest.mark.parametrize("role", Role)
def test_only_a_demand_can_fail(role: Role) -> None:
    """Guards and gates hold or fail; a trigger or a note is the case or not; each may be unknown."""
    answers = [make_check("it rains", holds, role, "", "").answer for holds in (True, False, None)]
    assert answers == [*ROLES[role], "unknown"]


DECIDED = [
    decide(evidence, Policy())
    for decide, evidence in zip(
        (decide_retraining, decide_rollback, decide_quarantine, decide_promotion),
        HEALTHY,
        strict=True,
    )
]


@pytest.mark.parametrize("decision", DECIDED, ids=lambda decision: decision.kind.value)
def test_a_healthy_month_does_not_read_like_a_failure(decision: Decision) -> None:
    """When all is well, no check fails in the words that people read; a trigger that is not the case says no,
    and has no sentence that says it were."""
    assert "fails" not in {check.answer for check in decision.checks}
    for check in decision.checks:
        if check.role is Role.TRIGGER:
            assert (check.answer, check.outcome) == ("no", Outcome.FAILS)
            assert not check.summary or " not " in check.summary
