"""Removes one person's rows from the records, and tells where else they were.

What was found is written into the journal before anything is removed, without the key: after a
crash the same command finishes. Models are not changed: those that learnt from the rows are listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from closedloop.decisions.checks import (
    Action,
    Check,
    Decision,
    Kind,
    Role,
    make_check,
    request_check,
)
from closedloop.errors import ClosedLoopError, RegistryError, UseCaseError
from closedloop.records.as_windows import name_windows, period_of_window
from closedloop.records.erasure import FoundRows
from closedloop.records.tables import MAX_KEY_LENGTH
from closedloop.storage.details import ErasedFacts, ErasureDetails
from closedloop.storage.entry import Entry
from closedloop.storage.erasure_secret import name_person
from closedloop.storage.rows import Origin
from closedloop.turn.card_facts import CARD_FACTS_FILE, read_training_facts
from closedloop.turn.move_by_hand import NO_WINDOW
from closedloop.turn.open import Loop
from closedloop.windows.sources import NoWindows, read_chunks
from closedloop.windows.spelling import spell

WHAT = "erase one person's rows from the records"


@dataclass(frozen=True)
class Erasure:
    """What an erasure would remove or has removed, and where else the key was found.

    `facts` are those of the journal; `entry` is the decision, None before it is written.
    `unfinished`: it was begun earlier. `archived` are the days whose files in the archive go, too.
    `unread` windows of the source and `unknown` versions could
    not be looked into; `copies` of the database still hold everything that they held.
    """

    facts: ErasedFacts
    unread: tuple[str, ...]
    unknown: tuple[int, ...]
    copies: tuple[str, ...]
    earlier: tuple[int, ...]
    unfinished: bool = False
    archived: tuple[str, ...] = ()
    entry: Entry | None = None

    @property
    def needed(self) -> bool:
        """Whether there is anything to remove or to finish."""
        return bool(self.facts.erased_rows) or self.unfinished

    def as_json(self) -> dict[str, Any]:
        """The output of `closedloop forget --json`."""
        facts = self.facts
        return {
            "decision": None if self.entry is None else self.entry.id,
            "digest": facts.digest,
            "rows": facts.erased_rows,
            "requests": facts.requests,
            "labels": facts.labels,
            "corrections": facts.corrections,
            "windows_of_records": list(facts.windows_of_records),
            "own_windows": list(facts.own_windows),
            "trained_versions": list(facts.trained_versions),
            "archived_days": list(self.archived),
            "windows_not_read": list(self.unread),
            "versions_unknown": list(self.unknown),
            "copies_of_the_database": list(self.copies),
            "forgotten_before_by": list(self.earlier),
            "unfinished": self.unfinished and self.entry is None,
        }


def plan_erasure(loop: Loop, key: str) -> Erasure:
    """Look for a key in the records, in the source and in what versions were trained on.

    Changes nothing but the home's secret, on first use. Raises UseCaseError for a key that can be
    none, RegistryError or StoreError when MLflow or the database cannot be reached.
    """
    if not 0 < len(key) <= MAX_KEY_LENGTH or "\0" in key:
        raise UseCaseError(
            where="closedloop forget",
            wanted=f"a key of 1 to {MAX_KEY_LENGTH} characters",
            got=f"{len(key)} characters",
            then="give the key as the API was sent it",
        )
    use_case = loop.use_case
    digest = name_person(loop.settings.home_folder, use_case.name, key)
    before = [
        entry
        for entry in loop.journal.history(use_case.name, kinds=(Kind.ERASURE,))
        if isinstance(entry.details, ErasureDetails)
        and entry.details.erased is not None
        and entry.details.erased.digest == digest
    ]
    found = loop.records.find_rows(use_case.name, key)
    own, unread = _find_own_windows(loop, key)
    versions, unknown = _find_versions(loop, found, own)
    facts = ErasedFacts(
        digest,
        found.rows,
        found.requests,
        found.labels,
        found.corrections,
        name_windows(use_case, found.times),
        own,
        versions,
    )
    open_ones = [entry for entry in before if entry.outcome is None]
    return Erasure(
        facts,
        unread,
        unknown,
        find_copies(loop),
        tuple(entry.id for entry in before),
        bool(open_ones),
        _find_archived(loop, found),
    )


def forget(loop: Loop, key: str, *, by: str, why: str | None = None) -> Erasure:
    """Remove the rows of a key; `by` says who asked for it, and `why`.

    Waits for a running turn and a running training, which may read them. After a crash the same
    call finishes what was begun. Without anything to remove, nothing is written.
    """
    with ExitStack() as stack:
        stack.enter_context(loop.training_lock("forget"))
        stack.enter_context(loop.lock("forget"))
        found = plan_erasure(loop, key)
        if not found.needed:
            return found
        entry = _write_down(loop, found, by, why)
        loop.records.erase(loop.use_case.name, key)
        loop.journal.carried_out(entry)
        return replace(found, entry=loop.journal.entry(entry.id))


def _write_down(loop: Loop, found: Erasure, by: str, why: str | None) -> Entry:
    """The decision, or that of the same person which was begun and not finished."""
    name, facts = loop.use_case.name, found.facts
    for number in found.earlier:
        if (begun := loop.journal.entry(number)).outcome is None:
            return begun
    live = loop.registry.production()
    return loop.journal.write(
        f"{name}/erasure/{facts.digest}/{len(found.earlier)}",
        name,
        Decision(Kind.ERASURE, Action.FORGET, NO_WINDOW, (request_check(WHAT), _note(facts)), live),
        details=ErasureDetails(live, by, why, facts),
        origin=Origin.PERSON,
    )


def _note(facts: ErasedFacts) -> Check:
    said = (
        f"{facts.erased_rows:,} rows of {facts.requests:,} requests, {facts.labels:,} labels, "
        f"{facts.corrections:,} corrected labels"
    )
    return make_check("rows of records", None, Role.NOTE, "removed", said, summary=said)


def _find_own_windows(loop: Loop, key: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The windows of the source that hold the key, and those that could not be read."""
    use_case, held, unread = loop.use_case, list[str](), list[str]()
    if use_case.key is None:
        return (), ()
    try:
        names = loop.source.windows()
    except NoWindows:
        return (), ()
    wanted = spell(key)
    for name in names:
        try:
            found = [
                (rows[use_case.key].map(spell) == wanted).any() if use_case.key in rows else None
                for rows in read_chunks(loop.source, name)
            ]
            if None in found:
                unread.append(name)
            elif any(found):
                held.append(name)
        except ClosedLoopError:
            unread.append(name)
    return tuple(held), tuple(unread)


