"""The process that explains rows: as this one would, in time or not at all."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from closedloop.bundle.contributions import Explainer
from closedloop.bundle.explaining import ExplainProcess, explain_rows
from closedloop.bundle.files import MODEL_FILE
from closedloop.bundle.frames import pack_frame
from closedloop.bundle.loaded import load_with_pipeline
from closedloop.errors import ModelError
from tests.unit.bundle.shop import CATEGORICAL, NUMERIC, fit_pipeline, rows, write_bundle

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 120.0
PACKED = pack_frame(rows(9, 40), NUMERIC, CATEGORICAL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tree", fit_pipeline("baseline"))


def test_rows_are_explained_as_in_this_process(folder: Path, tmp_path: Path) -> None:
    """To the last digit, with nulls and any text, again and again; whoever cannot wait until the
    version is loaded may come back. When its service is gone, the process ends by itself."""
    process = ExplainProcess(folder, tmp_path / "tried")
    with pytest.raises(TimeoutError, match="is being loaded"):
        process.explain(*PACKED, 0.0)
    numbers, texts = PACKED[0].copy(), PACKED[1].copy()
    numbers[0], texts[0] = np.nan, 'a "new"\nplan \U0001f600'
    wanted = explain_rows(Explainer(load_with_pipeline(folder)), numbers, texts)
    assert wanted.errors is not None
    for _ in range(2):
        found = process.explain(numbers, texts, PATIENCE_SECONDS)
        assert astuple(found) == astuple(wanted)
    assert (tmp_path / "tried").exists()  # before it was loaded
    assert process.alive
    process._process.stdin.close()  # type: ignore[union-attr]
    assert process._process.wait(PATIENCE_SECONDS) == 0


def test_what_takes_too_long_is_ended(folder: Path, tmp_path: Path) -> None:
    """An explanation out of time ends its process; one that ended says how."""
    process = ExplainProcess(folder, tmp_path / "tried")
    process.explain(*PACKED, PATIENCE_SECONDS)
    many = [np.repeat(side, 100, axis=0) for side in PACKED]
    with pytest.raises(TimeoutError, match="out of time"):
        process.explain(*many, 0.0)
    assert not process.alive
    process = ExplainProcess(folder, tmp_path / "tried")
    process._process.kill()
    with pytest.raises(ModelError, match="a process that ended with -9"):
        process.explain(*PACKED, PATIENCE_SECONDS)
    process.close()


def test_a_version_that_is_refused_says_why(tmp_path: Path) -> None:
    """What the trial says of a damaged version arrives here."""
    folder = write_bundle(tmp_path / "bundle", fit_pipeline("baseline"))
    (folder / MODEL_FILE).write_bytes(b"PK")
    process = ExplainProcess(folder, tmp_path / "tried")
    with pytest.raises(ModelError, match="bundle bundle: wanted a complete bundle"):
        process.explain(*PACKED, PATIENCE_SECONDS)
    process.close()
