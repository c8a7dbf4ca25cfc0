"""Production's AUC on a window without labels: estimated, written down, and compared with the
realised AUC once labels arrive.

For information only: no decision uses it, and a turn never fails because of it. How good it was
stands in `docs/decisions.md`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from closedloop.storage.details import EstimateFacts, TurnDetails
from closedloop.storage.entry import Entry
from closedloop.turn.history import History
from closedloop.turn.new_rows import keep_new_rows, trained_windows
from closedloop.turn.ports import Parts

_LOG = logging.getLogger("closedloop.turn.without_labels")


def estimate_without_labels(history: History[Parts], labelled: Sequence[str]) -> EstimateFacts:
    """Production's AUC on the current window, from its own probabilities; None where unknown.

    `labelled` are windows that production was not trained on and whose labels are trusted, oldest
    first. What its scores mean is learnt on the newest of them before the current window. Any error
    is logged.
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
            new = keep_new_rows(history, history.read(learnt_on).labelled, trained_windows(history))
            found = history.loop.compute.estimate_without_labels(
                new.window.labels,
                history.answers(learnt_on, labelled=True)[new.kept],
                history.answers(history.window),
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
    return EstimateFacts(found.value, found.lower, found.upper) if found else EstimateFacts()


def estimated_before(entries: Iterable[Entry], window: str, production: int | None) -> float | None:
    """The newest estimate in the journal for a window and this production; None without any.

    An estimate is about one model: it cannot be compared with what another model realised.
    """
    values = [
        entry.turn.estimate.estimated_auc
        for entry in entries
        if entry.decision.window == window
        and entry.production == production
        and entry.turn.estimate is not None
        and entry.turn.estimate.estimated_auc is not None
    ]
    return values[-1] if values else None


def tell_estimates(details: TurnDetails) -> tuple[str, ...]:
    """Sentences for people on what a turn estimated, and on how an earlier estimate did."""
    sentences, estimate, realised = [], details.estimate, details.realised
    if estimate is not None and estimate.estimated_auc is not None:
        sentences.append(
            f"AUC without labels: about {estimate.estimated_auc:.2f} "
            f"[{estimate.estimated_lower:.2f}, {estimate.estimated_upper:.2f}], "
            "if scores still mean what they meant"
        )
    if realised is not None and realised.estimated_for_judged is not None:
        sentences.append(
            f"AUC without labels of {realised.realised_on}: "
            f"estimated {realised.estimated_for_judged:.2f}, "
            f"realised {realised.realised_auc:.2f}"
        )
    return tuple(sentences)
