"""What the watch after a promotion has seen: frozen facts, as in `evidence`."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.evidence import Estimate, LoopState, Window


@dataclass(frozen=True)
class Answers:
    """How one version answers the rows of a window, labelled or not.

    `unusable` says why its answers are none, for example that they are not finite; empty if they
    are. `same_share` is the share of rows with the commonest answer. `shift` is the distance, 0 to
    1, of its scores from those that it was judged by before its promotion; None where these are
    not kept.
    """

    unusable: str = ""
    same_share: float | None = None
    shift: float | None = None


@dataclass(frozen=True)
class AnswersSeen:
    """Production and the version it replaced, asked for the same `rows` rows."""

    rows: int
    production: Answers
    previous: Answers


@dataclass(frozen=True)
class Served:
    """What the service noted of one version: calls of its model, and how many of them failed.

    `median_ms` is what one took in the median; None without a call that was answered.
    """

    version: int
    calls: int
    failed: int
    median_ms: float | None = None


@dataclass(frozen=True)
class RollbackEvidence:
    """All that `decide_rollback` looks at.

    `delta` is production minus previous, in the measure that decides, on the same rows: all those
    with labels of the windows `compared`, which came after the promotion. `rarest` counts the rows
    of their rarest class, None in evidence of older versions. `answers` needs no labels, `served`
    no window either; None where nobody looked.
    """

    window: Window
    state: LoopState
    delta: Estimate | None
    compared: tuple[str, ...] = ()
    rarest: int | None = None
    answers: AnswersSeen | None = None
    served: Served | None = None
    served_before: Served | None = None
