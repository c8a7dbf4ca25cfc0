"""What every flow does with a decision in the journal: carry it out, and show it."""

from __future__ import annotations

import re
from html import escape

from prefect import task
from prefect.cache_policies import NO_CACHE

from closedloop.storage.entry import Entry
from closedloop.turn.carry_out import carry_out
from closedloop.turn.open import Loop
from flows.best_effort import best_effort

# What means more than itself: of underscores those around a word, of brackets those of a link, and
# of what begins a line what makes it a heading or a list.
_MARKS = re.compile(r"[\\`*~|]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|^[#>=+-]+(?=\s)")


@task(name="carry the decision out", cache_policy=NO_CACHE, persist_result=False)
def carry_out_decision(loop: Loop, entry: Entry) -> Entry:
    """Move `production` or leave it, and note that in the journal."""
    return carry_out(loop, entry)


def tell_moved(loop: Loop) -> str:
    """What moved `production` or `previous` outside of closedloop, as the end of a page."""
    told: tuple[str, ...] = ()
    with best_effort("look where the aliases are"):
        told = loop.tell_moved()
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
    return f"# {decision.action.value} ({about})\n\n{reason}\n\n{head}\n{rows}\n"


def as_markdown(text: str) -> str:
    """The text as one line of Markdown that shows it, and is neither HTML, a link nor a table.

    Names of windows and columns and values of a table come from outside.
    """
    line = escape(" ".join(text.split()), quote=False)
    return _MARKS.sub(r"\\\g<0>", line)
