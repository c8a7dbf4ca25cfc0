"""Faults put in on purpose: each changes what its name says, nothing else, and the same way every
time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.backtest.faults import FAULTS, applicable, inject
from closedloop.errors import SourceError, UseCaseError
from closedloop.use_case.contract import UseCase
from closedloop.use_case.loop_toml import load_use_case, parse_use_case
from closedloop.windows.contract_check import check_contract, measure_statistics
from closedloop.windows.prepare import prepare

CONTENT: dict[str, Any] = {
    "name": "test",
    "key": "id",
    "source": {"query": "SELECT 1", "windows": "*"},
    "target": {"column": "label", "classes": ["no", "maybe", "yes"]},
    "columns": {
        "fee": {"type": "numeric"},
        "visits": {"type": "numeric"},
        "fixed": {"type": "numeric"},
        "plan": {"type": "categorical"},
    },
}
ROWS = 200


def three_classes() -> UseCase:
    return parse_use_case(CONTENT, Path("loop.toml"))


def two_classes() -> UseCase:
    return parse_use_case(
        {**CONTENT, "target": {"column": "label", "classes": ["no", "yes"]}}, Path("loop.toml")
    )


def no_numbers() -> UseCase:
    return parse_use_case(
        {**CONTENT, "columns": {"plan": {"type": "categorical"}}}, Path("loop.toml")
    )


def window(classes: tuple[str, ...] = ("no", "maybe", "yes")) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"u{number}" for number in range(ROWS)],
            "fee": rng.normal(60, 20, ROWS).astype(np.float32),
            "visits": rng.integers(0, 100, ROWS).astype(np.int8),
            "fixed": 7,
            "plan": rng.choice(["one", "two"], ROWS),
            "note": "not a feature",
            "label": rng.choice(classes, ROWS),
        },
        index=range(1000, 1000 + ROWS),
    )
    frame.loc[1010:1019, "label"] = None
    return frame


def changed(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    return [name for name in before if not before[name].equals(after[name])]


def labels_of(frame: pd.DataFrame) -> list[Any]:
    return frame["label"].astype(object).where(frame["label"].notna(), None).tolist()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_the_same_every_time_and_leaves_its_input_alone(fault: str) -> None:
    """The same seed gives the same frame, which is not the given one; the given one, its columns
    and its index stay as they were."""
    given, untouched = window(), window()
    after = inject(given, fault, three_classes(), seed=3)
    pd.testing.assert_frame_equal(given, untouched)
    pd.testing.assert_frame_equal(after, inject(given, fault, three_classes(), seed=3))
    assert not after.equals(given)
    assert list(after.columns) == list(given.columns)
    assert after.index.equals(given.index[: len(after)])


@pytest.mark.parametrize("fault", ["labels_flipped", "rows_repeated", "column_shifted"])
def test_another_seed_is_another_draw(fault: str) -> None:
    """Where chance chooses, it is the seed's."""
    drawn = {
        str(inject(window(), fault, three_classes(), seed).values.tolist()) for seed in range(5)
    }
    assert len(drawn) > 1


@pytest.mark.parametrize(
    "use_case", [two_classes(), three_classes()], ids=["two classes", "three classes"]
)
def test_flipped_labels_are_40_percent_and_each_another_class(use_case: UseCase) -> None:
    """Exactly 40 % of the given labels say another class, every other class comes up, nulls stay
    null, no other column moves."""
    before = window(use_case.target.classes)
    after = inject(before, "labels_flipped", use_case, seed=1)
    pairs = zip(labels_of(before), labels_of(after), strict=True)
    moved = [(old, new) for old, new in pairs if old != new]
    assert changed(before, after) == ["label"]
    assert len(moved) == round(0.4 * (ROWS - 10))
    classes = use_case.target.classes
    assert set(moved) == {(old, new) for old in classes for new in classes if old != new}


