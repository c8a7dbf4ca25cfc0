"""What replayed rounds say about a policy. Pure: rounds in, figures out. More is better in every
AUC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from closedloop.decisions.evidence import Estimate

# A difference in AUC that somebody would notice.
NOTICEABLE = 0.005
# Two-sided, so that either side alone errs in 5 % of the cases.
CONFIDENCE = 0.90
# A gain that is smaller is no gain to take a share of.
SMALLEST_GAIN = 1e-9
# The part of the best policy's share that is as good as all of it.
ENOUGH = 0.95


@dataclass(frozen=True)
class Round:
    """One turn as it was replayed: what was decided when `window` had arrived, and how its
    production answered the next window.

    `advantage` is the candidate's AUC minus that of the production it met, on the rows of the next
    window, at `CONFIDENCE`; None without a candidate. `delta` is what the decision itself was
    shown. `failed` says why a turn ended without a decision.
    """

    number: int
    window: str
    next_window: str
    actions: tuple[str, ...]
    reason: str
    production: int
    candidate: int | None
    trained_on: tuple[str, ...]
    next_auc: float | None
    delta: float | None
    advantage: Estimate | None
    promoted: bool
    rolled_back: bool
    quarantined: tuple[str, ...] = ()
    failed: str = ""
    recipe: str = ""

    @property
    def harmful(self) -> bool:
        """A promotion after which the next window went significantly worse, by more than
        `NOTICEABLE`."""
        return self.promoted and self.advantage is not None and self.advantage.upper < -NOTICEABLE

    @property
    def missed(self) -> bool:
        """A candidate that was not promoted and would have been significantly better, by more than
        `NOTICEABLE`."""
        return (
            self.candidate is not None
            and not self.promoted
            and self.advantage is not None
            and self.advantage.lower > NOTICEABLE
        )


@dataclass(frozen=True)
class Figures:
    """A policy in numbers, over the rounds of one stream.

    `share` is the part of always-retraining's gain over never retraining that the policy keeps,
    None where there is nothing to gain; `worst_regret` is the best fixed policy's mean AUC minus
    this one's; `below_static` is that of never retraining minus this one's.
    """

    policy: str
    rounds: int
    mean_auc: float | None
    share: float | None
    worst_regret: float | None
    below_static: float | None
    trainings: int
    trainings_share: float
    promotions: int
    rejected: int
    rollbacks: int
    harmful: int
    missed: int
    missed_share: float


def mean_auc(rounds: Sequence[Round]) -> float | None:
    """Mean of the next-window AUC, over the rounds where it could be measured; None when there was
    none."""
    found = [one.next_auc for one in rounds if one.next_auc is not None]
    return fmean(found) if found else None


def measure_share(gain: float | None, whole: float | None) -> float | None:
    """Part of the whole gain; None when the whole is not positive, or as good as nothing."""
    return None if gain is None or whole is None or whole < SMALLEST_GAIN else gain / whole


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def measure_policies(
    replays: Mapping[str, Sequence[Round]], fixed: Sequence[str]
) -> tuple[Figures, ...]:
    """The figures of every policy of one stream; `replays` holds `static` and `always`, regret is
    held against the best of `fixed`."""
    means = {name: mean_auc(rounds) for name, rounds in replays.items()}
    static, always = means["static"], means["always"]
    best = max((mean for name in fixed if (mean := means[name]) is not None), default=None)
    return tuple(
        _measure(name, rounds, means[name], static, always, best)
        for name, rounds in replays.items()
    )


def _measure(
    name: str,
    rounds: Sequence[Round],
    mean: float | None,
    static: float | None,
    always: float | None,
    best: float | None,
) -> Figures:
    trainings, missed = (
        sum(one.candidate is not None for one in rounds),
        sum(one.missed for one in rounds),
    )
    return Figures(
        policy=name,
        rounds=len(rounds),
        mean_auc=mean,
        share=measure_share(_difference(mean, static), _difference(always, static)),
        worst_regret=_difference(best, mean),
        below_static=_difference(static, mean),
        trainings=trainings,
        trainings_share=trainings / len(rounds) if rounds else 0.0,
        promotions=sum(one.promoted for one in rounds),
        rejected=sum(one.candidate is not None and not one.promoted for one in rounds),
        rollbacks=sum(one.rolled_back for one in rounds),
        harmful=sum(one.harmful for one in rounds),
        missed=missed,
        missed_share=missed / len(rounds) if rounds else 0.0,
    )


def recommend(figures: Sequence[Figures], own: str = "loop") -> str:
    """One sentence: the cheapest policy that keeps nearly all of what the best one gains, with its
    numbers beside those of `own`."""
    gains = {one.policy: -one.below_static for one in figures if one.below_static is not None}
    best = max(gains.values(), default=0.0)
    if best < NOTICEABLE:
        return f"retraining gains hardly anything here, {max(best, 0.0):.4f} AUC at most: a model that is never retrained is about as good"
    enough = [one for one in figures if gains.get(one.policy, 0.0) >= ENOUGH * best]
    chosen = min(enough, key=lambda one: (one.trainings, -gains[one.policy]))
    mine = next(
        (one for one in figures if one.policy == own and one is not chosen and own in gains), None
    )
    sentences = [
        _sentence(one, gains[one.policy], own) for one in (chosen, mine) if one is not None
    ]
    return "; ".join(sentences)


def _sentence(one: Figures, gain: float, own: str) -> str:
    name, trained = (
        f"your policy ({own})" if one.policy == own else one.policy,
        f"{one.trainings_share:.0%}",
    )
    # A share of next to nothing is a large number that says nothing.
    if one.share is None or (one.share and abs(gain / one.share) < NOTICEABLE):
        return f"{name} ends {gain:+.4f} AUC against never retraining, with {trained} of always-retrain's trainings"
    return f"{name} keeps {one.share:.2f} of always-retrain's gain with {trained} of its trainings"
