"""A decision on `closedloop why` and on Prefect's page."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from closedloop.cli.decision_view import show_decision
from closedloop.decisions.checks import Decision
from closedloop.decisions.policy import Policy
from closedloop.decisions.retraining import decide_retraining
from closedloop.decisions.rollback import decide_rollback
from closedloop.shown_text import as_markdown
from closedloop.storage.details import TurnDetails
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from flows.decision_page import describe
from tests.spec.examples import delta, retraining, rollback


def _pages(decision: Decision) -> tuple[str, str]:
    entry = Entry(
        1,
        "key",
        "shop",
        decision,
        TurnDetails(),
        Origin.LOOP,
        None,
        datetime(2026, 1, 1, tzinfo=UTC),
        "done",
    )
    text = io.StringIO()
    show_decision(Console(file=text, width=300), entry, every_check=True)
    return text.getvalue(), describe(entry)


@pytest.mark.parametrize(
    "decision",
    [
        decide_retraining(retraining(), Policy()),
        decide_rollback(rollback(delta(0.02)), Policy()),
    ],
    ids=["retraining", "rollback"],
)
def test_the_pages_of_a_healthy_month_show_no_failure(decision: Decision) -> None:
    """A trigger that is not the case is answered with no, on both pages, and nothing fails."""
    terminal, page = _pages(decision)
    assert "fails" not in terminal + page
    triggers = [check for check in decision.checks if check.role == "trigger"]
    for check in triggers:
        assert f"| trigger | {check.claim} | no |" in page
    assert terminal.count(" no ") >= len(triggers)


def test_the_pages_show_what_fails_and_what_asks() -> None:
    """A guard that is closed fails, a trigger that fired is answered with yes."""
    decision = decide_rollback(rollback(delta(-0.05), {"promoted_at": 5}), Policy())
    terminal, page = _pages(decision)
    assert "| guard | production is on probation | fails |" in page
    assert "| trigger | production is significantly worse than version 3 | yes |" in page
    assert {" fails ", " yes "} <= {f" {word} " for word in terminal.split()}


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("[here](javascript:alert(1))", r"[here\](javascript:alert(1))"),
        ("a | b\n# c", r"a \| b # c"),
        ("# *a* `b` ~~c~~ _d_ &lt;", r"\# \*a\* \`b\` \~\~c\~\~ \_d\_ &amp;lt;"),
        ("month_001: -0.02 [-0.03, 0.01]", "month_001: -0.02 [-0.03, 0.01]"),
    ],
)
def test_a_text_is_shown_as_it_is(text: str, page: str) -> None:
    """Names and values come from outside: Prefect's page would make links and tables of them."""
    assert as_markdown(text) == page


def test_a_window_cannot_change_the_page_of_its_decision() -> None:
    """Wherever its name stands."""
    hostile = "<b>|[x](javascript:y)"
    decision = replace(decide_retraining(retraining(), Policy()), window=hostile)
    decision = replace(
        decision,
        checks=tuple(
            replace(check, claim=hostile, wanted=hostile, got=hostile) for check in decision.checks
        ),
    )
    page = _pages(decision)[1]
    assert "<" not in page
    assert "](" not in page.replace(r"\](", "")
    assert {line.replace(r"\|", "").count("|") for line in page.splitlines() if "|" in line} == {
        0,
        6,
    }
