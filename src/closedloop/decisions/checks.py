"""A decision: an action, and the checks behind it.

Everything that shows, keeps or carries out a decision reads these words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

REQUESTED = "requested by a person"


class Outcome(StrEnum):
    """Three answers, not two: what was not measured is unknown, and never counts as holding."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """What a check is for.

    Any trigger that holds asks for the action, every guard and gate must hold to allow it, a note
    only informs.
    """

    TRIGGER = "trigger"
    GUARD = "guard"
    GATE = "gate"
    NOTE = "note"


class Kind(StrEnum):
    """What a decision is about.

    SERVING only records which version began to answer. ACCEPTANCE is a person's word that the loop
    goes on from what registry and journal hold now. OUTSIDE is about a `production` that somebody
    moved outside of closedloop. ERASURE tells that one person's rows were removed from the records.
    """

    RETRAINING = "retraining"
    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    QUARANTINE = "quarantine"
    SERVING = "serving"
    ACCEPTANCE = "acceptance"
    ERASURE = "erasure"
    OUTSIDE = "moved outside"


class Action(StrEnum):
    """What to do.

    ESCALATE calls a person: the loop changes nothing by itself. WAIT asks a person before a
    promotion: PROMOTE or REJECT is the answer. RELEASE ends a QUARANTINE. RETURN puts `production`
    back where the journal has it.
    """

    RETRAIN = "retrain"
    KEEP = "keep"
    ESCALATE = "escalate"
    PROMOTE = "promote"
    REJECT = "reject"
    WAIT = "wait"
    ROLLBACK = "rollback"
    QUARANTINE = "quarantine"
    RELEASE = "release"
    SERVE = "serve"
    ACCEPT = "accept"
    FORGET = "forget"
    RETURN = "return"


@dataclass(frozen=True)
class Numbers:
    """What was measured against a limit, for a picture of it; None where there is no such number.

    `lower` and `upper` are the bounds of the interval of `value`.
    """

    value: float | None = None
    limit: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Check:
    """One claim, what was wanted and what the evidence showed.

    `summary` is the finding in a sentence, where that says more than wanted and got. The
    `headline` gates and notes sum up a decision in which every gate holds. `numbers` say the same
    as `wanted` and `got`, where those are numbers; checks of older versions have none.
    """

    claim: str
    outcome: Outcome
    role: Role
    wanted: str
    got: str
    summary: str = ""
    headline: bool = False
    numbers: Numbers | None = None

    def __str__(self) -> str:
        return self.summary or f"{self.claim}: wanted {self.wanted}, got {self.got}"

    @property
    def answer(self) -> str:
        """The outcome in the word that people read.

        A guard or gate holds or fails. A trigger or note is no demand: it is the case (yes) or not
        (no), and in a healthy month most triggers are not.
        """
        if self.outcome is Outcome.UNKNOWN or self.role in (Role.GUARD, Role.GATE):
            return self.outcome.value
        return "yes" if self.outcome is Outcome.HOLDS else "no"


@dataclass(frozen=True)
class Decision:
    """An action with every check behind it.

    `version` is the model version that the action is about, if any.
    """

    kind: Kind
    action: Action
    window: str
    checks: tuple[Check, ...]
    version: int | None = None

    @property
    def reason(self) -> str:
        """The checks that settled it, in one line.

        The same text in the log, the journal, the MLflow tag and the report.
        """
        triggers = [_finding(check) for check in self._of(Role.TRIGGER) if _holds(check)]
        closed = [str(check) for check in self._of(Role.GUARD, Role.GATE) if not _holds(check)]
        if self.action is Action.KEEP and self.kind is Kind.RETRAINING and not triggers:
            unknown = [check.claim for check in self._of(Role.TRIGGER) if _is_unknown(check)]
            return "no reason to retrain" + (f"; unknown: {', '.join(unknown)}" if unknown else "")
        if closed:
            asked = "; ".join(triggers) if self.action is Action.KEEP else ""
            return (f"{asked}, but " if asked else "") + "; ".join(closed)
        if triggers and self.action is not Action.WAIT:
            return "; ".join(triggers)
        if self.action is Action.KEEP:
            return "; ".join(str(check) for check in self._of(Role.TRIGGER))
        gates = self._of(Role.GATE)
        told = (check for check in self._of(Role.GATE, Role.NOTE) if check.headline)
        shown = list(told) or list(self.checks)
        facts = "; ".join(map(_finding, shown))
        asked = "".join(f"{trigger}; " for trigger in triggers)
        return asked + (f"all {len(gates)} gates hold; " if gates else "") + facts

    @property
    def follows(self) -> bool:
        """Whether the checks lead to this action, if it moves `production`.

        A promotion needs every gate, to wait for a person a trigger too, a rollback or a return a
        trigger and every guard. What a person asks for is a trigger. Other actions need nothing.
        """
        asked = any_trigger(self.checks)
        if self.action is Action.PROMOTE:
            return all_hold(self.checks, Role.GATE) and (asked or bool(self._of(Role.GATE)))
        if self.action is Action.WAIT:
            return all_hold(self.checks, Role.GATE) and asked
        taken = self.kind is Kind.OUTSIDE and self.action is Action.ACCEPT
        if taken or self.action in (Action.ROLLBACK, Action.RETURN):
            return all_hold(self.checks, Role.GUARD) and asked
        return True

    def _of(self, *roles: Role) -> list[Check]:
        return [check for check in self.checks if check.role in roles]


def _finding(check: Check) -> str:
    """What a check that holds has found."""
    return check.summary or f"{check.claim}: {check.got}"


def _holds(check: Check) -> bool:
    return check.outcome is Outcome.HOLDS


def _is_unknown(check: Check) -> bool:
    return check.outcome is Outcome.UNKNOWN


def make_check(
    claim: str,
    holds: bool | None,
    role: Role,
    wanted: str,
    got: str,
    *,
    summary: str = "",
    headline: bool = False,
    numbers: Numbers | None = None,
) -> Check:
    """One check; `holds` is None when it could not be measured."""
    outcome = Outcome.UNKNOWN if holds is None else Outcome.HOLDS if holds else Outcome.FAILS
    return Check(claim, outcome, role, wanted, got, summary, headline, numbers)


def request_check(what: str, by: str | None = None, why: str | None = None) -> Check:
    """The trigger of a decision that a person asked for, with who that was and why, if known."""
    what += (f", by {by}" if by else "") + (f": {why}" if why else "")
    return make_check(
        REQUESTED, True, Role.TRIGGER, "a request", what, summary=f"{REQUESTED}: {what}"
    )


def all_hold(checks: Iterable[Check], role: Role) -> bool:
    """Whether every check of a role holds; unknown does not."""
    return all(_holds(check) for check in checks if check.role is role)


def any_trigger(checks: Iterable[Check]) -> bool:
    """Whether a trigger asks for the action."""
    return any(_holds(check) for check in checks if check.role is Role.TRIGGER)
