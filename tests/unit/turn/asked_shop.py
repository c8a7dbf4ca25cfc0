"""A shop whose candidates wait for a person, in a real journal and an MLflow in memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from closedloop.decisions.checks import Action, Decision, Kind, request_check
from closedloop.storage.details import PromotionDetails, RowsFacts
from closedloop.storage.entry import Entry
from closedloop.turn.approval import approve, reject
from closedloop.turn.carry_out import carry_out
from tests.unit.turn.conftest import BETTER, NamedWindows, Place

WINDOWS = ("month_007", "month_008", "month_009")
WHY = "a clear gain, and no slice is worse"


def wait_for(place: Place, version: int, window: str = "month_009", live: int | None = 2) -> Entry:
    """The decision of a turn that asks a person about a version."""
    asked = (*BETTER, request_check("the policy asks"))
    facts = {found.version: found.digest or None for found in place.loop.registry.versions()}
    return place.loop.journal.write(
        f"shop/{window}/promotion/{version}",
        "shop",
        Decision(Kind.PROMOTION, Action.WAIT, window, asked, version),
        details=PromotionDetails(
            live, bundle=facts[version], rows=RowsFacts((("month_008", "d", 1, 1),))
        ),
    )


def prepare(place: Place) -> Place:
    """Versions 1 and 2 were promoted, 3 and 4 are candidates."""
    place.loop = replace(place.loop, source=NamedWindows(WINDOWS))
    place.add(4)
    for number in (1, 2):
        carry_out(place.loop, place.decide(Action.PROMOTE, number, f"promote {number}", WINDOWS[0]))
    return place


say_yes = partial(approve, by="ann@shop", reason=WHY, act=carry_out)
say_no = partial(reject, by="ann@shop", reason=WHY, act=carry_out)
