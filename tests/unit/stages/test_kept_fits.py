"""Pipelines that are kept are taken for the same rows and loop.toml, and for no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from closedloop.bundle.skops_model import dump_pipeline
from closedloop.stages.kept_fits import KeptFits
from closedloop.training.candidates import LabelledWindow
from closedloop.use_case.contract import UseCase
from tests.unit.bundle.shop import USE_CASE, fit_pipeline, labels_of, rows


def make_window(name: str, index: int, seed: int) -> LabelledWindow:
    table = rows(seed)
    return LabelledWindow(name, index, table, labels_of(table), digest=f"rows {seed}")


def test_what_was_fitted_on_the_same_rows_is_taken(tmp_path: Path) -> None:
    """A kept pipeline answers, whatever it is; for other rows, ages, recipes or another loop.toml a
    pipeline is fitted, and only who keeps fits writes."""
    windows = (make_window("w0", 0, 1), make_window("w1", 1, 2))
    KeptFits(tmp_path, keeps=True).fit("logistic/recent", windows, USE_CASE)
    [kept] = tmp_path.iterdir()
    marked = fit_pipeline("random_forest")
    kept.write_bytes(dump_pipeline(marked))

    def takes(
        recipe: str = "logistic/recent",
        windows: tuple[LabelledWindow, ...] = windows,
        use_case: UseCase = USE_CASE,
    ) -> bool:
        found = KeptFits(tmp_path).fit(recipe, windows, use_case).pipeline
        return np.array_equal(found.predict_proba(rows(9)), marked.predict_proba(rows(9)))

    assert takes()
    assert takes(windows=tuple(replace(window, index=window.index + 5) for window in windows))
    part = replace(windows[1], frame=windows[1].frame[::2], labels=windows[1].labels[::2])
    assert not takes("logistic/all")
    assert not takes(windows=(windows[0], part))
    assert not takes(windows=(windows[0], replace(windows[1], index=2)))
    assert not takes(windows=(windows[0], replace(windows[1], digest="others")))
    assert not takes(use_case=replace(USE_CASE, fingerprint="another"))
    assert list(tmp_path.iterdir()) == [kept]
