"""A person answers what waits from Prefect's page, on a real server and a real MLflow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from closedloop.decisions.checks import Action
from closedloop.errors import AnswerRefused, UseCaseError
from closedloop.turn.approval import waiting
from tests.flows.shown_pages import shown

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]


@pytest.mark.nightly
def test_a_person_answers_from_prefects_page(
    make_place: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that asks a person moves nothing, and its page says how to answer; the choice of the
    form is approved, by name and with the reason on the page, also when it is repeated; a wrong
    choice says what waits."""
    place = make_place(0, changes={'approval = "never"': 'approval = "always"'})
    from flows.answer_flow import answer_flow
    from flows.monitor_flow import monitor_flow
    from flows.prefect_client.window_choices import list_decisions

    monkeypatch.setenv("CLOSEDLOOP_HOME", str(place.settings.home))
    answer: Any = partial(answer_flow, use_case=str(place.path))
    turn: Any = partial(monitor_flow, use_case=str(place.path), window="month_000")
    turn()
    loop = place.open()
    (wait,) = waiting(loop)
    assert loop.registry.production() is None
    assert [entry.decision.action.value for entry in loop.journal.history("streamflow")] == [
        "retrain",
        "wait",
    ]
    assert f"closedloop approve {wait.id} --reason WHY" in shown("promotion-decision")
    with pytest.raises(UseCaseError, match=f"those that wait: {wait.id}"):
        answer(decision="", answer="approve", reason="fine")
    (choice,) = list_decisions(loop.use_case)
    assert choice == f"{wait.id}: version 1 for month_000"
    said = {"decision": choice, "answer": "approve", "reason": "</b> # fine", "by": "ann"}
    entry = place.open().journal.entry(answer(**said))
    assert (entry.decision.action, entry.by, entry.outcome) == (
        Action.PROMOTE,
        "ann (in Prefect)",
        "done",
    )
    assert loop.registry.production() == 1
    page = shown("answer-decision")
    assert "Decided by ann (in Prefect)" in page
    assert "&lt;/b&gt; # fine" in page
    assert answer(**said) == entry.id
    with pytest.raises(AnswerRefused, match="approved by ann"):
        answer(decision=str(wait.id), answer="reject", reason="no")
    assert turn() == wait.cause
