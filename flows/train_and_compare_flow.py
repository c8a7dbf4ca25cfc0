"""Train, compare on the same rows, decide, write the decision down, and only then move
`production`."""

from __future__ import annotations

from functools import partial
from typing import Literal

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from closedloop.decisions.evidence import PromotionEvidence
from closedloop.shown_text import as_markdown
from closedloop.turn.begin_anew import open_training
from closedloop.turn.history import History
from closedloop.turn.open import Loop, open_loop
from closedloop.turn.register import propose_candidate
from closedloop.turn.take_turn import retrain, write_request
from closedloop.turn.waiting_decisions import is_open
from flows.best_effort import best_effort
from flows.decision_page import carry_out_decision, describe, tell_moved
from flows.prefect_client.window_choices import LIST_CHOICES, refresh_forms
from flows.private_files import privately
from flows.telling import telling


@task(name="fit, compare and register", cache_policy=NO_CACHE, persist_result=False)
def fit_and_register(history: History[Loop]) -> PromotionEvidence:
    """Fit one candidate and register it; returns the evidence about it."""
    return propose_candidate(history)


@flow(name="train-and-compare", flow_run_name="train {window}", validate_parameters=False)
@privately
@telling
def train_and_compare_flow(
    use_case: str = "",
    window: str = "",
    cause: int = 0,
    source: Literal["windows", "records"] = "windows",
    force: bool = False,
) -> int:
    """Train a candidate and promote it if every gate holds.

    Run again for the same data, it finishes what was started.

    Args:
        use_case: Path of a loop.toml. Empty: the value of CLOSEDLOOP_USE_CASE.
        window: Name of the newest window to train for. Empty: the newest.
        cause: Id of the decision to retrain. 0: you ask for it yourself.
        source: windows: the use case's own source. records: the service's records follow it.
        force: Train also for a window that is older than what production was trained on.

    Returns:
        The id of the promotion decision in the journal.
    """
    loop = open_loop(use_case or None, with_records=source == "records")
    window = History(loop, window or None).window  # before it waits: that is the one asked for
    with loop.training_lock("train"):
        with loop.lock("train"):
            history = open_training(loop, window, by_person=not cause).look()
        asked = loop.journal.entry(cause) if cause else write_request(history, force=force)
        entry = retrain(
            history,
            asked,
            propose=fit_and_register,
            act=carry_out_decision,
            lock=partial(loop.lock, "train"),
        )
    create_markdown_artifact(
        key="promotion-decision",
        markdown=describe(entry) + tell_moved(loop),
        description=f"{entry.decision.action.value}: {as_markdown(history.window)}",
    )
    if is_open(entry):
        with best_effort(LIST_CHOICES):
            refresh_forms(loop.use_case)
    return entry.id
