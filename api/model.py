"""The model that answers, and the thread that keeps it the one that `production` points at.

A new version is loaded beside the working one, tried on its self-test and only then swapped in, whole: whoever took the working
one answers with it to the end. Nothing that goes wrong on the way replaces what works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from threading import Event, Thread
from types import MappingProxyType

from api.answering import Answered, AnswerFormat
from api.decoding import RowReader
from api.messages import RowType
from api.packing import Packer
from api.rows import Rows
from api.scorer import Scorer
from api.table_decoding import TableReader
from closedloop.errors import ModelError

_LOG = logging.getLogger("closedloop.service")
_FIRST_RETRY, _LAST_RETRY = timedelta(seconds=5), timedelta(minutes=2)
_REFUSALS_KEPT = 20


class LoadedModel:
    """One version, ready to answer. Never changed: a request that holds it is answered by it alone."""

    def __init__(self, version: int, scorer: Scorer, loaded_at: datetime) -> None:
        self.version, self.scorer, self.loaded_at = version, scorer, loaded_at
        self.facts, self.use_case = scorer.facts, scorer.use_case
        self.row_type = RowType(self.use_case)
        self.reader = RowReader(self.use_case, self.row_type)
        self.table_reader = TableReader(self.use_case, self.reader)
        self._packer = Packer(self.use_case)
        self.format = AnswerFormat(self.facts.name, version, (*self.use_case.numeric, *self.use_case.categorical), self.facts.classes)

    def answer(self, rows: Rows) -> Answered:
        """One answer for each row, in their order; all rows are one call of the model."""
        classes = self.facts.classes
        packed = self._packer.pack(rows)
        probabilities = self.scorer.probabilities(packed.numbers, packed.texts)
        shares: list[list[float]] = probabilities.T.tolist()
        if probabilities.shape != (len(rows), len(classes)) or not isfinite(sum(map(sum, shares))):
            raise ModelError(where=f"version {self.version}", wanted=f"{len(classes)} finite probabilities for each row",
                             got=f"shape {probabilities.shape} or values not finite", then="go back with: closedloop rollback")  # fmt: skip
        return Answered(self, rows, packed, shares, probabilities.argmax(axis=1).tolist(), self._packer.find_warnings(rows, packed))


@dataclass(frozen=True)
class VersionRefusal:
    """A version that did not come into service, why, and when it is tried again."""

    reason: str
    retry_at: datetime
    wait: timedelta


@dataclass(frozen=True)
class Following:
    """How following the registry goes. `wanted` is what `production` pointed at when the registry was last reached."""

    wanted: int | None = None
    registry_fault: str | None = None
    asked: bool = False
    refused: Mapping[int, VersionRefusal] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def registry(self) -> str:
        if not self.asked:
            return "not asked yet"
        return f"unreachable: {self.registry_fault}" if self.registry_fault else "reachable"


class Production:
    """What is live: the model that answers (None before the first one) and how following goes. Both are swapped whole."""

    def __init__(self) -> None:
        self.current: LoadedModel | None = None
        self.following = Following()

    @property
    def reason(self) -> str | None:
        """Why nothing answers, or why the version that answers is not the one that `production` points at; None when all is well."""
        current, following = self.current, self.following
        refusal = following.refused.get(following.wanted) if following.wanted is not None else None
        if refusal is not None and (current is None or current.version != following.wanted):
            kept = "" if current is None else f"; version {current.version} goes on answering"
            return f"version {following.wanted} was refused: {refusal.reason}{kept}"
        if current is None:
            if following.registry_fault:
                return f"no model loaded and the registry is unreachable: {following.registry_fault}"
            if not following.asked or following.wanted is not None:
                return "the production model is being loaded: ask again in a moment"
            return "no model in production yet: run closedloop monitor or closedloop train"
        if following.wanted is None and following.asked and not following.registry_fault:
            return f"nothing is in production any more; version {current.version} goes on answering"
        return None


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Follower:
    """Keeps `production` the version that `find_production` names; `load` fetches one, `announce` is told after each swap.

    While nothing is loaded yet and the registry is away, or the version it names is refused, that of `find_last_good` is loaded instead.

    A version that cannot be loaded or does not repeat its self-test is refused and tried again later: after 5 seconds, then
    twice as long each time, up to 2 minutes.
    """

    def __init__(
        self,
        production: Production,
        find_production: Callable[[], int | None],
        load: Callable[[int], Scorer],
        announce: Callable[[int], object],
        *,
        find_last_good: Callable[[], int | None] = lambda: None,
        follow_seconds: float = 0.25,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.production = production
        self._find_production, self._load, self._announce = find_production, load, announce
        self._find_last_good = find_last_good
        self._follow_seconds, self._now = follow_seconds, now
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Follow in a thread of its own until `stop`."""
        self._stopping.clear()
        self._thread = Thread(target=self._follow, name="follow-production", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self.follow_once()
            self._stopping.wait(self._follow_seconds)

    def follow_once(self) -> None:
        """Ask once what is in production, and load it when it is not what answers. Never raises."""
        following = self.production.following
        try:
            wanted = self._find_production()
        except Exception as error:
            if not following.registry_fault:
                _LOG.warning("the registry cannot be reached, what answers goes on answering: %s", error)
            self.production.following = replace(following, registry_fault=_one_line(error), asked=True)
            self._fall_back()
            return
        self.production.following = replace(following, wanted=wanted, registry_fault=None, asked=True)
        current = self.production.current
        if wanted is None or (current is not None and current.version == wanted):
            return
        self._load_unless_refused(wanted)
        self._fall_back()

    def _fall_back(self) -> None:
        if self.production.current is None and (last := self._find_last_good()) is not None:
            self._load_unless_refused(last)

    def _load_unless_refused(self, version: int) -> None:
        refusal = self.production.following.refused.get(version)
        if refusal is None or self._now() >= refusal.retry_at:
            self._try(version, refusal)

    def _try(self, version: int, refusal: VersionRefusal | None) -> None:
        try:
            loaded = self._load_checked(version)
        except Exception as error:  # whatever a broken version does, it does it here and not to a request
            self._refuse(version, _one_line(error), refusal)
            return
        self.production.current = loaded
        self._forget_refusal(version)
        if loaded.scorer.served_by == "onnx":
            _LOG.info("version %s answers from now on, as ONNX", version)
        else:
            _LOG.warning("version %s answers from now on, by its pipeline, which is slower: %s", version, loaded.scorer.served_reason)
        try:
            self._announce(version)
        except Exception:
            _LOG.exception("version %s answers, but it could not be announced", version)

    def _load_checked(self, version: int) -> LoadedModel:
        scorer = self._load(version)
        difference = scorer.measure_self_test()
        if not difference <= scorer.self_test_tolerance:  # NaN is no proof either
            raise ModelError(where=f"version {version}", wanted=f"its self-test repeated within {scorer.self_test_tolerance:g}",
                             got=f"a difference of {difference:g}",
                             then="compare the library versions of training and service, or roll back")  # fmt: skip
        return LoadedModel(version, scorer, self._now())

    def _refuse(self, version: int, reason: str, before: VersionRefusal | None) -> None:
        wait = _FIRST_RETRY if before is None else min(2 * before.wait, _LAST_RETRY)
        _LOG.error("version %s was refused, tried again in %.0f seconds: %s", version, wait.total_seconds(), reason)
        refused = {**self.production.following.refused, version: VersionRefusal(reason, self._now() + wait, wait)}
        newest = dict(sorted(refused.items())[-_REFUSALS_KEPT:])
        self.production.following = replace(self.production.following, refused=MappingProxyType(newest))

    def _forget_refusal(self, version: int) -> None:
        left = {one: refusal for one, refusal in self.production.following.refused.items() if one != version}
        self.production.following = replace(self.production.following, refused=MappingProxyType(left))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:500]
    return text or type(error).__name__
