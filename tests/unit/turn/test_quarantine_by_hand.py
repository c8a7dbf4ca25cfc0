"""`closedloop quarantine`: what a person says about a window, and what the lists show."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from closedloop.cli.status_view import read_status, show_status
from closedloop.decisions.checks import Action, Decision, Kind
from closedloop.decisions.policy import Policy
from closedloop.decisions.quarantine import decide_quarantine
from closedloop.errors import UseCaseError
from closedloop.records.store import Records
from closedloop.storage.details import RealisedFacts, TurnDetails
from closedloop.turn.kept_out import read_kept_out, read_standings
from closedloop.turn.quarantine_by_hand import decide_by_hand
from tests.spec.examples import quarantine
from tests.unit.streams import Frames, make_frame

WINDOW = "month_010"


@pytest.fixture
def shop(place: Any) -> Any:
    """A use case with one window in quarantine."""
    frames = Frames({WINDOW: make_frame(1), "month_011": make_frame(2)})
    place.loop = replace(place.loop, source=frames, records=Records(place.loop.engine))
    place.loop.journal.write("out", "shop", decide_quarantine(quarantine(0.52), Policy()))
    return place


def _kept(shop: Any) -> dict[str, bool]:
    """The windows that are kept out, and whether for good."""
    kept = read_kept_out(shop.loop.journal.history("shop"))
    return {found["window"]: found["settled"] for found in kept}


def test_status_says_what_is_kept_out_and_how_to_release_it(shop: Any) -> None:
    """The window, the AUC that made it suspect, and the line to type."""
    text = io.StringIO()
    show_status(Console(file=text, width=400), read_status(shop.loop, {}))
    told = next(line for line in text.getvalue().splitlines() if line.startswith(WINDOW))
    assert "is kept out of training: AUC 0.5200" in told
    assert f"closedloop quarantine release {WINDOW}, or the next labelled window decides" in told


def test_release_and_keep_are_decisions_of_a_person(shop: Any) -> None:
    """Each is written down once and carried out; the newest one stands."""
    assert _kept(shop) == {WINDOW: False}
    released = decide_by_hand(shop.loop, Action.RELEASE, WINDOW)
    assert (released.outcome, released.origin.value) == ("done", "person")
    assert _kept(shop) == {}
    decide_by_hand(shop.loop, Action.QUARANTINE, WINDOW)
    decide_by_hand(shop.loop, Action.QUARANTINE, "month_011")
    assert _kept(shop) == {WINDOW: True, "month_011": True}
    decide_by_hand(shop.loop, Action.RELEASE, WINDOW)
    assert _kept(shop) == {"month_011": True}


def test_what_makes_no_sense_is_refused(shop: Any) -> None:
    """Releasing what is not kept out, and keeping out what does not exist."""
    with pytest.raises(UseCaseError, match="list those that are: closedloop quarantine"):
        decide_by_hand(shop.loop, Action.RELEASE, "month_011")
    with pytest.raises(UseCaseError, match="month_010 to month_011"):
        decide_by_hand(shop.loop, Action.QUARANTINE, "month_012")


def test_a_command_that_died_is_finished_by_the_same_command(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release was written and not yet noted as done: the repeated command notes it, and writes
    nothing new."""
    with monkeypatch.context() as patch:
        patch.setattr("closedloop.turn.quarantine_by_hand.carry_out", lambda loop, entry: entry)
        half = decide_by_hand(shop.loop, Action.RELEASE, WINDOW)
    assert half.outcome is None
    whole = decide_by_hand(shop.loop, Action.RELEASE, WINDOW)
    assert (whole.id, whole.outcome) == (half.id, "done")


def test_what_an_older_version_noted_is_kept_out_until_it_is_released(shop: Any) -> None:
    """Before a quarantine was a decision, the turn noted it: it waits for a witness like any other,
    and a release counts although a later turn noted it again."""
    noted = TurnDetails(realised=RealisedFacts("month_009", 0.2, True))
    keep = Decision(Kind.RETRAINING, Action.KEEP, "month_009", ())
    shop.loop.journal.write("turn", "shop", keep, details=noted)
    assert _kept(shop) == {WINDOW: False, "month_009": False}
    decide_by_hand(shop.loop, Action.RELEASE, "month_009")
    shop.loop.journal.write("turn again", "shop", keep, details=noted)
    assert not read_standings(shop.loop.journal.history("shop"))["month_009"].out
