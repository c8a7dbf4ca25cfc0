"""What a search fits on and what it scores on: never rows that are older than the training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from closedloop.errors import SourceError
from closedloop.metrics.clustering import count_rarest
from closedloop.metrics.deciding_measure import influence_of
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.candidate import choose_split, trainable_windows
from closedloop.turn.history import History
from closedloop.turn.new_rows import keep_new_rows, trained_windows
from closedloop.turn.ports import Parts


@dataclass(frozen=True)
class Fold:
    """The windows before one, to fit on, and that one, without rows that they hold, to score on.

    `production` is what production reached there, more is better; None without one that can be
    scored, and where it was trained on this window or a later one.
    """

    history: tuple[LabelledWindow, ...]
    judged: LabelledWindow
    production: float | None = None


@dataclass(frozen=True)
class Folds:
    """Oldest first. `left` names the newest labelled windows, which judge candidates at the gate.

    It is None when there is no other window to score on.
    """

    folds: tuple[Fold, ...]
    left: str | None

    @property
    def named(self) -> tuple[str, ...]:
        """The windows that are scored on."""
        return tuple(fold.judged.name for fold in self.folds)

    @property
    def digests(self) -> dict[str, str]:
        """All windows that are fitted or scored on, each with the sha256 of its rows."""
        windows = (window for fold in self.folds for window in (*fold.history, fold.judged))
        return {window.name: window.digest for window in windows}


def make_folds(history: History[Parts], most: int) -> Folds:
    """The newest windows to score on, at most so many; each recipe is fitted on all before them.

    The windows on which a training judges the winner are left out where another can be taken: rows
    that chose it would flatter it. Raises SourceError when none remains.
    """
    windows = trainable_windows(history)
    if len(windows) < 2:
        raise SourceError(
            where="closedloop experiment",
            wanted="at least 2 labelled windows that keep the contract",
            got=str(len(windows)),
            then="wait for the labels of another window, or look with: closedloop doctor",
        )
    found = [_make_fold(history, windows, place) for place in range(1, len(windows))]
    judges = choose_split(history, windows).judges
    earlier, newest = found[: -len(judges)], found[-1]
    usable = [fold for fold in earlier if fold is not None]
    left = " to ".join(dict.fromkeys((judges[0].name, judges[-1].name))) if usable else None
    if not usable and newest is not None:
        usable = [newest]
    if not usable:
        raise SourceError(
            where="closedloop experiment",
            wanted="a labelled window with new rows of every class, after windows with every class",
            got=f"none among {', '.join(window.name for window in windows)}",
            then="wait for the labels of another window",
        )
    return Folds(tuple(usable[-most:]), left)


def _make_fold(
    history: History[Parts], windows: tuple[LabelledWindow, ...], place: int
) -> Fold | None:
    """The fold that scores on the window at `place`; None when a class is missing in it."""
    before, judged = windows[:place], windows[place]
    use_case = history.loop.use_case
    classes = len(use_case.target.classes)
    if count_rarest(np.concatenate([window.labels for window in before]), classes) < 1:
        return None
    live = history.production
    known = history.place(live.trained_through) if live is not None else None
    fair = known is not None and judged.index > known
    names = {window.name for window in before} | set(trained_windows(history) if fair else ())
    judged = keep_new_rows(history, judged, names).window
    if count_rarest(judged.labels, classes) < 2:
        return None
    if not fair or history.bundle is None:
        return Fold(before, judged)
    # Not the answers that the history remembers: some rows may be left out.
    from closedloop.bundle.frames import score_frame

    answers = score_frame(history.bundle.scorer, judged.frame)
    measure = influence_of(use_case.policy.promotion)
    return Fold(before, judged, measure(judged.labels, answers)[0])
