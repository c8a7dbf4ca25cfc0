"""Where a prediction came from: its version, the decision that made that live, its data and code.

Records say which version answered and when, the journal who made it live, and the registry what it
was made of. A registry that is away leaves only that unknown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from closedloop.decisions.checks import Kind
from closedloop.errors import RegistryError
from closedloop.records.store import Records
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.turn.live_at import LiveAt, describe_decision, find_live, find_move_to
from closedloop.turn.moved_aliases import KINDS

# The tags of a version, by name, and the id of its run; raises RegistryError.
ReadTags = Callable[[int], tuple[Mapping[str, str], str]]


@dataclass(frozen=True)
class Training:
    """What a version was made of; None for what the release that trained it did not keep.

    `windows` maps its newest training windows to the first 12 digits of the sha256 of their rows.
    `revision` is the commit of the folder of loop.toml, `closedloop` the version of this program,
    `own_code` the sha256 of the user's own estimator, `contract` the fingerprint of loop.toml,
    `files` the sha256 of the version's files, `run` its run in MLflow.
    """

    recipe: str | None
    window: str | None
    trained_through: str | None
    windows: dict[str, str] | None
    revision: str | None
    closedloop: str | None
    own_code: str | None
    contract: str | None
    seed: str | None
    platform: str | None
    files: str | None
    run: str | None


@dataclass(frozen=True)
class PredictionOrigin:
    """Where one prediction came from.

    `decision` is the newest one by then that made its version live; None when the journal has none.
    `live` is what was live by the journal. `training` is None when `unknown` says why.
    """

    id: str
    version: int
    at: datetime
    decision: Entry | None
    live: LiveAt
    training: Training | None
    unknown: str = ""

    @property
    def differs(self) -> bool:
        """Whether another version was live by the journal than the one that answered."""
        return self.live.version != self.version

    def as_json(self) -> dict[str, Any]:
        """What `closedloop live --prediction ID --json` prints, and the API answers."""
        return {
            "prediction": self.id,
            "at": self.at.isoformat(timespec="microseconds"),
            "version": self.version,
            "decision": describe_decision(self.decision),
            "live_then": self.live.version,
            "training": None if self.training is None else asdict(self.training),
            "unknown": self.unknown or None,
        }


def find_origin(
    journal: Journal, records: Records, use_case: str, id: str, read_tags: ReadTags
) -> PredictionOrigin:
    """Where a prediction came from; raises UnknownPrediction when it is not on record."""
    answer = records.find_answer(id, use_case)
    entries = journal.history(use_case, kinds=(*KINDS, Kind.SERVING))
    training, unknown = None, ""
    try:
        training = describe_training(*read_tags(answer.version))
    except RegistryError as error:
        unknown = str(error)
    return PredictionOrigin(
        id,
        answer.version,
        answer.at,
        find_move_to(entries, answer.version, answer.at),
        find_live(entries, answer.at),
        training,
        unknown,
    )


def describe_training(tags: Mapping[str, str], run: str) -> Training:
    """What a version was made of, from its tags; foreign text in them counts as unknown."""
    return Training(
        recipe=tags.get("recipe"),
        window=tags.get("window"),
        trained_through=tags.get("trained_through"),
        windows=_read_windows(tags.get("data")),
        revision=tags.get("revision") or None,
        closedloop=tags.get("closedloop"),
        own_code=tags.get("own_code"),
        contract=tags.get("contract"),
        seed=tags.get("seed"),
        platform=tags.get("platform"),
        files=tags.get("sha256") or None,
        run=run or None,
    )


def _read_windows(text: str | None) -> dict[str, str] | None:
    try:
        read = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return (
        {str(name): str(digest) for name, digest in read.items()}
        if isinstance(read, dict)
        else None
    )
