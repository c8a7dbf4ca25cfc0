"""What only a training knows and its model card tells later: rows, contract, code and libraries."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter

from closedloop.bundle.skops_model import pinned_requirements
from closedloop.json_text import read_json
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.candidate import Candidate

CARD_FACTS_FILE = "card.json"


@dataclass(frozen=True)
class WindowRows:
    """The labelled rows of a window that were used, and the sha256 of the whole window."""

    name: str
    rows: int
    digest: str


@dataclass(frozen=True)
class TrainingFacts:
    """What a version was made of.

    `use_case` is the content of its loop.toml, `fingerprint` that of the file, `revision` the
    commit of its folder, `libraries` are packages with their versions.
    """

    windows: tuple[WindowRows, ...]
    evaluation: WindowRows
    use_case: dict[str, Any]
    fingerprint: str
    revision: str
    libraries: tuple[str, ...]


def write_training_facts(
    candidate: Candidate, use_case: dict[str, Any], fingerprint: str, revision: str
) -> str:
    """The facts of a candidate as `CARD_FACTS_FILE` holds them."""
    packages = ("closedloop", "onnx", "onnxruntime")
    libraries = (
        f"python=={platform.python_version()}",
        *(f"{name}=={version(name)}" for name in packages),
        *pinned_requirements(candidate.scorer.pipeline),
    )
    facts = TrainingFacts(
        tuple(map(_describe, candidate.refitted)),
        _describe(candidate.split.evaluation),
        use_case,
        fingerprint,
        revision,
        libraries,
    )
    return json.dumps(asdict(facts), indent=1)


def read_training_facts(text: str) -> TrainingFacts:
    """The facts from their text; raises ValueError for anything else."""
    return TypeAdapter(TrainingFacts).validate_python(read_json(text))


def _describe(window: LabelledWindow) -> WindowRows:
    return WindowRows(window.name, len(window.labels), window.digest)
