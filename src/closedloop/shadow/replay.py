"""Recorded requests, answered once more by a candidate and by production, side by side.

Both answer in a process of their own and take turns, request by request, so that a busy moment of
the machine slows both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from closedloop.decisions.shadow import Answering, ShadowReplay
from closedloop.errors import ModelError
from closedloop.records.request import from_json
from closedloop.records.shadow import RecordedRequest
from closedloop.shadow.columns import read_features, read_probabilities
from closedloop.shadow.compare import count_flips, find_flips, measure_shift
from closedloop.shadow.process import REQUEST_SECONDS, AnsweringProcess
from closedloop.use_case.contract import UseCase
from closedloop.windows.prepare import prepare

REPLAY_SECONDS = 120.0  # for both versions together; then the rest is left out
# The fastest of several answers to a request tells how long it takes; the others tell how busy the
# machine is.
_TIMED, _TIMES = 100, 3


@dataclass(frozen=True)
class Version:
    """A version to be asked: the folder of its bundle, and the threshold that it answers with."""

    folder: Path
    threshold: float | None = None


def replay(
    requests: Sequence[RecordedRequest],
    candidate: Version,
    production: Version | None,
    use_case: UseCase,
    *,
    seconds: float = REPLAY_SECONDS,
    request_seconds: int = REQUEST_SECONDS,
) -> ShadowReplay:
    """What came of asking both; requests that there was no time for are left out.

    A version that fails is part of what is found: nothing is raised for it.
    """
    with ExitStack() as stack:
        sides = [
            stack.enter_context(closing(_Side(version, use_case, request_seconds)))
            for version in (candidate, production)
            if version is not None
        ]
        for side in sides:
            side.load()
        asked, end = list[RecordedRequest](), time.monotonic() + seconds
        for place, request in enumerate(requests):
            if time.monotonic() > end or sides[0].failure:
                break
            asked.append(request)
            for side in sides:
                side.ask(request, _TIMES if place < _TIMED else 1)
        told = [side.tell() for side in sides]
    if not asked:  # it could not be loaded
        rows = sum(request.rows for request in requests)
        return ShadowReplay(len(requests), rows, told[0], told[1] if production else None)
    return _compare(asked, sides, told, use_case)


@dataclass
class _Side:
    """One version under way."""

    version: Version
    use_case: UseCase
    request_seconds: int
    failure: str = ""
    error: str = ""
    answers: list[NDArray[np.float64] | None] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    errors: int = 0
    memory_mb: float | None = None

    def __post_init__(self) -> None:
        self._process = AnsweringProcess(
            self.version.folder, polite=False, request_seconds=self.request_seconds
        )

    def close(self) -> None:
        self._process.close()

    def load(self) -> None:
        try:
            self._process.load()
        except ModelError as error:
            self.failure = str(error.got)

    def ask(self, request: RecordedRequest, times: int) -> None:
        """Ask and keep the answer; a process that has ended answers nothing any more."""
        found = None
        try:
            if not self.failure:
                said = [self._process.ask(request) for _ in range(times)]
                self.memory_mb = said[-1].memory_mb
                if said[0].probabilities is None:
                    self.error = self.error or said[0].error
                    self.errors += request.rows
                else:
                    classes = self.use_case.target.classes
                    found = read_probabilities(said[0].probabilities, classes, request.rows)
                    self.took.append(min(answer.seconds for answer in said))
        except ModelError as error:
            self.failure = str(error.got)
        except ValueError as error:
            self.failure = str(error)
        self.answers.append(found)

    def tell(self) -> Answering:
        took = np.array(self.took) * 1000
        p50, p95 = (
            (float(np.quantile(took, share)) for share in (0.5, 0.95))
            if len(took)
            else (None, None)
        )
        rows = sum(len(answer) for answer in self.answers if answer is not None)
        return Answering(rows, self.errors, self.error, p50, p95, self.memory_mb, self.failure)


def _compare(
    asked: Sequence[RecordedRequest],
    sides: Sequence[_Side],
    told: Sequence[Answering],
    use_case: UseCase,
) -> ShadowReplay:
    ours, theirs = sides[0], sides[1] if len(sides) > 1 else None
    there = None if theirs is None or theirs.failure else theirs
    new_errors = sum(
        request.rows
        for place, request in enumerate(asked)
        if ours.answers[place] is None and (there is None or there.answers[place] is not None)
    )
    found = ShadowReplay(
        len(asked),
        sum(request.rows for request in asked),
        told[0],
        told[1] if theirs is not None else None,
        new_errors,
        unsent=_find_unsent(asked, use_case),
    )
    if there is None:
        return found
    pairs = [
        (request, mine, its)
        for request, mine, its in zip(asked, ours.answers, there.answers, strict=True)
        if mine is not None and its is not None
    ]
    if not pairs:
        return found
    mine, its = (np.concatenate([pair[side] for pair in pairs]) for side in (1, 2))
    flips = find_flips(mine, its, ours.version.threshold, there.version.threshold)
    prepared = prepare(read_rows([request for request, *_ in pairs], use_case), use_case)
    return ShadowReplay(
        found.requests,
        found.rows,
        found.candidate,
        found.production,
        new_errors,
        len(flips),
        int(flips.sum()),
        measure_shift(mine, its),
        count_flips(flips, prepared, use_case.slices),
        found.unsent,
    )


def read_rows(requests: Sequence[RecordedRequest], use_case: UseCase) -> pd.DataFrame:
    """The features of requests as they were sent, a row each, null where none was."""
    names = tuple(use_case.columns)
    frame: dict[str, list[object]] = {name: [] for name in names}
    for request in requests:
        for name, values in read_features(request.features, request.rows, names).items():
            frame[name] += values
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in frame.items()})


def _find_unsent(requests: Sequence[RecordedRequest], use_case: UseCase) -> tuple[str, ...]:
    """Columns that clients have to send, and that no request has."""
    sent: set[str] = set()
    for request in requests:
        sent.update(from_json(request.features))
    return tuple(name for name in use_case.required if name not in sent)
