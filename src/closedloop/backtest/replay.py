"""Replays history window by window: the same turns as in the flows, with journal and registry in
memory.

In round t, window t has arrived and the labels of the windows up to t - delay are due; nothing
newer can be read. The production model after round t is scored on all labels of window t + 1, which
no policy sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol

import pandas as pd

from closedloop.backtest.cache import CachedCompute
from closedloop.backtest.figures import Round
from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.next_window import measure_advantage, measure_answers
from closedloop.bundle.loaded import LoadedVersion
from closedloop.decisions.policy import Policy
from closedloop.errors import ModelError, SourceError
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.candidate import describe_candidate, fit_candidate
from closedloop.turn.history import History
from closedloop.turn.reference_rows import make_reference
from closedloop.use_case.contract import UseCase
from closedloop.windows.order import mature, up_to
from closedloop.windows.sources import WindowSource


class Stream:
    """The windows of a source, each read once."""

    def __init__(self, source: WindowSource) -> None:
        self._source, self._raw = source, dict[str, pd.DataFrame]()
        self.names = source.windows()

    def windows(self) -> tuple[str, ...]:
        """Every name, oldest first."""
        return self.names

    def read(self, window: str) -> pd.DataFrame:
        """The raw rows of one window, all labels included."""
        if window not in self._raw:
            self._raw[window] = self._source.read(window)
        return self._raw[window]

    def mark(self, window: str) -> str:
        """Tells these rows from others of the same window, as long as the stream lives."""
        return f"stream {id(self)}"


@dataclass(frozen=True)
class AsOf:
    """The stream when `window` was its newest.

    Later windows do not exist, labels that are not due are null.

    `replaced` holds other rows for some windows, as a fault would have left them.
    """

    stream: Stream
    window: str
    delay: int
    target: str
    replaced: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def windows(self) -> tuple[str, ...]:
        """The names that existed, oldest first."""
        return up_to(self.stream.names, self.window)

    def read(self, window: str) -> pd.DataFrame:
        """The raw rows of one of them."""
        if window not in self.windows():
            raise SourceError(
                where="replay",
                wanted=f"a window up to {self.window}",
                got=window,
                then="this is a fault of closedloop",
            )
        raw = self.replaced[window] if window in self.replaced else self.stream.read(window)
        return (
            raw
            if self._due(window) or self.target not in raw
            else raw.assign(**{self.target: None})
        )

    def mark(self, window: str) -> str:
        """Tells these rows from others of the same window.

        Hidden labels or not, replaced rows or not.
        """
        rows = (
            f"replaced {id(self.replaced[window])}"
            if window in self.replaced
            else self.stream.mark(window)
        )
        return rows if self._due(window) else f"{rows} without labels"

    def _due(self, window: str) -> bool:
        return window in mature(self.stream.names, self.window, self.delay)


@dataclass(frozen=True)
class ReplayParts:
    """What a turn works with (`turn.ports.Parts`), at one moment of history.

    `notes` is what the policy wrote down for itself in earlier rounds of this replay.
    """

    use_case: UseCase
    source: AsOf
    journal: Journal
    registry: MemoryRegistry
    compute: CachedCompute
    notes: dict[str, Any] = field(default_factory=dict)

    def served(self, production: int | None, previous: int | None) -> tuple[None, None]:
        """Nothing: history does not say how a version that never was would have been served."""
        return None, None


@dataclass(frozen=True)
class Step:
    """What a policy did in one round, why, and the candidate that it fitted, if any."""

    actions: tuple[str, ...]
    reason: str
    candidate: int | None = None
    delta: float | None = None
    quarantined: tuple[str, ...] = ()


class Strategy(Protocol):
    """A way to decide. `policy` takes the place of the use case's, None leaves it."""

    @property
    def name(self) -> str:
        """As it is shown."""

    @property
    def policy(self) -> Policy | None:
        """The numbers that it obeys, when they are its own."""

    def turn(self, parts: ReplayParts, window: str, number: int) -> Step:
        """Take the turn of one window, in `parts.registry`; `number` counts rounds from 1."""


