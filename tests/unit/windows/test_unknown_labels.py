"""A class that nobody knew: few such rows are left out and told, many stop the window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.backtest.replay import ReplayParts, fit_first
from closedloop.cli.examine.labels import describe_labels
from closedloop.decisions.checks import Action
from closedloop.errors import SourceError
from closedloop.storage.engine import open_engine
from closedloop.storage.journal import Journal
from closedloop.turn.compute import Compute, ReadWindow
from closedloop.turn.history import History
from closedloop.turn.take_turn import take_turn
from closedloop.use_case.contract import UseCase
from tests.unit.streams import Frames, make_frame, make_past, make_use_case

LINE = 'classes = ["no", "yes", "Maybe"] under [target]'


def _window(others: Mapping[Any, int], rows: int = 600) -> pd.DataFrame:
    """Rows of which the first have other labels."""
    frame = make_frame(1, rows=rows)
    labels = [label for label, count in others.items() for _ in range(count)]
    left = pd.Series([*labels, *frame["left"].iloc[len(labels) :]], dtype=object)
    return frame.assign(left=left)


def _read(use_case: UseCase, frame: pd.DataFrame) -> ReadWindow:
    return Compute().read_window(Frames({"w0": frame}), "w0", 0, use_case, None)


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"Maybe": 5}, "5 of 600 labels are none of the classes and their rows are left out"),
        ({"Maybe": 4, "perhaps": 2}, "'Maybe' (4 rows), 'perhaps' (2 rows)"),
        ({2: 3}, "'2' (3 rows)"),
    ],
)
def test_five_maybes_among_600_are_left_out_and_told(
    tmp_path: Path, others: Mapping[Any, int], told: str
) -> None:
    """Up to one in a hundred: the window is used without these rows, and its notes name each
    spelling, how often it came, and the line that would make it a class."""
    read = _read(make_use_case(tmp_path), _window(others))
    assert read.violations == ()
    assert read.facts.labelled_rows == 600 - sum(others.values())
    (note,) = read.notes
    assert told in note
    assert LINE.replace("Maybe", str(next(iter(others)))) in note


@pytest.mark.parametrize("others", [{}, {None: 200}, {" YES ": 100, "No": 100}])
def test_a_known_class_or_no_label_is_told_by_nobody(
    tmp_path: Path, others: Mapping[Any, int]
) -> None:
    """Labels that are still to come and other spellings of a class are no unknown class."""
    read = _read(make_use_case(tmp_path), _window(others))
    assert (read.violations, read.notes) == ((), ())


def test_a_new_class_stops_the_window_and_says_how_to_add_it(tmp_path: Path) -> None:
    """Above one in a hundred the window breaks the contract; the message has the line to write."""
    (violation,) = _read(make_use_case(tmp_path), _window({"Maybe": 30})).violations
    assert violation.rule == "labels"
    assert "5.0 % other labels, such as 'Maybe' (30 rows)" in violation.got
    assert LINE in violation.got


def test_the_doctor_says_it_before_the_first_turn(tmp_path: Path) -> None:
    """Few in an old window are told, many in any window fail; without any it says what they are."""

    def examined(**frames: pd.DataFrame) -> str:
        parts: Any = Loop(Frames(frames), make_use_case(tmp_path))
        return describe_labels(parts)

    clean = _window({})
    assert examined(w0=clean, w1=clean) == "all of them are no or yes"
    assert "w0: 5 of 600 labels" in examined(w0=_window({"Maybe": 5}), w1=clean)
    with pytest.raises(SourceError, match="labels of w0: wanted no or yes, got 30 of 600 others"):
        examined(w0=_window({"Maybe": 30}), w1=clean)


class Loop:
    """The two parts of a loop that are looked at."""

    def __init__(self, source: Frames, use_case: UseCase) -> None:
        self.source, self.use_case = source, use_case


def test_after_a_class_was_added_production_is_not_scored_on_it(tmp_path: Path) -> None:
    """A version that tells two classes apart cannot be judged on three: the turn says so and asks
    for a training, instead of comparing columns of different classes."""
    past = make_past(tmp_path, {f"w{n}": make_frame(n) for n in range(4)}, delay=0, first=3)
    registry, first = MemoryRegistry("shop"), fit_first(past)
    registry.promote(registry.add(first, "w2"), instead_of=None, reason="installed")
    target = replace(past.use_case.target, classes=("no", "yes", "Maybe"))
    engine = open_engine("sqlite://")
    parts = ReplayParts(
        replace(past.use_case, target=target),
        past.as_of("w3"),
        Journal(engine),
        registry,
        past.compute,
    )
    entry = take_turn(History(parts, "w3"))
    engine.dispose()
    told = "it tells no, yes apart, and loop.toml has the classes no, yes, Maybe"
    assert told in " ".join(check.got for check in entry.decision.checks)
    assert entry.decision.action in (Action.RETRAIN, Action.KEEP)
