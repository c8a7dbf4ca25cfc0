"""What keeps the cost of retraining in hand: labels, a rest between trainings, and a budget."""

from __future__ import annotations

from closedloop.decisions.approval import waiting_checks
from closedloop.decisions.checks import Check, Numbers, Role, make_check
from closedloop.decisions.evidence import RetrainingEvidence
from closedloop.decisions.more_labels import windows_to_come
from closedloop.decisions.policy import Policy


def label_checks(evidence: RetrainingEvidence, policy: Policy) -> list[Check]:
    """Enough labelled rows that production does not know."""
    rules, labels = policy.retraining, dict(evidence.new_labels)
    total, rarest = sum(labels.values()), min(labels.values(), default=0)
    return [
        make_check(
            "enough new labels",
            total >= rules.min_new_labels,
            Role.GUARD,
            f"{rules.min_new_labels} labelled rows newer than production",
            str(total),
            numbers=Numbers(total, rules.min_new_labels),
        ),
        make_check(
            "enough new labels of each class",
            rarest >= rules.min_new_labels_per_class,
            Role.GUARD,
            f"{rules.min_new_labels_per_class} of each",
            f"{rarest} of the rarest{_tell_when(evidence, rarest, rules.min_new_labels_per_class)}",
            numbers=Numbers(rarest, rules.min_new_labels_per_class),
        ),
    ]


def _tell_when(evidence: RetrainingEvidence, rarest: int, wanted: int) -> str:
    """In how many windows there will be enough, at the rate since production was trained."""
    through = evidence.state.trained_through
    windows = evidence.window.index - (-1 if through is None else through)
    more = windows_to_come(rarest, wanted, windows)
    return f", about {more} more window{'' if more == 1 else 's'} would do" if more else ""


def cost_checks(evidence: RetrainingEvidence, policy: Policy) -> list[Check]:
    """One training a window, a rest between trainings, and a budget."""
    rules, state, index = policy.retraining, evidence.state, evidence.window.index
    last = max(state.trained_at, default=None)
    spent = sum(1 for trained in state.trained_at if trained > index - rules.budget_windows)
    # Without a production model there is nothing to rest from; the budget still holds.
    rested = last is None or state.production is None or index - last > rules.cooldown_windows
    return [
        *waiting_checks(state),
        make_check(
            "no retraining yet for this window",
            index not in state.trained_at,
            Role.GUARD,
            "one retraining per window",
            "one" if index in state.trained_at else "none yet",
            summary="this window was trained for already" if index in state.trained_at else "",
        ),
        make_check(
            "cooldown is over",
            rested,
            Role.GUARD,
            f"more than {rules.cooldown_windows} windows since the last retraining",
            "none before" if last is None else f"{index - last}",
            summary=""
            if rested or last is None
            else f"the last retraining was {windows_ago(index - last)}, "
            f"cooldown {rules.cooldown_windows}",
            numbers=None if last is None else Numbers(index - last, rules.cooldown_windows),
        ),
        make_check(
            "retraining budget is left",
            spent < rules.budget_trainings,
            Role.GUARD,
            f"fewer than {rules.budget_trainings} in {rules.budget_windows} windows",
            str(spent),
            summary=""
            if spent < rules.budget_trainings
            else f"the budget is spent: {spent} retrainings in {rules.budget_windows} windows",
            numbers=Numbers(spent, rules.budget_trainings),
        ),
    ]


def windows_ago(windows: int) -> str:
    """How long ago, in words."""
    return f"{windows} window{'' if windows == 1 else 's'} ago"
