"""An interval that may be looked at again and again while rows come in.

A usual interval at 95 % misses the truth in 5 % of the cases when it is looked at once. Looked at
after every window until it shows something, it misses it in far more. The one here holds at all
times at once: whoever looks more often errs no more.
"""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt
from statistics import NormalDist

from closedloop.decisions.evidence import Estimate


def hold_at_any_time(found: Estimate, confidence: float, narrowest_at: int) -> Estimate:
    """`found`, measured with a usual interval at `confidence`, with one that holds at every look.

    The probability that the truth is ever outside, at any number of rows, is at most
    1 - `confidence`, half of it on each side. It is narrowest, relative to the usual one, at about
    `narrowest_at` rows. No spread stays no spread.

    An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Annals
    of Statistics 52:2613) with the one-sided normal mixture of Robbins (1970, Annals of
    Mathematical Statistics 41:1397) on each side, in the closed form of Howard, Ramdas, McAuliffe
    and Sekhon (2021, Annals of Statistics 49:1055).
    """
    alpha = (1 - confidence) / 2
    error = (found.upper - found.lower) / (2 * NormalDist().inv_cdf(1 - alpha))
    needed = -2 * log(alpha)
    information = (needed + log(needed + 1)) * found.rows / max(narrowest_at, 1)
    if not (error and information):
        return found
    widening = log(1 + sqrt(information + 1) / (2 * alpha)) * 2 * (1 + 1 / information)
    reach = error * sqrt(widening)
    return replace(found, lower=found.value - reach, upper=found.value + reach)
