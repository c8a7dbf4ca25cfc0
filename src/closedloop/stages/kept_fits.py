"""Pipelines that the stage `train` fitted, from which the later stages go on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from closedloop.bundle.files import read_file
from closedloop.bundle.skops_model import PipelineScorer, dump_pipeline, load_pipeline
from closedloop.training.candidates import LabelledWindow
from closedloop.turn.compute import Compute
from closedloop.use_case.contract import UseCase


class KeptFits(Compute):
    """Fits a recipe only where `folder` does not hold it, fitted on the same rows and loop.toml.

    What it fits is kept there if it `keeps`.
    """

    def __init__(self, folder: Path, *, keeps: bool = False) -> None:
        self._folder, self._keeps = folder, keeps

    def fit(
        self, recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase
    ) -> PipelineScorer:
        """As `Compute`."""
        name = f"{recipe.replace('/', '-')}-{_describe(recipe, windows, use_case)}.skops"
        path = self._folder / name
        if not path.is_file():
            fitted = super().fit(recipe, windows, use_case)
            if not self._keeps:
                return fitted
            path.write_bytes(dump_pipeline(fitted.pipeline))
        pipeline = load_pipeline(read_file(path))
        return PipelineScorer(pipeline, use_case.numeric, use_case.categorical)


def _describe(recipe: str, windows: tuple[LabelledWindow, ...], use_case: UseCase) -> str:
    """The first 12 digits of a sha256 over all that decides a fit, but code and libraries."""
    newest = max(window.index for window in windows)
    # A part of a window has the digest of the whole, but not its keys.
    rows = [
        (
            window.digest,
            newest - window.index,
            hashlib.sha256(window.frame.index.to_numpy().tobytes()).hexdigest(),
        )
        for window in windows
    ]
    described = json.dumps([recipe, rows, use_case.fingerprint])
    return hashlib.sha256(described.encode()).hexdigest()[:12]
