"""What a row of the journal holds as text, and how rows of older versions are read.

Older rows lack some fields. What they mean is worked out here and nowhere else: who asked for a
decision, from its key; which checks sum it up, from their claims; which decision superseded it,
from the sentence of its outcome.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from closedloop.decisions.checks import Check, Numbers, Outcome, Role

_BY_A_PERSON = ("/by-hand/", "/requested/")
_SUPERSEDED = re.compile(r"^decision (\d+) \((\w+)\) was carried out meanwhile$")


class Origin(StrEnum):
    """Who asked for a decision."""

    LOOP = "loop"
    PERSON = "person"


@dataclass(frozen=True)
class OutcomeNote:
    """Why a decision was not carried out.

    Decision `superseded_by`, with this action, was carried out first; or `reason`.
    """

    reason: str = ""
    superseded_by: int | None = None
    action: str = ""

    def __str__(self) -> str:
        if self.superseded_by is None:
            return self.reason
        return f"decision {self.superseded_by} ({self.action}) was carried out meanwhile"


def write_checks(checks: tuple[Check, ...]) -> str:
    """Checks as JSON."""
    return json.dumps([_write_check(check) for check in checks])


def read_checks(text: str) -> tuple[Check, ...]:
    """Checks from their JSON."""
    return tuple(_read_check(content) for content in json.loads(text))


def _write_check(check: Check) -> dict[str, Any]:
    """A check without numbers is written as older versions wrote it."""
    content = asdict(check)
    if check.numbers is None:
        del content["numbers"]
    return content


def _read_check(content: Mapping[str, Any]) -> Check:
    claim = content["claim"]
    headline = content.get("headline", claim == "val_auc" or claim.startswith("delta on "))
    return Check(
        claim,
        Outcome(content["outcome"]),
        Role(content["role"]),
        content["wanted"],
        content["got"],
        content.get("summary", ""),
        headline,
        _read_numbers(content.get("numbers")),
    )


def _read_numbers(content: Mapping[str, Any] | None) -> Numbers | None:
    if content is None:
        return None
    return Numbers(**{field.name: content.get(field.name) for field in fields(Numbers)})


def read_origin(details: Mapping[str, Any], key: str) -> Origin:
    """Who asked for the decision with these details, written under `key`."""
    if "origin" in details:
        return Origin(details["origin"])
    return Origin.PERSON if any(part in key for part in _BY_A_PERSON) else Origin.LOOP


def write_note(note: OutcomeNote) -> str:
    """A note as text: JSON when it names a decision, otherwise the reason."""
    if note.superseded_by is None:
        return note.reason
    return json.dumps({"superseded_by": note.superseded_by, "action": note.action})


def read_note(text: str) -> OutcomeNote:
    """A note from its text."""
    if older := _SUPERSEDED.match(text):
        return OutcomeNote(superseded_by=int(older[1]), action=older[2])
    if text.startswith("{"):
        content = json.loads(text)
        return OutcomeNote(superseded_by=content["superseded_by"], action=content["action"])
    return OutcomeNote(text)
