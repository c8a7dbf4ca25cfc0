"""A search in a process of its own that kills itself: `python -m ... FOLDER TRIALS PLACE`."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from closedloop.experiment.search import Found, search
from closedloop.turn.compute import Compute
from tests.turned_loop import TurnedLoop

TRIALS, FOLDS = 4, 2


def search_shop(place: TurnedLoop, compute: Compute | None = None, **options: Any) -> Found:
    """The search that is killed, and the one that nobody kills."""
    loop = replace(place.open(), compute=compute or Compute())
    return search(loop, **{"trials": TRIALS, "folds": FOLDS, **options})


def die() -> None:
    """End this process as the system does when memory is gone."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingCompute(Compute):
    """Fits so often, and then the process is gone."""

    def __init__(self, fits: int) -> None:
        self._left = fits

    def fit(self, *given: Any) -> Any:
        """As `Compute`."""
        if not self._left:
            die()
        self._left -= 1
        return super().fit(*given)


def main(folder: Path, number: int, place: str) -> None:
    """Die before the trial of this number, or within it, between two folds."""
    if place == "within":
        search_shop(TurnedLoop(folder), DyingCompute(FOLDS * number + 1))
    else:
        search_shop(TurnedLoop(folder), on_progress=lambda done, _: done == number and die())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
