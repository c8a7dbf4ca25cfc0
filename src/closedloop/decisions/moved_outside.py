"""What to do about a `production` that somebody moved outside of closedloop. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.checks import (
    Action,
    Check,
    Decision,
    Kind,
    Role,
    all_hold,
    make_check,
)
from closedloop.decisions.registry_policy import RegistryPolicy

MOVED = "production was moved outside of closedloop"


@dataclass(frozen=True)
class MovedEvidence:
    """Where `production` was found by the turn on `window`, and where the journal has it.

    None is no version. `found_fault` says why the found version cannot serve, empty when it loads
    and scores as trained; `refused_by` is the decision that rejected it or left it to a person.
    `wanted_fault` is the same for the version of the journal. `returned_by` is the decision that
    already moved production back in this window.
    """

    window: str
    found: int | None
    wanted: int | None
    found_fault: str = ""
    refused_by: int | None = None
    wanted_fault: str = ""
    returned_by: int | None = None


def decide_moved(evidence: MovedEvidence, policy: RegistryPolicy) -> Decision:
    """Accept it, move it back, or call a person; without a move, that production is back."""
    found, wanted, window = evidence.found, evidence.wanted, evidence.window
    moved = make_check(
        MOVED,
        found != wanted,
        Role.TRIGGER,
        f"another place than {_name(wanted)}, where the journal has it",
        _name(found),
        summary=f"somebody moved production outside of closedloop to {_name(found)}; by the "
        f"journal it is at {_name(wanted)}"
        if found != wanted
        else f"production is back at {_name(wanted)}, where the journal has it",
    )
    if found == wanted:
        return Decision(Kind.OUTSIDE, Action.KEEP, window, (moved,), wanted)
    if policy.moved_outside == "tell":
        return Decision(Kind.OUTSIDE, Action.ESCALATE, window, (moved,), found)
    accepting = policy.moved_outside == "accept"
    guards = _may_accept(evidence) if accepting else _may_return(evidence)
    checks = (moved, *guards)
    if not all_hold(checks, Role.GUARD):
        return Decision(Kind.OUTSIDE, Action.ESCALATE, window, checks, found)
    action, version = (Action.ACCEPT, found) if accepting else (Action.RETURN, wanted)
    return Decision(Kind.OUTSIDE, action, window, checks, version)


def _may_accept(evidence: MovedEvidence) -> tuple[Check, ...]:
    found, fault = _name(evidence.found), evidence.found_fault
    if evidence.found is None:
        fault = "there is none"
    refused = evidence.refused_by
    return (
        make_check(
            "the version found can serve",
            not fault,
            Role.GUARD,
            "a version that loads and scores as trained",
            fault or found,
            summary=f"production, moved outside of closedloop, is not accepted at {found}: {fault}"
            if fault
            else "",
        ),
        make_check(
            "no decision is against the version found",
            refused is None,
            Role.GUARD,
            "neither rejected nor left to a person",
            "nothing against it" if refused is None else f"decision {refused}",
            summary=""
            if refused is None
            else f"production, moved outside of closedloop, is not accepted at {found}: decision "
            f"{refused} is against it",
        ),
    )


def _may_return(evidence: MovedEvidence) -> tuple[Check, ...]:
    wanted, fault, before = _name(evidence.wanted), evidence.wanted_fault, evidence.returned_by
    if evidence.wanted is None:
        fault = "the journal has none"
    found = _name(evidence.found)
    return (
        make_check(
            "there is a version to move back to",
            not fault,
            Role.GUARD,
            "a version that loads and scores as trained",
            fault or wanted,
            summary=f"production, moved outside of closedloop to {found}, cannot be moved back to "
            f"{wanted}: {fault}"
            if fault
            else "",
        ),
        make_check(
            "production was not moved back in this window yet",
            before is None,
            Role.GUARD,
            "once a window",
            "not yet" if before is None else f"decision {before}",
            summary=""
            if before is None
            else f"production was moved outside of closedloop to {found} again, after decision "
            f"{before} had moved it back in this window: somebody else decides on it",
        ),
    )


def _name(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
