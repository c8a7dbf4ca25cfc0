"""The manual of `decide_moved`: somebody moved `production` outside of closedloop."""

from __future__ import annotations

from typing import Any

import pytest

from closedloop.decisions.checks import Action, Kind
from closedloop.decisions.moved_outside import MovedEvidence, decide_moved
from closedloop.decisions.policy import Policy
from closedloop.decisions.registry_policy import RegistryPolicy


def moved(found: int | None = 5, wanted: int | None = 3, **facts: Any) -> MovedEvidence:
    return MovedEvidence("month_009", found, wanted, **facts)


CALL, TAKE, BACK, KEEP = Action.ESCALATE, Action.ACCEPT, Action.RETURN, Action.KEEP

# fmt: off
TABLE = [
    # situation                                 evidence                               tell  accept return
    ("a version that can serve",                moved(),                               CALL, TAKE, BACK),
    ("a version without files, or damaged",     moved(found_fault="it has no files"),  CALL, CALL, BACK),
    ("a version that was rejected",             moved(refused_by=4),                   CALL, CALL, BACK),
    ("the alias was deleted",                   moved(None),                           CALL, CALL, BACK),
    ("nothing was live by the journal",         moved(wanted=None),                    CALL, TAKE, CALL),
    ("the journal's version has no files left", moved(wanted_fault="it has no files"), CALL, TAKE, CALL),
    ("it was moved back in this window before", moved(returned_by=8),                  CALL, TAKE, CALL),
    ("somebody put it back since",              moved(3, 3),                           KEEP, KEEP, KEEP),
    ("nothing is live, by the journal too",     moved(None, None),                     KEEP, KEEP, KEEP),
]
# fmt: on


@pytest.mark.parametrize(
    ("situation", "evidence", "tell", "accept", "back"), TABLE, ids=[row[0] for row in TABLE]
)
def test_what_is_done_about_it(
    situation: str, evidence: MovedEvidence, tell: Action, accept: Action, back: Action
) -> None:
    """Each policy does what the table says, about the version that it says, with a reason."""
    for rule, action in (("tell", tell), ("accept", accept), ("return", back)):
        decision = decide_moved(evidence, RegistryPolicy(rule))  # type: ignore[arg-type]
        assert (decision.kind, decision.action) == (Kind.OUTSIDE, action), decision.reason
        about = evidence.wanted if action in (BACK, KEEP) else evidence.found
        assert (decision.version, decision.follows) == (about, True)
        assert "production" in decision.reason


def test_the_reason_names_what_stood_against_the_policy() -> None:
    """Where the policy was not followed, a person reads why."""
    told = decide_moved(moved(refused_by=4), RegistryPolicy("accept")).reason
    assert told == (
        "production, moved outside of closedloop, is not accepted at version 5: decision 4 is "
        "against it"
    )
    told = decide_moved(moved(returned_by=8), RegistryPolicy("return")).reason
    assert "again, after decision 8 had moved it back in this window" in told


def test_an_installation_that_does_not_choose_keeps_the_keys_of_its_decisions() -> None:
    """The section is new: its default changes no fingerprint, another choice does."""
    assert Policy(registry=RegistryPolicy("tell")).fingerprint == Policy().fingerprint
    assert Policy(registry=RegistryPolicy("return")).fingerprint != Policy().fingerprint
    with pytest.raises(ValueError, match="tell, accept, return"):
        RegistryPolicy("ignore")  # type: ignore[arg-type]