def test_two_classes_are_swapped_and_more_are_rotated() -> None:
    """Every label becomes the next class; a null stays one."""
    before = window()
    after = inject(before, "classes_swapped", three_classes(), seed=1)
    turned = {"no": "maybe", "maybe": "yes", "yes": "no", None: None}
    assert labels_of(after) == [turned[label] for label in labels_of(before)]
    two, other = window(("no", "yes")), {"no": "yes", "yes": "no", None: None}
    swapped = inject(two, "classes_swapped", two_classes(), seed=1)
    assert labels_of(swapped) == [other[label] for label in labels_of(two)]
    assert changed(before, after) == ["label"]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([True, False, True], ("False", "True")),
        ([0, 1, 0], ("0", "1")),
        ([" YES", "No ", " YES"], ("no", "yes")),
        ([1, 1, 1], ("0", "1")),
        ([True, True, True], ("False", "True")),
        (["yes", "yes", "yes"], ("no", "yes")),
    ],
)
def test_labels_keep_their_kind(labels: list[Any], classes: tuple[str, ...]) -> None:
    """Bools, numbers and odd spellings are read as the contract reads them, and stay what they are,
    when a class is absent too."""
    use_case = parse_use_case(
        {**CONTENT, "target": {"column": "label", "classes": list(classes)}}, Path("loop.toml")
    )
    before = window().head(3).assign(label=labels)
    after = inject(before, "classes_swapped", use_case, seed=0)
    assert after["label"].dtype == before["label"].dtype
    old, new = (prepare(frame, use_case)["label"].tolist() for frame in (before, after))
    assert new == [classes[1 - classes.index(label)] for label in old]


@pytest.mark.parametrize(
    ("fault", "factor", "offset"),
    [("unit_thousandfold", 1000, 0), ("unit_inches", 2.54, 0), ("unit_fahrenheit", 1.8, 32)],
)
def test_the_unit_of_the_widest_number_changes(fault: str, factor: float, offset: float) -> None:
    """The numeric feature with the largest spread is converted, in its dtype unless that is too
    small; nothing else moves."""
    before = window()
    after = inject(before, fault, three_classes(), seed=0)
    assert before["visits"].std() > before["fee"].std()
    assert changed(before, after) == ["visits"]
    np.testing.assert_allclose(after["visits"], before["visits"].astype(float) * factor + offset)
    floats = before.drop(columns="visits")
    assert inject(floats, fault, three_classes(), seed=0)["fee"].dtype == np.float32


def test_a_thousandfold_of_text_is_text() -> None:
    """A window that came as text stays text, and the contract, which reads numbers from it, sees
    the other unit and no other fault."""
    before = window().drop(columns="visits")
    before["fee"] = before["fee"].astype(str)
    use_case = three_classes()
    after = inject(before, "unit_thousandfold", use_case, seed=0)
    assert after["fee"].dtype == before["fee"].dtype
    statistics = measure_statistics(prepare(before, use_case), use_case)
    broken = {
        violation.column: violation.rule
        for violation in check_contract(after, prepare(after, use_case), use_case, statistics)
    }
    assert broken == {"fee": "unit", "visits": "missing"}


def test_repeated_rows_lie_over_the_other_half() -> None:
    """The window has as many rows as before, half of them distinct, each whole and one of the given
    ones."""
    before = window()
    after = inject(before, "rows_repeated", three_classes(), seed=2)
    assert len(after) == ROWS
    assert after["id"].nunique() == ROWS // 2
    assert set(after["id"].value_counts()) == {2}
    pd.testing.assert_frame_equal(
        after.reset_index(drop=True),
        before.set_index("id", drop=False).loc[after["id"]].reset_index(drop=True),
    )


def test_an_empty_column_is_null_in_every_row() -> None:
    """One feature is null throughout, each feature has its turn, and neither key, label nor other
    columns do."""
    before = window()
    hit = set()
    for seed in range(20):
        after = inject(before, "column_empty", three_classes(), seed)
        (name,) = changed(before, after)
        assert after[name].isna().all()
        hit.add(name)
    assert hit == set(CONTENT["columns"])


