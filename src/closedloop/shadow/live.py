"""A candidate that answers beside production what clients ask now: its answers are recorded, and
never given.

Whoever answers hands a request over and goes on at once. A thread asks the candidate, which is in a
process of its own. What is too much is dropped: production comes first.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread
from typing import Protocol

from closedloop.errors import ClosedLoopError, ModelError
from closedloop.records.shadow import RecordedRequest, ShadowAnswer
from closedloop.shadow.process import Answered

_LOG = logging.getLogger("closedloop.service")
MAX_WAITING_ROWS = 2_000
# Each request takes Python's lock for a tenth of a millisecond from whoever answers: so many of
# them in a turn of the thread bound that to two percent.
_TURN_SECONDS, _REQUESTS_A_TURN = 0.05, 10
_LOOK_SECONDS, _WRITE_SECONDS = 5.0, 1.0
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 5.0, 300.0


class Asked(Protocol):
    """A candidate that can be asked: `AnsweringProcess`."""

    def load(self) -> None: ...

    def ask(self, request: RecordedRequest, /) -> Answered: ...

    def close(self) -> None: ...


class Counting(Protocol):
    """Counts what became of rows."""

    def answered(self, rows: int, /) -> None: ...

    def dropped(self, rows: int, /) -> None: ...

    def failed(self) -> None: ...


class LiveShadow:
    """Asks the version that `find` names, opened by `open_version`, and hands answers to `write`.

    `find` is asked every few seconds. A candidate whose process ends is opened again after 5
    seconds, then after twice as long each time, up to 5 minutes. At most `max_waiting_rows` wait.
    """

    def __init__(
        self,
        use_case: str,
        find: Callable[[], int | None],
        open_version: Callable[[int], Asked],
        write: Callable[[Sequence[ShadowAnswer]], None],
        *,
        max_waiting_rows: int = MAX_WAITING_ROWS,
    ) -> None:
        self._use_case, self._find, self._open, self._write = use_case, find, open_version, write
        self._max_waiting_rows = max_waiting_rows
        self._waiting: deque[RecordedRequest] = deque()
        # Each is written by a single thread, so neither needs a lock.
        self._rows_in = self._rows_out = 0
        self._answers: list[ShadowAnswer] = []
        self._candidate: Asked | None = None
        self._wanted: int | None = None
        self._look_at = self._write_at = self._retry_at = 0.0
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._stopping = Event()
        self._thread: Thread | None = None
        self.counting: Counting | None = None
        self.version: int | None = None

    def start(self) -> None:
        """Look for a candidate, and ask it, in a thread of its own until `close`."""
        self._thread = Thread(target=self._run, name="ask-shadow", daemon=True)
        self._thread.start()

    def offer(self, request: RecordedRequest) -> None:
        """Hand over a request that production has answered; never waits, and never raises.

        It is dropped when too many rows wait. Call it from one thread only.
        """
        if self.version is None:
            return
        if self._rows_in - self._rows_out + request.rows > self._max_waiting_rows:
            if self.counting is not None:
                self.counting.dropped(request.rows)
            return
        self._rows_in += request.rows
        self._waiting.append(request)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Keep what was answered, and end the candidate's process."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        self._end_candidate()

    def _run(self) -> None:
        while not self._stopping.wait(_TURN_SECONDS):
            try:
                self.take_turn(time.monotonic())
            except Exception:  # whatever it is, production goes on, and so does the next turn
                _LOG.exception("the shadow failed")
                self._fail(time.monotonic())
        with suppress(Exception):
            self._write_answers()

    def take_turn(self, now: float) -> None:
        """Follow the candidate, ask it what waits, and keep its answers; `now` is in seconds."""
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._follow(now)
        if self._wanted is not None and self._candidate is None and now >= self._retry_at:
            self._load(self._wanted, now)
        for _ in range(min(_REQUESTS_A_TURN, len(self._waiting))):
            request = self._waiting.popleft()
            self._rows_out += request.rows
            self._ask(request, now)
        if self._answers and now >= self._write_at:
            self._write_at = now + _WRITE_SECONDS
            self._write_answers()

    def _follow(self, now: float) -> None:
        try:
            wanted = self._find()
        except ClosedLoopError as error:  # told elsewhere; the candidate stays
            _LOG.debug("which candidate waits is not known: %s", error)
            return
        if wanted == self._wanted:
            return
        self._end_candidate()
        self._wanted, self._retry_at = wanted, now
        self._retry_seconds = _FIRST_RETRY_SECONDS

    def _load(self, version: int, now: float) -> None:
        try:
            self._candidate = self._open(version)
            self._candidate.load()
        except ClosedLoopError as error:
            _LOG.error("version %s does not answer in the shadow: %s", version, error)
            self._fail(now)
            return
        self.version = version
        _LOG.info("version %s answers in the shadow of production", version)

    def _ask(self, request: RecordedRequest, now: float) -> None:
        candidate, version = self._candidate, self.version
        if candidate is None or version is None:  # it ended, or was decided on
            if self.counting is not None:
                self.counting.dropped(request.rows)
            return
        try:
            said = candidate.ask(request)
        except ModelError as error:
            _LOG.error("version %s failed in the shadow: %s", version, error)
            self._keep(request, version, None, str(error.got))
            self._fail(now)
            return
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._keep(request, version, said.probabilities, said.error)

    def _keep(
        self, request: RecordedRequest, version: int, probabilities: bytes | None, error: str
    ) -> None:
        self._answers.append(
            ShadowAnswer(request.request, self._use_case, version, probabilities, error or None)
        )
        if self.counting is not None:
            self.counting.answered(request.rows)
            if error:
                self.counting.failed()

    def _fail(self, now: float) -> None:
        self._end_candidate()
        self._retry_at = now + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, _LAST_RETRY_SECONDS)

    def _end_candidate(self) -> None:
        self.version, candidate, self._candidate = None, self._candidate, None
        if candidate is not None:
            candidate.close()

    def _write_answers(self) -> None:
        answers, self._answers = self._answers, []
        try:
            self._write(answers)
        except ClosedLoopError as error:
            _LOG.warning("%d answers of the shadow are lost: %s", len(answers), error)
            if self.counting is not None:
                self.counting.failed()
