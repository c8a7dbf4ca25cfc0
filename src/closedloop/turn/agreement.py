"""Whether journal and registry speak of the same models: by number and by the sha256 of the files.

Every promotion and rollback names in the journal the files that it was about. A registry that was
lost, replaced, restored from a backup or never ours does not hold them; a journal that was lost or
restored does not know what is live. Where the aliases stand is compared in `moved_aliases`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from closedloop.errors import RegistryError, StoreError, UnknownRegistry, name_some
from closedloop.registry.versions import PRODUCTION, VersionFacts
from closedloop.storage.chain import Chain
from closedloop.storage.entry import Entry
from closedloop.turn.history import History
from closedloop.turn.moved_aliases import KINDS, is_known, last_settled
from closedloop.turn.open import Loop
from closedloop.turn.ports import Parts

_NAMED = 5  # faults of the journal; there may be thousands
_ACCEPT = "to go on from what is there now: closedloop accept"


@dataclass(frozen=True)
class Disagreement:
    """What the journal says, what the registry holds instead, and what to do about it.

    `lost` when nothing is in production: a training may begin anew. `recorded_by` is the version
    that a person may promote to settle it.
    """

    wanted: str
    got: str
    then: str
    lost: bool = False
    recorded_by: int | None = None

    def __str__(self) -> str:
        return f"wanted {self.wanted}, got {self.got}: {self.then}"

    def as_error(self, name: str) -> UnknownRegistry:
        """The error of a command that cannot go on."""
        return UnknownRegistry(
            where=f"registry of {name}", wanted=self.wanted, got=self.got, then=self.then
        )


def find_disagreement(
    entries: Sequence[Entry], versions: Sequence[VersionFacts]
) -> Disagreement | None:
    """How the registry's `versions` contradict the journal's `entries`; None when they agree.

    An alias that somebody moved in a registry that agrees is told by `moved_aliases`.
    """
    last = last_settled(entries)
    live = next((facts for facts in versions if PRODUCTION in facts.aliases), None)
    if last is None or last.decision.version is None:
        return _without_production(entries, versions, live)
    found = next((facts for facts in versions if facts.version == last.decision.version), None)
    if found is not None and last.bundle in (None, found.digest):
        return None
    return Disagreement(
        f"version {last.decision.version}{_files(last.bundle)}, "
        f"as decision {last.id} left it in production",
        _describe(found, versions),
        "check MLFLOW_TRACKING_URI, or restore MLflow's database from its backup; "
        + ("to begin anew: closedloop train; " if live is None else "")
        + _ACCEPT,
        lost=live is None,
    )


def look_for_disagreement(loop: Parts) -> Disagreement | None:
    """As `find_disagreement`, on what journal and registry hold now."""
    entries = loop.journal.history(loop.use_case.name, kinds=KINDS)
    return find_disagreement(entries, tuple(loop.registry.versions()))


def find_faults(loop: Parts) -> StoreError | None:
    """What is wrong with the journal, when decisions in it are not as they were written."""
    chain = loop.journal.read_chain(loop.use_case.name)
    faults = chain.faults
    if (lost := _find_lost_head(loop, chain)) is not None:
        faults = (
            *faults,
            f"its end was cut off or rewritten: {lost[:12]}, kept in MLflow, is gone",
        )
    if not faults:
        return None
    return StoreError(
        where=f"journal of {loop.use_case.name}",
        wanted="every decision as it was written",
        got=name_some(faults, _NAMED),
        then="nothing moves until the database is restored from its backup, or a person goes on "
        "from what is there now: closedloop accept",
    )


def _find_lost_head(loop: Parts, chain: Chain) -> str | None:
    """The head that the registry keeps, when it is not in the chain any more.

    None while the registry is away, or another one; and without any link: `find_disagreement` tells
    of a journal that was lost.
    """
    with suppress(RegistryError):
        kept = loop.registry.kept_head()
        unknown = kept is not None and not loop.journal.knows_head(loop.use_case.name, kept)
        if unknown and chain.links and look_for_disagreement(loop) is None:
            return kept
    return None


def open_turn(loop: Loop, window: str | None) -> History[Loop]:
    """The history of a turn on a window, the newest unless one is named.

    Raises as `refuse_disagreement`.
    """
    refuse_disagreement(loop)
    return History(loop, window)


def refuse_disagreement(loop: Parts, *, promoting: int | None = None) -> None:
    """Raise UnknownRegistry when the registry is not the one that the journal speaks of.

    Unless a person is `promoting` the version that settles it. StoreError when decisions in the
    journal are not as they were written.
    """
    if (fault := find_faults(loop)) is not None:
        raise fault
    found = look_for_disagreement(loop)
    if found is not None and (promoting is None or promoting != found.recorded_by):
        raise found.as_error(loop.use_case.name)


def _without_production(
    entries: Sequence[Entry], versions: Sequence[VersionFacts], live: VersionFacts | None
) -> Disagreement | None:
    """The journal knows of nothing in production."""
    if versions and not any(facts.key for facts in versions):
        return Disagreement(
            "a model that closedloop registered",
            f"{len(versions)} versions of a model with the same name that it did not",
            "choose another name in loop.toml, or another MLflow",
        )
    if live is None or is_known(entries, live.version):  # known: a crash cut off its outcome
        return None
    return Disagreement(
        "nothing in production, because the journal knows of no promotion",
        f"version {live.version}{_files(live.digest)}",
        "check CLOSEDLOOP_DATABASE_URL and MLFLOW_TRACKING_URI, or restore the journal from its "
        f"backup; to record it as your decision: closedloop promote {live.version}",
        recorded_by=live.version,
    )


def _describe(found: VersionFacts | None, versions: Sequence[VersionFacts]) -> str:
    if found is not None:
        return f"another version {found.version}{_files(found.digest)}"
    numbers = ", ".join(str(facts.version) for facts in versions)
    return f"only versions {numbers}" if numbers else "no model of that name"


def _files(digest: str | None) -> str:
    return f" (sha256 {digest[:12]})" if digest else ""