def test_a_truncated_window_is_its_first_tenth() -> None:
    """10 % of the rows remain, in order and unchanged; of a handful, one."""
    before = window()
    pd.testing.assert_frame_equal(
        inject(before, "window_truncated", three_classes(), seed=0), before.head(ROWS // 10)
    )
    assert len(inject(before.head(3), "window_truncated", three_classes(), seed=0)) == 1


def test_a_stuck_sensor_repeats_its_last_value() -> None:
    """One numeric feature that varied has the last value that it had, not a null, in every row; its
    dtype stays."""
    before = window()
    before.loc[before.index[-5:], "fee"] = None
    hit = set()
    for seed in range(20):
        after = inject(before, "sensor_stuck", three_classes(), seed)
        (name,) = changed(before, after)
        assert after[name].tolist() == [before[name].dropna().iloc[-1]] * ROWS
        assert after[name].dtype == before[name].dtype
        hit.add(name)
    assert hit == {"fee", "visits"}


def test_a_shifted_column_is_one_row_late() -> None:
    """Each row has the value of the row before it in one feature that varies, with the last value
    first; its dtype stays."""
    before = window()
    hit = set()
    for seed in range(30):
        after = inject(before, "column_shifted", three_classes(), seed)
        (name,) = changed(before, after)
        assert after[name].tolist() == np.roll(before[name].to_numpy(), 1).tolist()
        assert after[name].dtype == before[name].dtype
        hit.add(name)
    assert hit == {"fee", "visits", "plan"}


def test_a_use_case_without_numbers_has_fewer_faults() -> None:
    """`applicable` leaves out what needs a number, keeps the order, and `inject` refuses it by
    name."""
    assert applicable(three_classes()) == tuple(FAULTS)
    assert applicable(no_numbers()) == (
        "labels_flipped",
        "classes_swapped",
        "rows_repeated",
        "column_empty",
        "window_truncated",
        "column_shifted",
    )
    refusal = "sensor_stuck: wanted a numeric feature, got none in test: choose one of labels_flip"
    with pytest.raises(UseCaseError, match=refusal):
        inject(window(), "sensor_stuck", no_numbers(), seed=0)


def test_an_unknown_fault_is_refused_with_the_known_ones() -> None:
    """The message lists every fault and the nearest one."""
    with pytest.raises(UseCaseError, match="did you mean labels_flipped") as refused:
        inject(window(), "label_flipped", three_classes(), seed=0)
    assert all(name in str(refused.value) for name in FAULTS)


@pytest.mark.parametrize(
    ("fault", "frame"),
    [
        ("labels_flipped", window().drop(columns="label")),
        ("classes_swapped", window().assign(label=None)),
        ("unit_inches", window().assign(fee=1.0, visits=2)),
        ("sensor_stuck", window().drop(columns=["fee", "visits"])),
        ("column_shifted", window().assign(fee=1.0, visits=2, plan="one")),
        ("column_empty", window().assign(fee=None, visits=None, fixed=None, plan=None)),
        ("window_truncated", window().head(1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_window_that_a_fault_cannot_change_is_refused(fault: str, frame: pd.DataFrame) -> None:
    """Without labels, without a column that varies, or with one row there is an error, never a
    window that only looks faulty."""
    with pytest.raises(SourceError):
        inject(frame, fault, three_classes(), seed=0)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_built_in_use_case_takes_every_fault(fault: str) -> None:
    """iris, as its loop.toml reads it (all text), takes every fault and can still be prepared."""
    from closedloop.windows.synthetic import iris_windows

    use_case = load_use_case(Path(__file__).parents[3] / "data" / "iris")
    before = iris_windows()["window_0"].astype(str)
    after = prepare(inject(before, fault, use_case, seed=0), use_case)
    assert not after.equals(prepare(before, use_case))
