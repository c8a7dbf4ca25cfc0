"""Evidence that a candidate learnt from nothing but what a version did that was taken back."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.checks import Check, Role, make_check

TAKEN_BACK = "not what was taken back before"


@dataclass(frozen=True)
class TakenBack:
    """A version of the same recipe on the same rows, and the decision that took it back."""

    version: int
    decision: int


def taken_back_checks(found: TakenBack | None) -> list[Check]:
    """The gate that a candidate like a version which was taken back does not pass.

    Empty for any other candidate.
    """
    if found is None:
        return []
    told = (
        f"it is version {found.version} again, which decision {found.decision} took back: the same "
        "recipe on the same rows, and no newer labels speak for it; a person can still promote it"
    )
    return [
        make_check(
            TAKEN_BACK,
            False,
            Role.GATE,
            "other rows, another recipe, or newer labels that judge",
            f"version {found.version} again",
            summary=told,
        )
    ]
