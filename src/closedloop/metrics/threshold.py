"""From probabilities to one class: the likeliest, or the second of two from a threshold on.

Needs numpy alone: the service answers with it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closedloop.decisions.policy import PromotionPolicy
from closedloop.use_case.contract import AnswerRule

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]


def answer_classes(probabilities: Probabilities, threshold: float | None) -> NDArray[np.intp]:
    """The number of the answered class of each row, from probabilities of shape (n, k)."""
    if threshold is None:
        return np.asarray(probabilities.argmax(axis=1))
    return (probabilities[:, 1] >= threshold).astype(np.intp)


def least_cost_threshold(cost: Sequence[Sequence[float]]) -> float | None:
    """From this probability on, answering the second of two classes costs less (Elkan 2001, IJCAI).

    None for more than two classes: the likeliest is the answer.
    """
    if len(cost) != 2:
        return None
    (right_no, false_alarm), (missed, right_yes) = cost
    wrong_yes, wrong_no = false_alarm - right_no, missed - right_yes
    return wrong_yes / (wrong_yes + wrong_no)


def choose_threshold(
    labels: Labels, probabilities: Probabilities, rule: AnswerRule, rules: PromotionPolicy
) -> float | None:
    """The threshold that the rule asks for; None where the likeliest class is the answer.

    A chosen one lies between two probabilities of the rows, so that a rounding error moves no row
    across it. Without a threshold of the wanted precision it is the one of the highest. The cost
    that decides is that of the answers that are given, so it sets the threshold.
    """
    if rules.measure == "cost":
        return least_cost_threshold(rules.cost)
    if rule.choose == "fixed":
        return None if rule.threshold == AnswerRule().threshold else rule.threshold
    cost = rules.cost
    order = np.argsort(-probabilities[:, 1], kind="stable")
    ranked, hits = probabilities[order, 1], np.cumsum(labels[order] == 1)
    # Places after which the probability falls: only there can rows be told apart.
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    answered, hits, positives = last + 1, hits[last], int(hits[-1])
    worth = _worth(rule, cost, answered, hits, positives, len(labels))
    best = int(np.argmax(worth))
    if rule.choose == "cost" and ranked[0] < 1:
        none = np.zeros(1, dtype=int)
        if _worth(rule, cost, none, none, positives, len(labels))[0] > worth[best]:
            return float((ranked[0] + 1) / 2)
    below = ranked[last[best] + 1] if best + 1 < len(last) else 0.0
    return float((ranked[last[best]] + below) / 2)


def _worth(
    rule: AnswerRule,
    cost: tuple[tuple[float, ...], ...],
    answered: NDArray[np.integer[Any]],
    hits: NDArray[np.integer[Any]],
    positives: int,
    rows: int,
) -> NDArray[np.float64]:
    """How good each threshold is, when so many rows are answered, and so many of them rightly."""
    if rule.choose == "f1":
        return np.asarray(2 * hits / (answered + positives))
    if rule.choose == "cost":
        (right_no, false_alarm), (missed, right_yes) = cost
        misses, false_alarms = positives - hits, answered - hits
        return -(
            hits * right_yes
            + misses * missed
            + false_alarms * false_alarm
            + (rows - positives - false_alarms) * right_no
        )
    precision = hits / answered
    reached = precision >= rule.min_precision
    return np.where(reached, 1 + hits, precision) if reached.any() else precision