def _find_versions(
    loop: Loop, found: FoundRows, own: Iterable[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The versions trained on windows that held the key, and those of which that is unknown."""
    trained, unknown, own = list[int](), list[int](), frozenset(own)
    for version in loop.registry.versions():
        windows = _trained_on(loop, version.version)
        if windows is None:
            unknown.append(version.version)
        elif any(name in own or _holds(loop, name, found) for name in windows):
            trained.append(version.version)
    return tuple(trained), tuple(unknown)


def _trained_on(loop: Loop, version: int) -> tuple[str, ...] | None:
    try:
        text = loop.registry.read_file(version, CARD_FACTS_FILE)
        return tuple(window.name for window in read_training_facts(text).windows)
    except (RegistryError, ValueError):
        loop.registry.ping()  # an MLflow that is away must not make all of them unknown
    try:
        return loop.registry.load(version).facts.trained_windows
    except ClosedLoopError:
        return None


def _holds(loop: Loop, window: str, found: FoundRows) -> bool:
    period = period_of_window(window, loop.use_case)
    return period is not None and any(period[0] <= at < period[1] for at in found.times)


def _find_archived(loop: Loop, found: FoundRows) -> tuple[str, ...]:
    """The days whose files in the archive hold the key."""
    if loop.records.archive is None:
        return ()
    days = {at.date() for at in found.times}
    written = loop.records.archive.days(loop.use_case.name)
    return tuple(day.isoformat() for day in written if day in days)


def find_copies(loop: Loop) -> tuple[str, ...]:
    """Copies of SQLite's file that upgrades have left beside it."""
    path = loop.engine.url.database
    if loop.engine.dialect.name != "sqlite" or not path:
        return ()
    return tuple(sorted(map(str, Path(path).parent.glob(f"{Path(path).name}.before-*"))))


def tell_erasure(found: Erasure, *, on_sqlite: bool, done: bool) -> list[str]:
    """What was or would be removed and where else the key is, a line each."""
    facts = found.facts
    verb = "removed" if done else "would remove"
    lines = [
        f"{verb} {facts.erased_rows:,} rows of {facts.requests:,} requests, {facts.labels:,} "
        f"labels and {facts.corrections:,} corrected labels from the records"
    ]
    if not found.needed:
        lines = ["no rows of this key are in the records"]
    if found.entry is not None:
        lines.append(f"written down as decision {found.entry.id}, without the key")
    if found.earlier:
        lines.append(f"forgotten before by decision {', '.join(map(str, found.earlier))}")
    lines += _tell_windows(found)
    if found.copies:
        lines.append(f"not touched, delete them: {', '.join(found.copies)}")
    if not on_sqlite and done:
        lines.append(
            "PostgreSQL overwrites freed space in time; at once: VACUUM FULL answers, answer_keys, "
            "answer_labels, label_corrections, shadow_answers"
        )
    return [*lines, "not touched: backups, model files and drift reports: docs/privacy.md"]


def _tell_windows(found: Erasure) -> list[str]:
    facts = found.facts
    told = (
        ("windows of records that held it", facts.windows_of_records),
        ("days whose files in the archive go as a whole", found.archived),
        ("not touched, your own windows that hold it", facts.own_windows),
        ("windows that could not be looked into", found.unread),
        ("not touched, versions that were trained on such windows", facts.trained_versions),
        ("versions whose training windows are unknown", found.unknown),
    )
    return [f"{what}: {', '.join(map(str, names))}" for what, names in told if names]
