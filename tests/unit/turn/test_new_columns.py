"""Columns that nobody named are told once; windows that drop out of training are told always."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pytest

from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.replay import ReplayParts
from closedloop.decisions.checks import Role
from closedloop.decisions.notes import NEW_COLUMNS
from closedloop.errors import SourceError
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.candidate import fit_candidate
from closedloop.turn.history import History
from closedloop.turn.left_out import find_left_out
from closedloop.turn.take_turn import take_turn
from closedloop.use_case.contract import Column
from tests.unit.streams import make_frame, make_past


def _frames(**changes: Any) -> dict[str, pd.DataFrame]:
    """w0 to w3 of the shop, each with more columns if `changes` names some for it."""
    return {
        f"w{number}": make_frame(number).assign(**changes.get(f"w{number}", {}))
        for number in range(4)
    }


def _open(
    folder: Path, frames: Mapping[str, pd.DataFrame], journal: Journal, **columns: Column
) -> ReplayParts:
    past = make_past(folder, dict(frames), delay=0)
    known = MappingProxyType({**past.use_case.columns, **columns})
    use_case = replace(past.use_case, columns=known)
    return ReplayParts(use_case, past.as_of("w3"), journal, MemoryRegistry("shop"), past.compute)


def test_a_new_column_is_told_once(tmp_path: Path) -> None:
    """By the first window that has it, if no comment of loop.toml names it; also by a window that
    breaks the contract."""
    coupon, channel = {"coupon": 1.0, "order": 1}, {"channel": "web"}
    frames = _frames(w1=coupon, w2={**coupon, **channel, "spend": None}, w3={**coupon, **channel})
    engine = open_engine("sqlite://")
    parts = _open(tmp_path, frames, Journal(engine))
    parts.use_case.path.write_text('# left out: "order" is an id\n# a coupon', encoding="utf-8")
    told = {}
    for window in frames:
        entry = take_turn(History(parts, window))
        told[window] = [check.got for check in entry.decision.checks if check.claim == NEW_COLUMNS]
        assert NEW_COLUMNS not in entry.decision.reason, "a note settles nothing"
        roles = {check.role for check in entry.decision.checks if check.claim == NEW_COLUMNS}
        assert roles <= {Role.NOTE}
    assert told == {"w0": [], "w1": ["coupon"], "w2": ["channel"], "w3": []}
    facts = parts.journal.history("shop")[-1].turn.window
    assert facts is not None
    assert set(facts.unnamed_columns) == {"coupon", "order", "channel"}
    engine.dispose()


def test_windows_that_drop_out_of_training_have_a_reason(tmp_path: Path) -> None:
    """A column that came later drops the older windows, with its name; `since` keeps them, and the
    model learns from all."""
    frames = _frames(w2={"coupon": 1.0}, w3={"coupon": 2.0})
    frames["w1"] = frames["w1"].assign(left=None)
    engine = open_engine("sqlite://")
    for column, left_out, trained in (
        (Column("numeric"), (("w0", "no column coupon"), ("w1", "no column coupon")), ["w2", "w3"]),
        (Column("numeric", since="w2"), (("w1", "no labels"),), ["w0", "w2", "w3"]),
        (Column("numeric", optional=True), (("w1", "no labels"),), ["w0", "w2", "w3"]),
    ):
        history = History(_open(tmp_path, frames, Journal(engine), coupon=column), "w3")
        candidate = fit_candidate(history)
        names = [window.name for window in candidate.refitted]
        assert (names, find_left_out(history, names)) == (trained, left_out)
    engine.dispose()


def test_a_training_without_any_window_names_all_reasons(tmp_path: Path) -> None:
    """The error says which windows dropped out, and why."""
    frames = _frames(w0={"spend": 1e9}, w1={"left": None})
    frames["w2"], frames["w3"] = frames["w2"].drop(columns="plan"), frames["w3"].head(0)
    engine = open_engine("sqlite://")
    parts = _open(tmp_path, frames, Journal(engine), spend=Column("numeric", maximum=10))
    with pytest.raises(SourceError) as raised:
        fit_candidate(History(parts, "w3"))
    assert raised.value.got == (
        "none; left out: w0 (spend: range), w1 (no labels), w2 (no column plan), w3 (no rows)"
    )
    engine.dispose()
