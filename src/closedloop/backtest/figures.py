"""What replayed rounds say about a policy. Pure: rounds in, figures out; more AUC is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from closedloop.decisions.evidence import Estimate

# A difference in AUC, or in another measure, that somebody would notice.
NOTICEABLE = 0.005
# Two-sided: each side alone errs in 5 % of the cases.
CONFIDENCE = 0.90
# A smaller gain has no share.
SMALLEST_GAIN = 1e-9
# The part of the best policy's gain that is as good as all of it.
ENOUGH = 0.95


@dataclass(frozen=True)
class Round:
    """One replayed turn.

    It holds what was decided when `window` had arrived, and how its production answered the next
    window.

    `next_auc` and `advantage` are in the measure that decides, more is better; AUC by default.
    `advantage` is the candidate's minus that of the production it met, on the rows of the next
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
        """A promotion after which the next window was significantly worse by `NOTICEABLE`."""
        return self.promoted and self.advantage is not None and self.advantage.upper < -NOTICEABLE

    @property
    def missed(self) -> bool:
        """A candidate left out that would have been significantly better by `NOTICEABLE`."""
        return (
            self.candidate is not None
            and not self.promoted
            and self.advantage is not None
            and self.advantage.lower > NOTICEABLE
        )


@dataclass(frozen=True)
class PolicyFigures:
    """A policy in numbers, over the rounds of one stream.

    `share` is the part of always-retraining's gain over never retraining that the policy keeps,
    None where there is nothing to gain; `asked` are candidates that would have waited for a person,
    and that the replay approved at once; `worst_regret` is the best fixed policy's mean AUC minus
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
    asked: int = 0


def mean_auc(rounds: Sequence[Round]) -> float | None:
    """Mean next-window AUC over the rounds where it could be measured; None without any."""
    aucs = [entry.next_auc for entry in rounds if entry.next_auc is not None]
    return fmean(aucs) if aucs else None


def measure_share(gain: float | None, whole: float | None) -> float | None:
    """Part of the whole gain; None when the whole is not above `SMALLEST_GAIN`."""
    return None if gain is None or whole is None or whole < SMALLEST_GAIN else gain / whole


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def measure_policies(
    replays: Mapping[str, Sequence[Round]], fixed: Sequence[str]
) -> tuple[PolicyFigures, ...]:
    """The figures of every policy of one stream.

    `replays` must hold `static` and `always`; regret is measured against the best of `fixed`.
    """
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
) -> PolicyFigures:
    trainings = sum(entry.candidate is not None for entry in rounds)
    missed = sum(entry.missed for entry in rounds)
    return PolicyFigures(
        policy=name,
        rounds=len(rounds),
        mean_auc=mean,
        share=measure_share(_difference(mean, static), _difference(always, static)),
        worst_regret=_difference(best, mean),
        below_static=_difference(static, mean),
        trainings=trainings,
        trainings_share=trainings / len(rounds) if rounds else 0.0,
        promotions=sum(entry.promoted for entry in rounds),
        rejected=sum(entry.candidate is not None and not entry.promoted for entry in rounds),
        rollbacks=sum(entry.rolled_back for entry in rounds),
        harmful=sum(entry.harmful for entry in rounds),
        missed=missed,
        missed_share=missed / len(rounds) if rounds else 0.0,
        asked=sum("wait" in entry.actions for entry in rounds),
    )


def tell_asked(figures: Sequence[PolicyFigures]) -> str:
    """How often a person would have been asked; empty where no policy asks."""
    asked = [f"{policy.asked} times under {policy.policy}" for policy in figures if policy.asked]
    return (
        f"a person would have been asked {', '.join(asked)}: a replay approves at once"
        if asked
        else ""
    )


def recommend(figures: Sequence[PolicyFigures], own: str = "loop", measure: str = "AUC") -> str:
    """One sentence: the cheapest policy that keeps nearly all of the best gain, beside `own`."""
    gains = {
        policy.policy: -policy.below_static for policy in figures if policy.below_static is not None
    }
    best = max(gains.values(), default=0.0)
    if best < NOTICEABLE:
        return (
            f"retraining gains hardly anything here, {max(best, 0.0):.4f} {measure} at most: "
            "a model that is never retrained is about as good"
        )
    enough = [policy for policy in figures if gains.get(policy.policy, 0.0) >= ENOUGH * best]
    chosen = min(enough, key=lambda policy: (policy.trainings, -gains[policy.policy]))
    mine = [
        policy
        for policy in figures
        if policy.policy == own and policy is not chosen and own in gains
    ]
    shown = (chosen, *mine[:1])
    return "; ".join(_sentence(policy, gains[policy.policy], own, measure) for policy in shown)


def _sentence(figures: PolicyFigures, gain: float, own: str, measure: str) -> str:
    name = f"your policy ({own})" if figures.policy == own else figures.policy
    trained, share = f"{figures.trainings_share:.0%}", figures.share
    # A share of next to nothing is a large number that says nothing.
    if share is None or (share and abs(gain / share) < NOTICEABLE):
        return (
            f"{name} ends {gain:+.4f} {measure} against never retraining, "
            f"with {trained} of always-retrain's trainings"
        )
    return f"{name} keeps {share:.2f} of always-retrain's gain with {trained} of its trainings"
