"""What a service may follow: `production` of the registry that the journal speaks of."""

from __future__ import annotations

import time
from collections.abc import Callable

from closedloop.errors import StoreError, UnknownRegistry
from closedloop.registry.live import ProductionReader
from closedloop.storage.journal import Journal
from closedloop.turn.moved_aliases import KINDS, last_settled

_LOOK_AGAIN_SECONDS = 30.0


def _seconds() -> float:
    return time.monotonic()


class KnownProduction:
    """The version that `production` points at, in a registry that is compared with the journal.

    One that was replaced may name a version of the same number with other files. While the journal
    cannot be read, or knows of no promotion, the registry is believed.
    """

    def __init__(
        self,
        reader: ProductionReader,
        journal: Journal,
        use_case: str,
        now: Callable[[], float] = _seconds,
    ) -> None:
        self._reader, self._journal, self._use_case, self._now = reader, journal, use_case, now
        self._looked: tuple[int, float, UnknownRegistry | None] | None = None

    def find(self) -> int | None:
        """As `ProductionReader.find`; raises UnknownRegistry for another registry.

        It is compared when `production` has moved, and every half minute.
        """
        version = self._reader.find()
        if version is None:
            return None
        looked, now = self._looked, self._now()
        if looked is None or looked[0] != version or now - looked[1] > _LOOK_AGAIN_SECONDS:
            looked = self._looked = version, now, self._compare()
        if looked[2] is not None:
            raise looked[2]
        return version

    def _compare(self) -> UnknownRegistry | None:
        try:
            last = last_settled(self._journal.history(self._use_case, kinds=KINDS))
        except StoreError:
            return None
        if last is None or last.decision.version is None:
            return None
        found = self._reader.digest(last.decision.version)
        if found is not None and last.bundle in (None, found):
            return None
        return UnknownRegistry(
            where=f"registry of {self._use_case}",
            wanted=f"version {last.decision.version} as decision {last.id} left it in production",
            got="none" if found is None else f"other files, sha256 {found[:12]}",
            then="run: closedloop doctor",
        )
