"""What a turn reads, each thing once: the windows up to the current one, registry and journal."""

from __future__ import annotations

from functools import cached_property
from typing import Generic, Self

import numpy as np

from closedloop.bundle.frames import score_frame
from closedloop.bundle.loaded import LoadedVersion
from closedloop.decisions.checks import Action, Kind
from closedloop.decisions.evidence import LoopState
from closedloop.errors import ModelError
from closedloop.registry.versions import PREVIOUS, PRODUCTION, VersionFacts
from closedloop.storage.entry import Entry
from closedloop.storage.rows import Origin
from closedloop.turn.compute import ReadWindow
from closedloop.turn.copied_window import refuse_copy
from closedloop.turn.ended_probation import is_end_of_probation
from closedloop.turn.kept_out import Standing, read_standings
from closedloop.turn.loop_state import read_state
from closedloop.turn.moved_aliases import Live, find_way_back, tell_moved, tell_outside
from closedloop.turn.ports import P
from closedloop.windows.order import columns_not_yet, mature, position, up_to
from closedloop.windows.repeated_rows import RowMarks
from closedloop.windows.time_names import UnclearOrder, in_time_order

ACCEPTED = "/accepted-"  # in a key, before the id of the acceptance


class History(Generic[P]):
    """The windows up to the current one, with what registry and journal say about them."""

    def __init__(self, loop: P, window: str | None = None) -> None:
        self._all_names = loop.source.windows()
        self.loop = loop
        self.window = self._all_names[-1] if window is None else window
        self.names = up_to(self._all_names, self.window)
        self._read: dict[str, ReadWindow] = {}
        self._answers: dict[tuple[str, bool], np.ndarray] = {}
        self._marks: dict[str, RowMarks] = {}

    def look(self) -> Self:
        """Read now what registry and journal say; otherwise that happens when it is needed."""
        _ = self.versions, self.entries
        return self

    @property
    def index(self) -> int:
        return len(self.names) - 1

    @property
    def due(self) -> tuple[str, ...]:
        """Windows whose labels are due, oldest first."""
        return mature(self.names, self.window, self.loop.use_case.labels.delay_windows)

    @cached_property
    def versions(self) -> tuple[VersionFacts, ...]:
        """Every version of the registry, oldest first."""
        return tuple(self.loop.registry.versions())

    @property
    def production(self) -> VersionFacts | None:
        """The version that was live when this history was opened."""
        return next((version for version in self.versions if PRODUCTION in version.aliases), None)

    @property
    def previous(self) -> VersionFacts | None:
        """The version that production replaced, if there is one to go back to."""
        back = find_way_back(self.entries, self._aliases)
        return next((version for version in self.versions if version.version == back), None)

    @property
    def _aliases(self) -> Live:
        found = {alias: facts.version for facts in self.versions for alias in facts.aliases}
        return Live(found.get(PRODUCTION), found.get(PREVIOUS))

    @cached_property
    def moved(self) -> tuple[str, ...]:
        """What people are told about aliases that were moved behind the loop's back."""
        handled = tell_outside(self.entries, self.window)
        return (*tell_moved(self.entries, self._aliases), *handled)

    @cached_property
    def _loaded(self) -> tuple[LoadedVersion | None, str | None]:
        if self.production is None:
            return None, None
        try:
            bundle = self.loop.registry.load(self.production.version)
        except ModelError as error:
            return None, str(error)
        if mismatch := bundle.tell_mismatch(self.loop.use_case):
            return None, mismatch
        return bundle, None

    @property
    def bundle(self) -> LoadedVersion | None:
        """Production, loaded; None when there is none or it cannot be loaded."""
        return self._loaded[0]

    @property
    def production_error(self) -> str | None:
        """Why production cannot be loaded, if so."""
        return self._loaded[1]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        return self.loop.journal.history(self.loop.use_case.name)

    def place(self, name: str | None) -> int | None:
        """The index of a window, which may be newer than the current one; None without a name.

        A window that no longer exists counts as older than all others if its name comes first in
        time, and otherwise as newer than all: rows must not count as new to a model when that is
        unknown.
        """
        if name is None or name in self._all_names:
            return None if name is None else position(self._all_names, name)
        try:
            first = in_time_order({name, *self._all_names})[0]
        except UnclearOrder:
            first = self._all_names[0]
        return -1 if first == name else len(self._all_names)

    def read(self, name: str) -> ReadWindow:
        """Read, prepare and check one window."""
        if name not in self._read:
            statistics = self.bundle.facts.statistics if self.bundle else None
            use_case = self.loop.use_case
            read = self.loop.compute.read_window(
                self.loop.source,
                name,
                position(self.names, name),
                use_case,
                statistics,
                columns_not_yet(use_case.columns, self._all_names, name),
            )
            self._read[name] = refuse_copy(read, self._all_names)
        return self._read[name]

    def marks(self, name: str) -> RowMarks:
        """What tells the labelled rows of a window from others; the rows themselves are not kept.

        Training windows are many, and a turn that trains nothing needs no more of them than this.
        """
        if name not in self._marks:
            compute, use_case = self.loop.compute, self.loop.use_case
            read = self._read.get(name) or compute.read_window(
                self.loop.source, name, position(self.names, name), use_case, None
            )
            self._marks[name] = compute.mark_rows(read.labelled, use_case)
        return self._marks[name]

    def answers(self, name: str, *, labelled: bool = False) -> np.ndarray:
        """Production's probabilities on a window's rows, or on its labelled rows only, asked once.

        Needs a production model that loads.
        """
        assert self.bundle is not None
        if (name, labelled) not in self._answers:
            read = self.read(name)
            self._answers[name, labelled] = score_frame(
                self.bundle.scorer, read.labelled.frame if labelled else read.prepared
            )
        return self._answers[name, labelled]

    @cached_property
    def data_key(self) -> str:
        """Changes when the rows of the current window or the newest due labels change."""
        newest = (self.due[-1:] if self.due else ()) + (self.window,)
        return "-".join(dict.fromkeys(self.read(name).facts.digest[:12] for name in newest))

    def key(self, kind: str) -> str:
        """The key of a decision of this turn: use case, window, kind, data and all of loop.toml.

        What was decided before a person accepted another state is not what is decided now.
        """
        use_case, accepted = self.loop.use_case, self._accepted
        key = f"{use_case.name}/{self.window}/{kind}/{self.data_key}/{use_case.fingerprint}"
        key += "".join(f"/{number}" for number in self._decided_by_hand[-1:])
        return key if accepted is None else f"{key}{ACCEPTED}{accepted}"

    @cached_property
    def _accepted(self) -> int | None:
        """The newest decision by which a person accepted what registry and journal hold."""
        accepted = (entry.id for entry in self.entries if entry.decision.action is Action.ACCEPT)
        return max(accepted, default=None)

    @cached_property
    def promotion_key(self) -> str:
        """The key of the decision on a candidate: another one after each that was superseded.

        What was superseded decided nothing, so the same data may be trained on once more.
        """
        key = self.key("promotion")
        lost = [
            entry.id
            for entry in self.entries
            if entry.outcome == "superseded"
            and (entry.key == key or entry.key.startswith(f"{key}/after-"))
        ]
        return key + "".join(f"/after-{number}" for number in lost[-1:])

    @cached_property
    def _decided_by_hand(self) -> tuple[int, ...]:
        """What people decided on quarantines and probations up to this window.

        A turn decides again after it.
        """
        return tuple(
            entry.id
            for entry in self.entries
            if entry.origin is Origin.PERSON
            and (entry.decision.kind is Kind.QUARANTINE or is_end_of_probation(entry))
            and entry.decision.window in self.names
        )

    def newer_than(self, trained_through: str | None) -> tuple[str, ...]:
        """Windows with due labels, newer than a model's training rows, that keep the contract."""
        after = self.place(trained_through)
        names = (
            self.due
            if after is None
            else tuple(name for name in self.due if position(self.names, name) > after)
        )
        return tuple(
            name
            for name in names
            if name not in self.settled_out and not self.read(name).violations
        )

    def quarantine_key(self, window: str) -> str:
        """The key of a window's quarantine: use case, window, its data and all of loop.toml."""
        use_case, digest = self.loop.use_case, self.read(window).facts.digest[:12]
        return f"{use_case.name}/{window}/quarantine/{digest}/{use_case.fingerprint}"

    @cached_property
    def standings(self) -> dict[str, Standing]:
        """Every window that was ever kept out of training, and how it stood before this turn."""
        return read_standings(self.entries)

    def quarantined(self) -> frozenset[str]:
        """Windows that are kept out of training."""
        return frozenset(name for name, standing in self.standings.items() if standing.out)

    @cached_property
    def settled_out(self) -> frozenset[str]:
        """Windows that are kept out of training for good, by a witness or a person."""
        return frozenset(name for name in self.quarantined() if self.standings[name].settled)

    def judged_before(self, name: str) -> tuple[Entry, ...]:
        """The newest decision with production's AUC on each judged window before this one.

        Oldest window first. Windows that are kept out for good do not count.
        """
        latest: dict[int, Entry] = {}
        for entry in self.entries:
            facts = entry.turn.realised
            if facts is None or facts.realised_auc is None or facts.realised_on not in self.names:
                continue
            if facts.realised_on in self.settled_out:
                continue
            judged = position(self.names, facts.realised_on)
            if judged < position(self.names, name):
                latest[judged] = entry
        return tuple(latest[judged] for judged in sorted(latest))

    def state(self, now: int | None = None) -> LoopState:
        """Where the loop stood before this turn; what a person accepted is where it began.

        `now` is the index of another window than the current one, which may be yet to come.
        """
        entries = [entry for entry in self.entries if entry.id >= (self._accepted or 0)]
        now = self.index if now is None else now
        return read_state(entries, self.production, self.previous, self.place, now)
