"""Production's AUC on a window whose labels have not come: estimated, written down, and held
against the truth when it is there.

For information only: no decision looks at it, and a turn never fails by it. `docs/decisions.md` has
what it was worth.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from closedloop.storage.journal import Entry
from closedloop.turn.history import History
from closedloop.turn.ports import Parts

_LOG = logging.getLogger("closedloop.unlabelled")


def estimate_without_labels(history: History[Parts], labelled: Sequence[str]) -> dict[str, Any]:
    """Production's AUC on the current window by its own probabilities: what the journal keeps of
    it, each null when it is not known.

    `labelled` are windows that production was not trained on and whose labels are trusted, oldest
    first: what its scores are worth is learnt on the newest of them that is not the current window.
    Whatever goes wrong is logged.
    """
    found = None
    learnt_on = next(
        (
            name
            for name in reversed(labelled)
            if name != history.window and len(history.read(name).labelled.labels)
        ),
        None,
    )
    if learnt_on is not None and history.bundle is not None:
        use_case = history.loop.use_case
        try:
            seen, unseen = (
                history.answers(learnt_on, labelled=True),
                history.answers(history.window),
            )
            found = history.loop.compute.estimate_without_labels(
                history.read(learnt_on).labelled.labels,
                seen,
                unseen,
                use_case.policy.promotion.confidence,
                use_case.training.seed,
            )
        except Exception as error:  # it informs, so it may be missing, and it may not cost a turn
            _LOG.warning(
                "AUC without labels of %s is not known: %s: %s",
                history.window,
                type(error).__name__,
                error,
            )
    return {
        "estimated_auc": found.value if found else None,
        "estimated_lower": found.lower if found else None,
        "estimated_upper": found.upper if found else None,
    }


def estimated_before(entries: Iterable[Entry], window: str, production: int | None) -> float | None:
    """What the journal says was estimated for a window when the same production was live, the
    newest; None when nothing was.

    An estimate is of one model: what another one was estimated to reach cannot be held against what
    this one realised.
    """
    values = [
        one.details["estimated_auc"]
        for one in entries
        if one.decision.window == window
        and one.details.get("estimated_auc") is not None
        and one.details.get("production") == production
    ]
    return values[-1] if values else None


def tell_estimates(details: Mapping[str, Any]) -> tuple[str, ...]:
    """The sentences for people on what a turn estimated, and on how an earlier estimate did; none
    when there is nothing to tell."""
    told = []
    if details.get("estimated_auc") is not None:
        told.append(
            f"AUC without labels: about {details['estimated_auc']:.2f} [{details['estimated_lower']:.2f}, "
            f"{details['estimated_upper']:.2f}], if scores still mean what they meant"
        )
    if details.get("estimated_for_judged") is not None:
        told.append(
            f"AUC without labels of {details['realised_on']}: estimated {details['estimated_for_judged']:.2f}, "
            f"realised {details['realised_auc']:.2f}"
        )
    return tuple(told)
