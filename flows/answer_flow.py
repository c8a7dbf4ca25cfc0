"""Answer a candidate that waits for a person, from Prefect's page."""

from __future__ import annotations

from typing import Literal

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from closedloop.errors import UseCaseError
from closedloop.storage.entry import Entry
from closedloop.turn.approval import approve, reject, waiting
from closedloop.turn.open import Loop, open_loop
from flows.best_effort import best_effort
from flows.decision_page import carry_out_decision, describe, tell_moved
from flows.prefect_client.lookup import name_person
from flows.prefect_client.window_choices import LIST_CHOICES, refresh_forms
from flows.private_files import privately
from flows.telling import telling


@task(name="answer", cache_policy=NO_CACHE, persist_result=False)
def give_answer(loop: Loop, number: int, answer: str, reason: str, by: str) -> Entry:
    """Write the answer down and carry it out: refused when what was judged has moved on."""
    say = approve if answer == "approve" else reject
    return say(loop, number, by=by, reason=reason, act=carry_out_decision)


@flow(name="answer", flow_run_name="{answer} decision {decision}", validate_parameters=False)
@privately
@telling
def answer_flow(
    decision: str,
    answer: Literal["approve", "reject"],
    reason: str,
    by: str = "",
    use_case: str = "",
) -> int:
    """Approve or reject a candidate that waits for a person.

    Run again after a crash, it finishes what was started.

    Args:
        decision: The decision that waits; its id is enough.
        answer: approve: the candidate becomes production. reject: production stays.
        reason: Why, in a sentence. The journal keeps it.
        by: Your name: Prefect does not say who starts a run.
        use_case: Path of a loop.toml. Empty: the value of CLOSEDLOOP_USE_CASE.

    Returns:
        The id of the answer in the journal.
    """
    loop = open_loop(use_case or None)
    if answer not in ("approve", "reject"):
        raise _mistake("approve or reject", repr(answer), "choose one of the two")
    entry = give_answer(loop, read_choice(loop, decision), answer, reason, name_person(by))
    create_markdown_artifact(
        key="answer-decision",
        markdown=describe(entry) + tell_moved(loop),
        description=f"{entry.decision.action.value}: version {entry.decision.version}",
    )
    with best_effort(LIST_CHOICES):
        refresh_forms(loop.use_case)
    return entry.id


def read_choice(loop: Loop, decision: str) -> int:
    """The id that a choice of the form begins with; raises UseCaseError for anything else."""
    number = str(decision).partition(":")[0].strip()
    if number.isascii() and number.isdigit() and len(number) < 10:
        return int(number)
    ids = ", ".join(str(wait.id) for wait in waiting(loop)) or "none"
    raise _mistake("a decision that waits", repr(str(decision)[:100]), f"those that wait: {ids}")


def _mistake(wanted: str, got: str, then: str) -> UseCaseError:
    return UseCaseError(where="the run form", wanted=wanted, got=got, then=then)
