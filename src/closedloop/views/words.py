"""How decisions, checks and times are called where people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

from closedloop.decisions.checks import Action, Check, Decision, Kind, Role
from closedloop.storage.entry import Entry

BRIEF_CLAIMS = 3
ROLES = {
    Role.TRIGGER: "What would ask for it",
    Role.GUARD: "What must allow it",
    Role.GATE: "What has to hold",
    Role.NOTE: "Also noted",
}
_TITLES = {
    (Kind.RETRAINING, "retrain"): "A new model was to be trained",
    (Kind.RETRAINING, "keep"): "No reason to train",
    (Kind.RETRAINING, "escalate"): "Needs a person: the data",
    (Kind.PROMOTION, "promote"): "Version {version} goes live",
    (Kind.PROMOTION, "reject"): "Version {version} is turned down",
    (Kind.PROMOTION, "escalate"): "Needs a person: version {version}",
    (Kind.PROMOTION, "wait"): "Version {version} waits for approval",
    (Kind.ROLLBACK, "rollback"): "Back to version {version}",
    (Kind.ROLLBACK, "keep"): "Version {version} stays, on probation",
    (Kind.QUARANTINE, "quarantine"): "Kept out of training",
    (Kind.QUARANTINE, "release"): "Released for training",
    (Kind.QUARANTINE, "keep"): "Stays out of training",
    (Kind.SERVING, "serve"): "The service answers with version {version}",
    (Kind.ACCEPTANCE, "accept"): "A person accepted what is there",
    (Kind.ERASURE, "forget"): "One person's rows were removed from the records",
    (Kind.OUTSIDE, "accept"): "Version {version}, moved from outside, is taken as live",
    (Kind.OUTSIDE, "return"): "Moved from outside: back to version {version}",
    (Kind.OUTSIDE, "escalate"): "Needs a person: production was moved from outside",
    (Kind.OUTSIDE, "keep"): "Production is back where the journal has it",
}


def title_of(decision: Decision) -> str:
    """What was decided, in a few words."""
    known = _TITLES.get((decision.kind, decision.action.value))
    if known is None:
        return f"{decision.kind.value}: {decision.action.value}"
    return known.format(version=decision.version)


def reason_of(decision: Decision) -> str:
    """The whole reason; for a decision with notes only, the notes."""
    if any(check.role is not Role.NOTE for check in decision.checks):
        return decision.reason
    return "; ".join(f"{check.claim}: {check.got}" for check in decision.checks)


def brief_reason(decision: Decision) -> str:
    """The first claims of the reason, and how many more there are."""
    claims = reason_of(decision).split("; ")
    left_out = len(claims) - BRIEF_CLAIMS
    return "; ".join(claims[:BRIEF_CLAIMS]) + (f"; and {left_out} more" if left_out > 0 else "")


def outcome_of(entry: Entry) -> str:
    """What came of a decision, in a few words; empty when it was carried out."""
    if entry.outcome is None:
        asks = entry.decision.action in (Action.WAIT, Action.ESCALATE)
        return "" if asks else "not carried out yet"
    if entry.outcome == "superseded":
        return f"not carried out: {entry.note}" if str(entry.note) else "not carried out"
    return ""


def heading_of(role: Role, decision: Decision) -> str:
    """What the checks of a role are about."""
    if role is Role.TRIGGER and decision.action is Action.WAIT:
        return "Why a person is asked"
    return ROLES[role]


def sort_checks(decision: Decision) -> list[tuple[Role, list[Check]]]:
    """The checks by role, in the order in which roles are read, without roles that have none."""
    by_role = [(role, [check for check in decision.checks if check.role is role]) for role in Role]
    return [(role, checks) for role, checks in by_role if checks]


def tell_age(since: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that is at least two."""
    return tell_span(now - since) + " ago"


def tell_span(span: timedelta) -> str:
    """A span of time in the largest unit that is at least two."""
    seconds = max(span.total_seconds(), 0.0)
    for name, unit in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} seconds"
