"""The floors of a promotion: the scores that a candidate must reach by itself."""

from __future__ import annotations

from dataclasses import dataclass

from closedloop.decisions.checks import Check, Numbers, Role, make_check
from closedloop.decisions.evidence import Comparison, PromotionEvidence
from closedloop.decisions.policy import Policy, PromotionPolicy

# The AUC of answers at random.
CHANCE = 0.5
# What a person can do about it before a better model is there.
ANOTHER_THRESHOLD = ', or choose = "f1" under [decision] for another threshold'


@dataclass(frozen=True)
class Floor:
    """A score that keeps bad models out.

    It must not keep a worse one in, so it does not bind while production is below it too, unless
    there is a reason why it `binds`. `value` is the candidate's score and `production` that of
    production; None where unknown.
    """

    claim: str
    value: float | None
    production: float | None
    limit: float
    binds: str
    above: str = ""
    headline: bool = False

    @property
    def check(self) -> Check:
        """The gate."""
        below = f"production is below it too, with {self.production:.4f}" if self._below else ""
        why = ", but ".join(filter(None, [below, self.binds if self._missed else ""]))
        return make_check(
            self.claim,
            None if self.value is None else not self._missed or (self._below and not self.binds),
            Role.GATE,
            f"at least {self.limit:.3f}{self.above}" + (f" ({why})" if why else ""),
            "unknown" if self.value is None else f"{self.value:.4f}",
            headline=self.headline,
            numbers=Numbers(self.value, self.limit),
        )

    @property
    def asks_a_person(self) -> bool:
        """Whether the candidate misses a floor that binds, and no production is known to reach it.

        Then the data is in doubt, not only the candidate.
        """
        return bool(self.binds) and self._missed and (self.production is None or self._below)

    @property
    def _missed(self) -> bool:
        return self.value is not None and self.value < self.limit

    @property
    def _below(self) -> bool:
        return self.production is not None and self.production < self.limit


def measure_floors(
    evidence: PromotionEvidence, comparison: Comparison, policy: Policy
) -> tuple[Floor, ...]:
    """The floors of val_auc, F1 and the gain over a trivial model; val_auc's is never below 0.5."""
    rules, scores, live = policy.promotion, comparison.candidate, comparison.production
    auc, base = scores.val_auc, comparison.baseline_auc
    live_auc = live.val_auc if live else None
    binds = _why_floors_bind(evidence, comparison)
    return (
        Floor("val_auc", auc, live_auc, max(rules.min_val_auc, CHANCE), binds, headline=True),
        *_measure_f1_floors(comparison, rules, binds),
        Floor(
            "better than the trivial baseline",
            None if auc is None else auc - base,
            None if live_auc is None else live_auc - base,
            min(rules.min_gain_over_baseline, 1 - base),  # no model gains more than is left
            binds,
            f" above its AUC of {base:.4f}",
        ),
    )


def _measure_f1_floors(comparison: Comparison, rules: PromotionPolicy, binds: str) -> list[Floor]:
    """F1 of the class that matters: of two the second; of more all, averaged.

    The other class of two is the easy one, and would hide a model that never answers the rare one.
    """
    scores, live = comparison.candidate, comparison.production
    two = len(scores.classes) == 2
    advise = two and comparison.threshold is None and scores.f1 < rules.min_f1
    floors = [
        Floor(
            f"F1 of {scores.classes[1].label}" if two else "F1",
            scores.f1,
            live.f1 if live else None,
            rules.min_f1,
            binds,
            ANOTHER_THRESHOLD if advise else "",
        )
    ]
    if not rules.min_f1_per_class:
        return floors
    before = {part.label: part.f1 for part in live.classes} if live else {}
    return floors + [
        Floor(
            f"F1 of {part.label} by itself",
            part.f1,
            before.get(part.label),
            rules.min_f1_per_class,
            binds,
        )
        for part in scores.classes
    ]


def _why_floors_bind(evidence: PromotionEvidence, comparison: Comparison) -> str:
    """Why floors bind even where production is below them too; empty if they need not."""
    auc = comparison.candidate.val_auc
    if comparison.window in evidence.quarantined:
        return f"{comparison.window} is in quarantine"
    worse = auc is not None and auc < CHANCE
    return f"an AUC below {CHANCE:g} is worse than chance" if worse else ""


def calibration_checks(comparison: Comparison, policy: Policy) -> list[Check]:
    """The gate of the calibration error, if the policy has one.

    Production's own error takes the place of a limit below it: no worse than that.
    """
    limit, live = policy.promotion.max_calibration_error, comparison.production
    if limit == 1:
        return []
    before = live.calibration_error if live else None
    allowed, error = max(limit, before or 0.0), comparison.candidate.calibration_error
    return [
        make_check(
            "calibration error",
            None if error is None else error <= allowed,
            Role.GATE,
            f"at most {allowed:.3f}" + (", that of production" if allowed > limit else ""),
            "unknown" if error is None else f"{error:.4f}",
            numbers=Numbers(error, allowed),
        )
    ]
