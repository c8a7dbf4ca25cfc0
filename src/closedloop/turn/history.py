"""The windows up to the current one, and what registry and journal say of them: what a turn reads,
each thing once."""

from __future__ import annotations

from functools import cached_property
from itertools import takewhile
from typing import Generic

import numpy as np

from closedloop.decisions.checks import Action, Kind
from closedloop.decisions.evidence import LoopState
from closedloop.errors import ModelError
from closedloop.registry.versions import PREVIOUS, PRODUCTION, VersionFacts
from closedloop.storage.journal import Entry
from closedloop.turn.compute import ReadWindow
from closedloop.turn.ports import Model, P
from closedloop.windows.order import mature, position, up_to
from closedloop.windows.sources import in_time_order


class History(Generic[P]):
    """The windows up to the current one, each read once, and what registry and journal say of
    them."""

    def __init__(self, loop: P, window: str | None = None) -> None:
        self._all_names = loop.source.windows()
        self.loop = loop
        self.window = self._all_names[-1] if window is None else window
        self.names = up_to(self._all_names, self.window)
        self._read: dict[str, ReadWindow] = {}
        self._answers: dict[tuple[str, bool], np.ndarray] = {}

    @property
    def index(self) -> int:
        return len(self.names) - 1

    @property
    def due(self) -> tuple[str, ...]:
        """Windows whose labels are due, oldest first."""
        return mature(self.names, self.window, self.loop.use_case.labels.delay_windows)

    @cached_property
    def _versions(self) -> tuple[VersionFacts, ...]:
        return tuple(self.loop.registry.versions())

    @property
    def production(self) -> VersionFacts | None:
        """The version that was live when this history was opened."""
        return next((one for one in self._versions if PRODUCTION in one.aliases), None)

    @property
    def previous(self) -> VersionFacts | None:
        """The version that production replaced, if there is one to go back to."""
        return next((one for one in self._versions if PREVIOUS in one.aliases), None)

    @cached_property
    def _loaded(self) -> tuple[Model | None, str | None]:
        if self.production is None:
            return None, None
        try:
            bundle = self.loop.registry.load(self.production.version)
        except ModelError as error:
            return None, str(error)
        missing = sorted(set(bundle.use_case.columns) - set(self.loop.use_case.columns))
        return (
            (None, f"it needs columns that loop.toml no longer has: {', '.join(missing)}")
            if missing
            else (bundle, None)
        )

    @property
    def bundle(self) -> Model | None:
        """Production, loaded; None when there is none or when it cannot be asked any more."""
        return self._loaded[0]

    @property
    def production_error(self) -> str | None:
        """Why production cannot be asked, if so."""
        return self._loaded[1]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        return self.loop.journal.history(self.loop.use_case.name)

    def place(self, name: str | None) -> int | None:
        """The index of a window, which may be newer than the current one; None when none is named.

        A window that is gone is older than all that are left when its name says so, and otherwise
        newer than all: nothing may pass for new to a model when that is not known.
        """
        if name is None or name in self._all_names:
            return None if name is None else position(self._all_names, name)
        return -1 if in_time_order({name, *self._all_names})[0] == name else len(self._all_names)

    def read(self, name: str) -> ReadWindow:
        """Read, prepare and check one window."""
        if name not in self._read:
            statistics = self.bundle.facts.statistics if self.bundle else None
            self._read[name] = self.loop.compute.read_window(
                self.loop.source, name, position(self.names, name), self.loop.use_case, statistics
            )
        return self._read[name]

    def answers(self, name: str, *, labelled: bool = False) -> np.ndarray:
        """Production's probabilities on a window's rows, or on those with a label, asked once;
        needs a production that can be asked."""
        assert self.bundle is not None
        if (name, labelled) not in self._answers:
            read = self.read(name)
            self._answers[name, labelled] = self.bundle.probabilities(
                read.labelled.frame if labelled else read.prepared
            )
        return self._answers[name, labelled]

    @cached_property
    def data_key(self) -> str:
        """Changes when the rows of the current window, or the newest labels that are due,
        change."""
        newest = (self.due[-1:] if self.due else ()) + (self.window,)
        return "-".join(dict.fromkeys(self.read(name).facts.digest[:12] for name in newest))

    def key(self, kind: str) -> str:
        """Under which a decision of this turn is written: use case, window, kind, data and
        everything in loop.toml."""
        return f"{self.loop.use_case.name}/{self.window}/{kind}/{self.data_key}/{self.loop.use_case.fingerprint}"

    def newer_than(self, trained_through: str | None) -> tuple[str, ...]:
        """Windows with due labels that are newer than a model's training rows and keep the
        contract."""
        after = self.place(trained_through)
        names = (
            self.due
            if after is None
            else tuple(name for name in self.due if position(self.names, name) > after)
        )
        return tuple(name for name in names if not self.read(name).violations)

    def quarantined(self) -> frozenset[str]:
        """Windows that an earlier turn found too bad to train on."""
        found = (
            entry.details.get("realised_on")
            for entry in self.entries
            if entry.details.get("quarantined")
        )
        return frozenset(name for name in found if name)

    def realised_before(self, name: str) -> tuple[float, ...]:
        """Production's AUC on each judged window before this one, oldest first, as the journal has
        it."""
        latest: dict[str, float] = {}
        for entry in self.entries:
            judged = entry.details.get("realised_on")
            if judged in self.names and position(self.names, judged) < position(self.names, name):
                latest[judged] = entry.details["realised_auc"]
        return tuple(
            latest[judged] for judged in sorted(latest, key=lambda one: position(self.names, one))
        )

    def state(self) -> LoopState:
        """Where the loop stood before this turn."""
        live = self.production
        turns: dict[int, Entry] = {}
        trained, promoted_at = set(), None
        for entry in self.entries:
            index = self.place(entry.decision.window)
            if (
                entry.decision.kind in (Kind.PROMOTION, Kind.ROLLBACK)
                and entry.outcome == "done"
                and live is not None
            ):
                if entry.decision.action is Action.PROMOTE:
                    promoted_at = index if entry.decision.version == live.version else None
                elif entry.decision.action is Action.ROLLBACK:
                    promoted_at = None
            if entry.decision.kind is Kind.RETRAINING and index is not None:
                if entry.decision.action is Action.RETRAIN:
                    trained.add(index)
                if entry.decision.action is not Action.ESCALATE and index < self.index:
                    turns[index] = entry
        in_order = [turns[index].details for index in sorted(turns)]
        drift_marks = [
            (index, over)
            for index in sorted(turns)
            if (over := turns[index].details.get("drift_over")) is not None
        ]
        episode = list(takewhile(lambda mark: mark[1], reversed(drift_marks)))
        return LoopState(
            production=live.version if live else None,
            previous=self.previous.version if self.previous else None,
            trained_through=self.place(live.trained_through) if live else None,
            promoted_at=promoted_at,
            expected_auc=live.val_auc if live else None,
            trained_at=tuple(sorted(trained)),
            drift_marks=tuple(over for _, over in drift_marks),
            loss_marks=tuple(
                one["loss_over"] for one in in_order if one.get("loss_over") is not None
            ),
            drifting_since=episode[-1][0] if episode else None,
        )
