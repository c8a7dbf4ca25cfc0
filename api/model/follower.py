"""The thread that keeps what answers the version that `production` points at.

A new version is loaded beside the working one, tried on its self-test and only then swapped in,
whole: whoever took the working one answers with it to the end. Nothing that goes wrong on the way
replaces what works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from types import MappingProxyType

from api.model.answer import LoadedModel
from api.model.live import Production, VersionRefusal
from closedloop.bundle.loaded import LoadedVersion
from closedloop.errors import ModelError

_LOG = logging.getLogger("closedloop.service")
_FIRST_RETRY, _LAST_RETRY = timedelta(seconds=5), timedelta(minutes=2)
_REFUSALS_KEPT = 20


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Follower:
    """Keeps `production` the version that `find_production` names; `load` fetches one, `announce`
    is told after each swap.

    While nothing is loaded yet and the registry is away, or the version it names is refused, that
    of `find_last_good` is loaded instead.

    A version that cannot be loaded or does not repeat its self-test is refused and tried again
    later: after 5 seconds, then twice as long each time, up to 2 minutes.
    """

    def __init__(
        self,
        production: Production,
        find_production: Callable[[], int | None],
        load: Callable[[int], LoadedVersion],
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
                _LOG.warning(
                    "the registry cannot be reached, what answers goes on answering: %s", error
                )
            self.production.following = replace(
                following, registry_fault=_one_line(error), asked=True
            )
            self._fall_back()
            return
        self.production.following = replace(
            following, wanted=wanted, registry_fault=None, asked=True
        )
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
        except (
            Exception
        ) as error:  # whatever a broken version does, it does it here and not to a request
            self._refuse(version, _one_line(error), refusal)
            return
        self.production.current = loaded
        self._forget_refusal(version)
        if loaded.scorer.served_by == "onnx":
            _LOG.info("version %s answers from now on, as ONNX", version)
        else:
            _LOG.warning(
                "version %s answers from now on, by its pipeline, which is slower: %s",
                version,
                loaded.loaded.proof.reason,
            )
        try:
            self._announce(version)
        except Exception:
            _LOG.exception("version %s answers, but it could not be announced", version)

    def _load_checked(self, version: int) -> LoadedModel:
        loaded = self._load(version)
        difference, tolerance = loaded.measure_self_test(), loaded.scorer.self_test_tolerance
        if not difference <= tolerance:
            raise ModelError(
                where=f"version {version}",
                wanted=f"its self-test repeated within {tolerance:g}",
                got=f"a difference of {difference:g}",
                then="compare the library versions of training and service, or roll back",
            )
        return LoadedModel(version, loaded, self._now())

    def _refuse(self, version: int, reason: str, before: VersionRefusal | None) -> None:
        wait = _FIRST_RETRY if before is None else min(2 * before.wait, _LAST_RETRY)
        _LOG.error(
            "version %s was refused, tried again in %.0f seconds: %s",
            version,
            wait.total_seconds(),
            reason,
        )
        refused = {
            **self.production.following.refused,
            version: VersionRefusal(reason, self._now() + wait, wait),
        }
        newest = dict(sorted(refused.items())[-_REFUSALS_KEPT:])
        self.production.following = replace(
            self.production.following, refused=MappingProxyType(newest)
        )

    def _forget_refusal(self, version: int) -> None:
        left = {
            one: refusal
            for one, refusal in self.production.following.refused.items()
            if one != version
        }
        self.production.following = replace(
            self.production.following, refused=MappingProxyType(left)
        )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:500]
    return text or type(error).__name__