@dataclass(frozen=True)
class Past:
    """What all replays of one stream share. Version 1 is fitted on the `first` oldest windows."""

    stream: Stream
    use_case: UseCase
    compute: CachedCompute
    first: int
    replaced: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def delay(self) -> int:
        """How many windows labels are late."""
        return self.use_case.labels.delay_windows

    def rounds(self) -> tuple[tuple[str, str], ...]:
        """(window, next window) of every round that is judged.

        Raises SourceError when there is none.
        """
        names, start = self.stream.names, self.first + self.delay
        if self.first < 1 or len(names) < start + 2:
            raise SourceError(
                where="backtest",
                wanted=f"at least {max(self.first, 1) + self.delay + 2} windows",
                got=f"{len(names)} windows, with {self.first} for the first model "
                f"and labels {self.delay} windows late",
                then="add more history, or lower --first-windows",
            )
        return tuple(zip(names[start:-1], names[start + 1 :], strict=True))

    def as_of(self, window: str) -> AsOf:
        """The stream as it was then."""
        return AsOf(self.stream, window, self.delay, self.use_case.target.column, self.replaced)

    def labelled(self, window: str) -> LabelledWindow:
        """A window with all its labels, as it was before any fault: for measuring only."""
        index = self.stream.names.index(window)
        return self.compute.read_window(self.stream, window, index, self.use_case, None).labelled


def fit_first(past: Past) -> LoadedVersion:
    """The model that every policy starts with.

    The first recipe on all of the first windows, as a retraining would have fitted it.
    """
    training = replace(
        past.use_case.training, recipes=past.use_case.training.recipes[:1], histories=("all",)
    )
    use_case = replace(past.use_case, training=training)
    window = past.stream.names[past.first - 1 + past.delay]
    with _open_journal() as journal:
        history = History(
            ReplayParts(
                use_case, past.as_of(window), journal, MemoryRegistry(use_case.name), past.compute
            ),
            window,
        )
        candidate = fit_candidate(history)
        facts = describe_candidate(history, candidate)
    return LoadedVersion(
        facts, past.use_case, candidate.scorer, cache(lambda: make_reference(history, candidate))
    )


@contextmanager
def _open_journal() -> Iterator[Journal]:
    engine = open_engine("sqlite://")
    try:
        yield Journal(engine)
    finally:
        engine.dispose()


def replay(
    past: Past,
    strategy: Strategy,
    first: LoadedVersion,
    report: Callable[[], object] = lambda: None,
    *,
    until: int | None = None,
) -> tuple[Round, ...]:
    """Every round under one policy, oldest first, or the first `until` of them.

    `report` is called after each.

    `first` is installed and not judged.
    """
    use_case = (
        past.use_case if strategy.policy is None else replace(past.use_case, policy=strategy.policy)
    )
    registry, rounds = MemoryRegistry(use_case.name), []
    notes: dict[str, Any] = {}
    registry.promote(
        registry.add(first, first.facts.evaluation_window), instead_of=None, reason="installed"
    )
    with _open_journal() as journal:
        for number, (window, following) in enumerate(past.rounds()[:until], start=1):
            parts = ReplayParts(
                use_case, past.as_of(window), journal, registry, past.compute, notes
            )
            rounds.append(_take_round(past, parts, strategy, window, following, number))
            report()
    return tuple(rounds)


def _take_round(
    past: Past, parts: ReplayParts, strategy: Strategy, window: str, following: str, number: int
) -> Round:
    registry, failed = parts.registry, ""
    before, known = registry.production(), len(registry.versions())
    try:
        step = strategy.turn(parts, window, number)
    except (
        ModelError
    ) as error:  # a live turn ends with this sentence too, and the next window goes on
        step, failed = Step((), str(error)), str(error)
    live = registry.production()
    assert before is not None
    assert live is not None
    rows, rules = past.labelled(following), past.use_case.policy.promotion
    candidate = step.candidate
    return Round(
        number=number,
        window=window,
        next_window=following,
        actions=step.actions,
        reason=step.reason,
        production=live,
        candidate=candidate,
        trained_on=() if candidate is None else registry.load(candidate).facts.trained_windows,
        next_auc=measure_answers(registry.load(live), rows, rules),
        delta=step.delta,
        advantage=None
        if candidate is None
        else measure_advantage(
            registry.load(candidate), registry.load(before), rows, past.use_case
        ),
        promoted=live > known,
        rolled_back=live < before,
        quarantined=step.quarantined,
        failed=failed,
        recipe="" if candidate is None else registry.load(candidate).facts.recipe,
    )
