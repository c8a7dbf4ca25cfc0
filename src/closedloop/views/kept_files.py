"""What turns and trainings kept in MLflow, read once: a finished run does not change."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from closedloop.decisions.drift_report import ColumnDrift
from closedloop.decisions.evidence import PromotionEvidence
from closedloop.errors import RegistryError
from closedloop.json_text import read_json
from closedloop.metrics.importance import Importance
from closedloop.registry.registry import Registry
from closedloop.turn.card_facts import CARD_FACTS_FILE, TrainingFacts, read_training_facts
from closedloop.turn.distributions import (
    DISTRIBUTIONS_FILE,
    Distributions,
    read_distributions,
)
from closedloop.turn.kept_evidence import TURN_EVIDENCE_FILE
from closedloop.turn.register import EVIDENCE_FILE, IMPORTANCE_FILE, read_evidence, read_importance

T = TypeVar("T")


def read_column_drift(registry: Registry, run_id: str) -> tuple[ColumnDrift, ...]:
    """How far each column was from the reference in a turn; empty where that was not kept."""
    return _read(registry, run_id, TURN_EVIDENCE_FILE, _read_columns) or ()


def read_kept_distributions(registry: Registry, run_id: str) -> Distributions | None:
    """How the columns of a turn were distributed; None where an older release kept nothing."""
    return _read(registry, run_id, DISTRIBUTIONS_FILE, read_distributions)


def read_kept_importance(registry: Registry, run_id: str) -> Importance | None:
    """How much a version needs its columns; None where it was not measured."""
    return _read(registry, run_id, IMPORTANCE_FILE, read_importance)


def read_kept_evidence(registry: Registry, run_id: str) -> PromotionEvidence | None:
    """What a version was judged by; None where it was not kept."""
    return _read(registry, run_id, EVIDENCE_FILE, read_evidence)


def read_kept_training(registry: Registry, run_id: str) -> TrainingFacts | None:
    """What a version was made of; None where an older release kept nothing."""
    return _read(registry, run_id, CARD_FACTS_FILE, read_training_facts)


def _read(registry: Registry, run_id: str, name: str, read: Callable[[str], T]) -> T | None:
    """As `_parse`; None also where the run is gone, or cannot be read just now."""
    try:
        return _parse(registry, run_id, name, read)
    except RegistryError:
        return None


@lru_cache(maxsize=256)
def _parse(registry: Registry, run_id: str, name: str, read: Callable[[str], T]) -> T | None:
    """A file of a run; None where it is missing, or not what was written."""
    text = registry.read_run_files(run_id, [name]).get(name)
    try:
        return None if text is None else read(text)
    except (ValueError, KeyError, TypeError):
        return None


def _read_columns(text: str) -> tuple[ColumnDrift, ...]:
    drift = read_json(text)["drift"]
    return tuple(ColumnDrift(**column) for column in drift["columns"]) if drift else ()
