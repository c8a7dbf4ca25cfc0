"""Whether `production` and `previous` stand where the decisions in the journal put them.

Whoever can write to MLflow can move them behind the loop's back. What the journal says was live
last is the comparison, here for everybody: turns, `status`, `doctor`, the service, a rollback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from closedloop.decisions.checks import Action, Kind
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal

MOVES = (Action.PROMOTE, Action.ROLLBACK, Action.ACCEPT, Action.RETURN)
# The kinds of decisions on what is live: all that this module needs.
KINDS = (Kind.PROMOTION, Kind.ROLLBACK, Kind.ACCEPTANCE, Kind.OUTSIDE)


@dataclass(frozen=True)
class Live:
    """The version that is live and the one it replaced; None where there is none."""

    production: int | None = None
    previous: int | None = None

    def after(self, move: Entry) -> Live:
        """Where a promotion, a rollback, an acceptance or a return leaves the aliases."""
        to, instead_of = move.decision.version, move.production
        if move.decision.action is Action.ACCEPT:
            return Live(to, instead_of)
        if move.decision.action is Action.RETURN:
            return Live(to, self.previous)
        if move.decision.action is Action.ROLLBACK:
            return Live(to, None)
        return Live(to, self.previous if instead_of in (None, to) else instead_of)


def read_live(entries: Iterable[Entry]) -> tuple[Live, ...]:
    """Where the journal allows the aliases to stand, the settled state first.

    It is that after the last move that was carried out. After each move that was begun since, they
    may stand in between: its command runs, or was cut off.
    """
    settled, begun = Live(), list[Entry]()
    for entry in entries:
        if entry.decision.action not in MOVES or entry.outcome == "superseded":
            continue
        if entry.outcome is None:
            begun.append(entry)
        else:
            settled, begun = settled.after(entry), []
    return (settled, *(settled.after(entry) for entry in begun))


def last_settled(entries: Sequence[Entry]) -> Entry | None:
    """The newest decision, carried out, that says what is live."""
    settled = (entry for entry in reversed(entries) if entry.outcome == "done")
    return next((entry for entry in settled if entry.decision.action in MOVES), None)


def find_way_back(entries: Sequence[Entry], now: Live) -> int | None:
    """The version that a rollback leads to: `previous`, where the journal has it too.

    None for a version that was never to be live by any decision, such as a rejected one.
    """
    known = {state.previous for state in read_live(entries)} - {now.production, None}
    if now.previous not in known or find_refusal(entries, now.previous) is not None:
        return None
    return now.previous


def tell_moved(entries: Sequence[Entry], now: Live) -> tuple[str, ...]:
    """A sentence for each alias that was moved behind the loop's back, with what to do."""
    states, told = read_live(entries), []
    if now.production not in {state.production for state in states}:
        told.append(_tell_production(entries, states[0].production, now.production))
    if now.previous not in {state.previous for state in states}:
        there = _describe(entries, now.previous)
        wanted = _describe(entries, states[0].previous)
        told.append(
            f"previous points at {there}, by the journal at {wanted}: somebody moved the alias "
            "outside of closedloop, so a rollback has to name its version: "
            "closedloop rollback --to N"
        )
    return tuple(told)


def ask_moved(journal: Journal, use_case: str, read: Callable[[], Live]) -> tuple[str, ...]:
    """As `tell_moved`; `read` asks where the aliases are.

    What is found is looked at twice: a decision that is carried out between two questions is none
    of it.
    """

    def look() -> tuple[str, ...]:
        now = read()
        return tell_moved(journal.history(use_case, kinds=KINDS), now)

    if not (first := look()):
        return ()
    again = look()
    return tuple(told for told in first if told in again)


def tell_outside(entries: Iterable[Entry], window: str) -> tuple[str, ...]:
    """What a turn on this window did about a `production` that was moved outside of closedloop.

    That a person is called is told by `tell_moved`, unless a policy was not followed.
    """
    done = {
        Action.ACCEPT: "taken as live",
        Action.RETURN: "moved back",
        Action.ESCALATE: "a person is called",
        Action.KEEP: "nothing to do",
    }
    return tuple(
        f"{entry.decision.reason}: {done[entry.decision.action]}, decision {entry.id}"
        for entry in entries
        if entry.decision.kind is Kind.OUTSIDE
        and entry.decision.window == window
        and entry.outcome == "done"
        and (entry.decision.action is not Action.ESCALATE or len(entry.decision.checks) > 1)
    )


def _tell_production(entries: Sequence[Entry], wanted: int | None, got: int | None) -> str:
    if got is None:
        then = f"put it back with: closedloop promote {wanted}"
    elif wanted is None:
        then = f"record it with: closedloop promote {got}"
    else:
        then = (
            f"go back with: closedloop rollback --to {wanted}, or record it with: "
            f"closedloop promote {got}"
        )
    return (
        f"production points at {_describe(entries, got)}, by the journal at "
        f"{_describe(entries, wanted)}: somebody moved the alias outside of closedloop; {then}"
    )


def describe_version(entries: Sequence[Entry], version: int) -> str:
    """The version, and what the journal has against it."""
    if not is_known(entries, version):
        return f"version {version}, which no decision is about"
    refusal = find_refusal(entries, version)
    if refusal is None:
        back = _find_way_it_went(entries, version)
        return f"version {version}" + (f", which decision {back.id} took back" if back else "")
    left = "rejected" if refusal.decision.action is Action.REJECT else "left to a person"
    return f"version {version}, which decision {refusal.id} {left}"


def find_refusal(entries: Sequence[Entry], version: int | None) -> Entry | None:
    """The newest decision that kept a version from being live, if no other made it live."""
    about = [entry for entry in entries if _is_about(entry, version)]
    made_live = any(entry.decision.action in MOVES for entry in about)
    return about[-1] if about and not made_live else None


def _find_way_it_went(entries: Sequence[Entry], version: int) -> Entry | None:
    """The newest rollback from a version, unless it was promoted again since."""
    done = [entry for entry in entries if entry.outcome == "done" and _moves(entry, version)]
    return done[-1] if done and done[-1].decision.action is Action.ROLLBACK else None


def _moves(entry: Entry, version: int) -> bool:
    """Whether an entry moves `production` to a version, or takes it back."""
    action = entry.decision.action
    gone = action is Action.ROLLBACK and entry.production == version
    return gone or (action in MOVES and entry.decision.version == version)


def is_known(entries: Sequence[Entry], version: int) -> bool:
    """Whether a decision on what is live names this version."""
    return any(_is_about(entry, version) for entry in entries)


def _is_about(entry: Entry, version: int | None) -> bool:
    """That a version was found in production outside of closedloop says nothing of its worth."""
    decision = entry.decision
    only_seen = decision.kind is Kind.OUTSIDE and decision.action not in MOVES
    return decision.kind in KINDS and decision.version == version and not only_seen


def _describe(entries: Sequence[Entry], version: int | None) -> str:
    return "no version" if version is None else describe_version(entries, version)
