"""What every flow does with a decision in the journal: carry it out, and show it."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from closedloop.decisions.checks import Kind
from closedloop.shown_text import as_markdown
from closedloop.storage.entry import Entry
from closedloop.turn.card import carry_out_with_card
from closedloop.turn.moved_aliases import tell_outside
from closedloop.turn.open import Loop
from closedloop.turn.waiting_decisions import is_open
from flows.best_effort import best_effort


@task(name="carry the decision out", cache_policy=NO_CACHE, persist_result=False)
def carry_out_decision(loop: Loop, entry: Entry) -> Entry:
    """Move `production` or leave it, and note that in the journal; a version gets its card."""
    return carry_out_with_card(loop, entry)


def tell_moved(loop: Loop, window: str = "", known: tuple[str, ...] = ()) -> str:
    """What moved `production` or `previous` outside of closedloop, as the end of a page.

    With what a turn on `window` did about it; what is `known` was told above.
    """
    told: tuple[str, ...] = ()
    with best_effort("look where the aliases are"):
        entries = loop.journal.history(loop.use_case.name, kinds=(Kind.OUTSIDE,))
        handled = tell_outside(entries, window)
        told = (*loop.tell_moved(), *(said for said in handled if said not in known))
    return "".join(f"\n**{as_markdown(sentence)}**\n" for sentence in told)


def describe(entry: Entry) -> str:
    """A decision as a page: the action, the reason, and every check."""
    decision = entry.decision
    rows = "\n".join(
        f"| {' | '.join(map(as_markdown, cells))} |"
        for cells in (
            (check.role, check.claim, check.answer, check.wanted, check.got)
            for check in decision.checks
        )
    )
    about = f"{decision.kind.value}, {as_markdown(decision.window)}, version {decision.version}"
    head = "| role | check | answer | condition | got |\n|---|---|---|---|---|"
    reason = as_markdown(decision.reason)
    return (
        f"# {decision.action.value} ({about})\n\n{reason}\n\n{_tell_person(entry)}{head}\n{rows}\n"
    )


def _tell_person(entry: Entry) -> str:
    """Who decided, or how a person answers; empty where the loop decided alone."""
    if is_open(entry):
        return (
            "**It waits for a person.** Run the deployment `answer` and choose decision "
            f"{entry.id}, or: `closedloop approve {entry.id} --reason WHY`, "
            f"`closedloop reject {entry.id} --reason WHY`\n\n"
        )
    if entry.by is None:
        return ""
    return f"Decided by {as_markdown(entry.by)}, {entry.at:%Y-%m-%d %H:%M} UTC\n\n"
