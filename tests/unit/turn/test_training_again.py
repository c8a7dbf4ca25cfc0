"""Training for a window that production knows already: refused, or no reason to move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.replay import Past, ReplayParts, fit_first
from closedloop.decisions.checks import Action
from closedloop.decisions.promotion import decide_promotion
from closedloop.errors import UseCaseError
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.candidate import fit_candidate, make_evidence
from closedloop.turn.history import History
from closedloop.turn.take_turn import write_request
from tests.unit.streams import make_frame, make_past


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """Five windows without drift; labels come with them."""
    frames = {f"w{number}": make_frame(number) for number in range(5)}
    return make_past(tmp_path, frames, delay=0, first=3)


@pytest.fixture
def journal() -> Iterator[Journal]:
    engine = open_engine("sqlite://")
    yield Journal(engine)
    engine.dispose()


def look_at(past: Past, journal: Journal, window: str) -> History[Any]:
    """A window while version 1, trained through w2, is production."""
    registry = MemoryRegistry("shop")
    first = fit_first(past)
    registry.promote(registry.add(first, "w2"), instead_of=None, reason="installed")
    newest = past.stream.names[-1]
    return History(
        ReplayParts(past.use_case, past.as_of(newest), journal, registry, past.compute), window
    )


def test_training_for_an_older_window_than_production_knows_is_refused(
    past: Past, journal: Journal
) -> None:
    """The refusal names both windows and the way out, and leaves no request; `force` lets it
    pass, and so does the window that production was trained through."""
    with pytest.raises(UseCaseError) as refused:
        write_request(look_at(past, journal, "w1"))
    assert str(refused.value) == (
        "training for w1: wanted a window from w2 on: version 1, which is production, was trained "
        "through it, got w1, which is older: train for the newest window: closedloop train; or, to "
        "train without what came later: closedloop train --window w1 --force"
    )
    assert journal.history("shop") == ()
    assert write_request(look_at(past, journal, "w1"), force=True).decision.window == "w1"
    assert write_request(look_at(past, journal, "w2")).decision.window == "w2"


@pytest.mark.parametrize(
    ("window", "new", "action"),
    [
        ("w1", (), Action.REJECT),
        ("w2", (), Action.REJECT),
        ("w3", ("w3",), Action.PROMOTE),
        ("w4", ("w3", "w4"), Action.PROMOTE),
    ],
)
def test_a_delta_of_exactly_nothing_promotes_only_what_has_learnt_something(
    past: Past, journal: Journal, window: str, new: tuple[str, ...], action: Action
) -> None:
    """Production's own recipe on production's windows ties with itself: rejected. The same tie
    before a new window is a refit that knows more: promoted."""
    history = look_at(past, journal, window)
    candidate = fit_candidate(history)
    evidence = make_evidence(history, candidate, candidate.scorer, 0.0)
    delta = candidate.chosen.delta
    assert delta is not None
    if window != "w4":  # there the twin has learnt from w3, too
        assert (delta.value, delta.lower, delta.upper) == (0.0, 0.0, 0.0)
    decision = decide_promotion(evidence, history.loop.use_case.policy)
    assert evidence.new_windows == new
    assert decision.action is action, decision.reason
    if action is Action.REJECT:
        assert decision.reason == "it has learnt from no window that version 1 does not know"


def test_labels_that_came_later_make_a_known_window_new(past: Past, journal: Journal) -> None:
    """Production was trained on w2 before all of its labels were there."""
    history = look_at(past, journal, "w2")
    candidate = fit_candidate(history)
    assert history.bundle is not None
    facts: Any = history.bundle.facts
    object.__setattr__(facts, "data_digest", facts.data_digest[:-12] + "0" * 12)
    evidence = make_evidence(history, candidate, candidate.scorer, 0.0)
    assert evidence.new_windows == ("w2",)
