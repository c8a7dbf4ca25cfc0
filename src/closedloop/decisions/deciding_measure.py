"""The measure that decides: how it is called, and which way of it is better.

More is better in everything that is compared. So a loss is turned round, to its negative, when it
is measured, and turned back to be shown: only this module knows which measures are losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MeasureName = Literal["roc_auc", "average_precision", "log_loss", "brier", "cost"]
ROC_AUC: MeasureName = "roc_auc"


@dataclass(frozen=True)
class Measure:
    """The words of a measure; `loss` when less of it is better, `most` its largest value."""

    words: str
    loss: bool = False
    most: float = 1.0

    @property
    def gain(self) -> str:
        """What a delta of it is called: above 0 is better, also of a loss."""
        return f"gain in {self.words}" if self.loss else self.words

    @property
    def fell(self) -> str:
        """That it became worse."""
        return f"{self.words} rose" if self.loss else f"{self.words} fell"

    def turn(self, value: float) -> float:
        """From the value that is shown to one of which more is better, and back."""
        return -value if self.loss else value


MEASURES: dict[str, Measure] = {
    "roc_auc": Measure("AUC"),
    "average_precision": Measure("average precision"),
    "log_loss": Measure("log loss", loss=True, most=1e9),
    "brier": Measure("Brier score", loss=True, most=2.0),
    "cost": Measure("cost", loss=True, most=1e9),
}


@dataclass(frozen=True)
class Measured:
    """What a model reached in a measure other than AUC; more is better.

    `error` is the standard error.
    """

    measure: str
    value: float
    error: float


def read_measured(
    measure: str, auc: float | None, auc_error: float | None, measured: Measured | None
) -> tuple[float | None, float | None]:
    """The value in this measure and its standard error, more is better; None where unknown.

    A model knows its AUC and the measure that decided when it was registered.
    """
    if measure == ROC_AUC:
        return auc, auc_error
    if measured is None or measured.measure != measure:
        return None, None
    return measured.value, measured.error


def check_cost(cost: tuple[tuple[float, ...], ...], *, needed: bool) -> None:
    """Raise ValueError for what is no table of costs; an empty one is none unless `needed`."""
    square = all(len(line) == len(cost) for line in cost)
    if (
        (needed and not cost)
        or not square
        or not all(0 <= each < 1e9 for line in cost for each in line)
    ):
        raise ValueError("cost must have a row and a column for each class, of numbers from 0 on")
    for number, line in enumerate(cost):
        if any(line[number] >= each for place, each in enumerate(line) if place != number):
            raise ValueError("cost must be least for the right answer, in each row of a true class")
