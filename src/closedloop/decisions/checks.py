"""What a judgement is made of: an action, and the checks behind it.

The words that decisions are written in, read by everything that shows, keeps or carries one out;
the rules stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Three answers, not two: what could not be measured is unknown, and never counts as yes."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """What a check is for: any trigger that holds asks for the action, every guard and every gate
    must hold to allow it, a note only informs."""

    TRIGGER = "trigger"
    GUARD = "guard"
    GATE = "gate"
    NOTE = "note"


class Kind(StrEnum):
    """What a decision is about. SERVING is no judgement: it notes which version began to answer."""

    RETRAINING = "retraining"
    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    SERVING = "serving"


class Action(StrEnum):
    """What to do about it. ESCALATE calls a person: the loop itself changes nothing."""

    RETRAIN = "retrain"
    KEEP = "keep"
    ESCALATE = "escalate"
    PROMOTE = "promote"
    REJECT = "reject"
    ROLLBACK = "rollback"
    SERVE = "serve"


@dataclass(frozen=True)
class Check:
    """One claim, what it wanted and what the evidence showed."""

    claim: str
    outcome: Outcome
    role: Role
    wanted: str
    got: str

    def __str__(self) -> str:
        verb = "is unknown" if self.outcome is Outcome.UNKNOWN else self.outcome.value
        return f"'{self.claim}' {verb}: wanted {self.wanted}, got {self.got}"


@dataclass(frozen=True)
class Decision:
    """An action with every check behind it. `version` is the model version that the action is
    about, if any."""

    kind: Kind
    action: Action
    window: str
    checks: tuple[Check, ...]
    version: int | None = None

    @property
    def reason(self) -> str:
        """The checks that settled it, in one line; the same text in the log, the journal, the tag
        and the report."""
        triggers = [
            check
            for check in self.checks
            if check.role is Role.TRIGGER and check.outcome is Outcome.HOLDS
        ]
        closed = [
            check
            for check in self.checks
            if check.role in (Role.GUARD, Role.GATE) and check.outcome is not Outcome.HOLDS
        ]
        if self.action is Action.KEEP and self.kind is Kind.RETRAINING and not triggers:
            unknown = [
                check.claim
                for check in self.checks
                if check.role is Role.TRIGGER and check.outcome is Outcome.UNKNOWN
            ]
            return "no trigger fired" + (f"; not known: {', '.join(unknown)}" if unknown else "")
        if closed:
            asked = f"{triggers[0].claim}, but " if triggers and self.action is Action.KEEP else ""
            return asked + "; ".join(str(check) for check in closed)
        if triggers:
            return "; ".join(f"{check.claim}: {check.got}" for check in triggers)
        if self.action is Action.KEEP:
            return "; ".join(str(check) for check in self.checks if check.role is Role.TRIGGER)
        gates = [check for check in self.checks if check.role is Role.GATE]
        telling = [
            check
            for check in gates
            if check.claim == "val_auc" or check.claim.startswith("delta on ")
        ] or list(self.checks)
        return (f"all {len(gates)} gates hold; " if gates else "") + "; ".join(
            f"{check.claim}: {check.got}" for check in telling
        )


def make_check(claim: str, holds: bool | None, role: Role, wanted: str, got: str) -> Check:
    """One check; `holds` is None when it could not be measured."""
    outcome = Outcome.UNKNOWN if holds is None else Outcome.HOLDS if holds else Outcome.FAILS
    return Check(claim, outcome, role, wanted, got)


def all_hold(checks: list[Check], role: Role) -> bool:
    """Whether every check of a role holds; unknown does not."""
    return all(check.outcome is Outcome.HOLDS for check in checks if check.role is role)
