"""What every flow does with a decision in the journal: carry it out, and show it."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from closedloop.storage.entry import Entry
from closedloop.turn.carry_out import carry_out
from closedloop.turn.open import Loop


@task(name="carry the decision out", cache_policy=NO_CACHE, persist_result=False)
def carry_out_decision(loop: Loop, entry: Entry) -> Entry:
    """Move `production` or leave it, and note that in the journal."""
    return carry_out(loop, entry)


def describe(entry: Entry) -> str:
    """A decision as a page: the action, the reason, and every check."""
    decision = entry.decision
    rows = "\n".join(
        f"| {check.role} | {check.claim} | {check.answer} | {check.wanted} | {check.got} |"
        for check in decision.checks
    )
    about = f"{decision.kind.value}, {decision.window}, version {decision.version}"
    head = "| role | check | answer | condition | got |\n|---|---|---|---|---|"
    return f"# {decision.action.value} ({about})\n\n{decision.reason}\n\n{head}\n{rows}\n"
