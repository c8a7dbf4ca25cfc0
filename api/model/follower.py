"""The thread that follows `production` in the registry.

A new version is loaded beside the live one and must repeat its self-test before it is swapped in.
Requests that have begun finish with the version they started with. A failure leaves the live
version in place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from types import MappingProxyType

from api.model.answer import LoadedModel
from api.model.live import Production, VersionRefusal
from closedloop.bundle.loaded import LoadedVersion
from closedloop.errors import ModelError, UnknownRegistry

_LOG = logging.getLogger("closedloop.service")
_FIRST_RETRY, _LAST_RETRY = timedelta(seconds=5), timedelta(minutes=2)
_LOOK_AT_ALIASES = timedelta(seconds=5)
_REFUSALS_KEPT = 20


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Follower:
    """Keeps the version that `find_production` names in service.

    `load` loads a version; `note_live` is called after each swap; `tell_moved` says which alias was
    moved outside of closedloop. While nothing is loaded and the registry is down, names none, or
    names a version that is refused or not of the registry that the journal speaks of, the version
    of `find_last_good` is loaded, by `load_last_good`.

    A version that cannot be loaded or does not repeat its self-test is refused. It is tried again
    after 5 seconds, then after twice as long each time, up to 2 minutes.

    `unrecorded` are columns that are kept out of the records, whatever a version's own contract
    says of them.
    """

    def __init__(
        self,
        production: Production,
        find_production: Callable[[], int | None],
        load: Callable[[int], LoadedVersion],
        note_live: Callable[[int], object],
        *,
        find_last_good: Callable[[], int | None] = lambda: None,
        tell_moved: Callable[[], str] = lambda: "",
        load_last_good: Callable[[int], LoadedVersion] | None = None,
        unrecorded: Iterable[str] = (),
        follow_seconds: float = 0.25,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.production = production
        self._find_production, self._load, self._note_live = find_production, load, note_live
        self._find_last_good, self._tell_moved = find_last_good, tell_moved
        self._load_last_good = load_last_good or load
        self._unrecorded = frozenset(unrecorded)
        self._look_at_aliases_at = now()
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
            self.look_at_aliases()
            self._stopping.wait(self._follow_seconds)

    def follow_once(self) -> None:
        """Look once at what is in production and load it if it is not live; never raises."""
        following = self.production.following
        try:
            wanted = self._find_production()
        except UnknownRegistry as error:
            if not following.unknown:
                _LOG.error("production is not followed, the live version stays: %s", error)
            self.production.following = replace(
                following, unknown=_one_line(error), registry_fault=None, asked=True
            )
            self._fall_back()
            return
        except Exception as error:
            if not following.registry_fault:
                _LOG.warning("the registry cannot be reached, the live version stays: %s", error)
            self.production.following = replace(
                following, registry_fault=_one_line(error), asked=True
            )
            self._fall_back()
            return
        self.production.following = replace(
            following, wanted=wanted, registry_fault=None, unknown=None, asked=True
        )
        current = self.production.current
        if wanted is not None and (current is None or current.version != wanted):
            self._load_unless_refused(wanted, self._load)
        self._fall_back()

    def look_at_aliases(self) -> None:
        """Ask, at most every 5 seconds, whether somebody moved an alias; never raises.

        What cannot be asked stays as it was: a registry or a journal that is away is told
        elsewhere.
        """
        if self._now() < self._look_at_aliases_at or self.production.following.unknown:
            return
        self._look_at_aliases_at = self._now() + _LOOK_AT_ALIASES
        try:
            moved = self._tell_moved()
        except Exception as error:
            _LOG.debug("whether an alias was moved is not known: %s", error)
            return
        if moved and moved != self.production.following.moved:
            _LOG.warning("%s", moved)
        self.production.following = replace(self.production.following, moved=moved)

    def _fall_back(self) -> None:
        if self.production.current is None and (last := self._find_last_good()) is not None:
            self._load_unless_refused(last, self._load_last_good)

    def _load_unless_refused(self, version: int, load: Callable[[int], LoadedVersion]) -> None:
        refusal = self.production.following.refused.get(version)
        if refusal is None or self._now() >= refusal.retry_at:
            self._try(version, load, refusal)

    def _try(
        self,
        version: int,
        load: Callable[[int], LoadedVersion],
        refusal: VersionRefusal | None,
    ) -> None:
        try:
            live = self._load_checked(version, load)
        except Exception as error:  # a broken version must fail here, not in a request
            self._refuse(version, _one_line(error), refusal)
            return
        self.production.current = live
        self._forget_refusal(version)
        if live.scorer.served_by == "onnx":
            _LOG.info("version %s is live, as ONNX", version)
        else:
            _LOG.warning(
                "version %s is live, with its pipeline, which is slower: %s",
                version,
                live.loaded.proof.reason,
            )
        try:
            self._note_live(version)
        except Exception:
            _LOG.exception(
                "version %s is live, but this could not be noted in the journal", version
            )

    def _load_checked(self, version: int, load: Callable[[int], LoadedVersion]) -> LoadedModel:
        loaded = load(version)
        difference, tolerance = loaded.measure_self_test(), loaded.scorer.self_test_tolerance
        if not difference <= tolerance:  # NaN fails too
            raise ModelError(
                where=f"version {version}",
                wanted=f"its self-test repeated within {tolerance:g}",
                got=f"a difference of {difference:g}",
                then="compare the library versions of training and service, or roll back",
            )
        return LoadedModel(version, loaded, self._now(), self._unrecorded)

    def _refuse(self, version: int, reason: str, before: VersionRefusal | None) -> None:
        wait = _FIRST_RETRY if before is None else min(2 * before.wait, _LAST_RETRY)
        _LOG.error(
            "version %s was refused, next try in %.0f seconds: %s",
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
            number: refusal
            for number, refusal in self.production.following.refused.items()
            if number != version
        }
        self.production.following = replace(
            self.production.following, refused=MappingProxyType(left)
        )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:500]
    return text or type(error).__name__
