"""loop.toml: what is read, what is refused with which message, and the two built-in files."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from closedloop.decisions.policy import Policy
from closedloop.errors import UseCaseError
from closedloop.settings import DEFAULT_USE_CASE
from closedloop.use_case.loop_toml import load_use_case, parse_use_case
from closedloop.windows.contract_check import check_contract
from closedloop.windows.open_source import open_source
from closedloop.windows.prepare import prepare
from closedloop.windows.synthetic import generate_windows, write_generated

REPOSITORY = Path(__file__).parents[3]
BUILT_IN = [REPOSITORY / "data" / "streamflow", REPOSITORY / "data" / "iris"]
CONTENT: dict[str, Any] = {
    "name": "test",
    "source": {"query": "SELECT 1", "windows": "*"},
    "target": {"column": "y", "classes": ["a", "b"]},
    "columns": {"x": {"type": "numeric"}, "c": {"type": "categorical"}},
}


def changed(**parts: Any) -> dict[str, Any]:
    return {**copy.deepcopy(CONTENT), **parts}


def test_defaults_and_order() -> None:
    """Columns keep the order of the file; what is not written has the documented default."""
    use_case = parse_use_case(CONTENT, Path("loop.toml"))
    assert list(use_case.columns) == ["x", "c"]
    assert (use_case.numeric, use_case.categorical) == (("x",), ("c",))
    assert use_case.policy == Policy()
    assert use_case.labels.delay_windows == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(polisy={}), "polisy: did you mean policy?"),
        (
            changed(policy={"promotion": {"min_row": 5}}),
            "policy.promotion.min_row: did you mean min_rows?",
        ),
        (
            changed(columns={"x": {"type": "numeric", "minimun": 0}}),
            "columns.x.minimun: did you mean minimum?",
        ),
        (
            changed(slices=[{"name": "s", "column": "c", "value": ["k"]}]),
            "slices[0].value: did you mean values?",
        ),
        (
            changed(policy={"promotion": {"measure": "cost"}}),
            "cost must have a row and a column for each class",
        ),
        (
            changed(policy={"promotion": {"cost": [[0, 1, 1], [5, 0, 1], [1, 1, 0]]}}),
            "a row and a column for each of 2 classes, 3 rows",
        ),
        (
            changed(policy={"promotion": {"cost": [[0, 1], [5, 6]]}}),
            "cost must be least for the right answer",
        ),
        (changed(policy={"promotion": {"min_delta": 5}}), "promotion.min_delta must be between"),
        (
            changed(
                policy={"promotion": {"measure": "cost", "cost": [[0, 1], [5, 0]]}},
                decision={"threshold": 0.3},
            ),
            'decision: wanted none with measure = "cost"',
        ),
        (changed(decision={"choose": "cost"}), "decision.choose: wanted cost under"),
        (changed(decision={"choose": "f1", "threshold": 0.2}), "exclude each other"),
        (changed(decision={"threshold": 1}), "threshold must be between 0 and 1"),
        (
            changed(
                decision={"threshold": 0.3}, target={"column": "y", "classes": ["a", "b", "c"]}
            ),
            "decision: wanted two classes",
        ),
        (changed(policy={"promotion": {"measure": "auc"}}), "policy.promotion.measure"),
        (changed(columns={"x": {"type": "numerical"}}), "columns.x.type"),
        (
            changed(columns={"x": {"type": "numeric", "allowed": ["k"]}}),
            "allowed is for categorical columns",
        ),
        (
            changed(columns={"x": {"type": "categorical", "minimum": 0}}),
            "minimum and maximum are for numeric columns",
        ),
        (
            changed(columns={"x": {"type": "numeric", "minimum": 2, "maximum": 2}}),
            "minimum must be below maximum",
        ),
        (
            changed(columns={"x": {"type": "numeric", "max_null_rate": 1.5}}),
            "max_null_rate must be between 0 and 1",
        ),
        (changed(columns={}), "at least one feature column"),
        (
            changed(columns={"y": {"type": "categorical"}}),
            "the target or the key among the features",
        ),
        (changed(key="x"), "the target or the key among the features"),
        (changed(target={"column": "y", "classes": ["a"]}), "at least two different classes"),
        (changed(target={"column": "y", "classes": ["a", "a"]}), "at least two different classes"),
        (changed(name="a/b"), "letters, digits, - and _ only"),
        (changed(source={"query": "q"}), "exactly one of windows and windows_query"),
        (
            changed(source={"query": "q", "windows": "*", "windows_query": "q"}),
            "exactly one of windows and windows_query",
        ),
        (
            changed(source={"query": "q", "windows": "*", "kind": "sql"}),
            "a sql source needs url and windows_query",
        ),
        (changed(slices=[{"name": "s", "column": "cc", "values": ["k"]}]), "did you mean c?"),
        (
            changed(slices=[{"name": "s", "column": "x", "values": ["k"]}]),
            "minimum/maximum for a numeric one",
        ),
        (changed(slices=[{"name": "s", "column": "c"}]), "needs either values or minimum/maximum"),
        (changed(training={"recipes": []}), "must each name at least one"),
        (changed(training={"recipes": ["forest"]}), "did you mean random_forest?"),
        (changed(labels={"delay_windows": -1}), "delay_windows must not be negative"),
        (
            changed(schedule={"cron": "61 * * * *"}),
            "loop.toml: schedule: wanted cron's minute must be between 0 and 59",
        ),
        (
            changed(
                schedule={"source": "records"},
                columns={**CONTENT["columns"], "plan": {"type": "categorical", "record": False}},
            ),
            'schedule.source: wanted "windows", because records lack a column that models need, '
            '"records" and record = false of plan',
        ),
        (changed(schedule={"timezone": "Berlin"}), "timezone must be an IANA name"),
        (changed(schedule={"crom": "0 6 * * *"}), "schedule.crom: did you mean cron?"),
        (
            changed(policy={"retraining": {"max_drift_share": 3}}),
            "max_drift_share must be between 0 and 1",
        ),
        ({"name": "test"}, "source"),
    ],
)
def test_an_invalid_file_is_refused(content: dict[str, Any], message: str) -> None:
    """A mistyped key or an invalid value is never ignored; the message names the place and what to
    do."""
    with pytest.raises(UseCaseError) as caught:
        parse_use_case(content, Path("loop.toml"))
    assert message in str(caught.value).replace("got ", "")
    assert caught.value.exit_code == 2


def test_unreadable_files(tmp_path: Path) -> None:
    """The error for a missing file says how to write one; for a damaged file it names the line."""
    with pytest.raises(UseCaseError, match="closedloop init"):
        load_use_case(tmp_path)
    (tmp_path / "loop.toml").write_text("name = \n")
    with pytest.raises(UseCaseError, match="line 1"):
        load_use_case(tmp_path / "loop.toml")
    (tmp_path / "loop.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(UseCaseError, match="a TOML file"):
        load_use_case(tmp_path)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("nonsense", "a JSON list of golden cases"),
        ([{"name": "g", "row": {"x": 1}, "label": "a"}], "missing"),
        ([{"name": "g", "row": {"x": 1, "c": "k", "z": 1}, "label": "a"}], "unknown"),
        ([{"name": "g", "row": {"x": 1, "c": "k"}, "label": "q"}], "label 'q'"),
    ],
)
def test_golden_cases_are_checked(tmp_path: Path, case: Any, message: str) -> None:
    """A golden case must give every feature, nothing else, and a label that exists."""
    (tmp_path / "golden.json").write_text(case if isinstance(case, str) else json.dumps(case))
    with pytest.raises(UseCaseError, match=message):
        parse_use_case(changed(golden="golden.json"), tmp_path / "loop.toml")


def test_the_fingerprint_follows_what_decides(tmp_path: Path) -> None:
    """Any number of policy, contract or training changes it; a description, another path to the
    same data, another schedule or what people say does not."""
    fingerprint = parse_use_case(CONTENT, Path("loop.toml")).fingerprint
    same = [
        changed(description="other"),
        changed(schedule={"cron": "0 7 * * *", "timezone": "Europe/Berlin"}),
        changed(card={"intended_use": "calls", "limits": "prices", "contact": "a@example.org"}),
        changed(source={"query": "SELECT 1", "windows": "*", "root": "elsewhere"}),
    ]
    other = [
        changed(policy={"promotion": {"min_rows": 499}}),
        changed(columns={"x": {"type": "numeric", "maximum": 9}}),
        changed(training={"seed": 8}),
        changed(source={"query": "SELECT 2", "windows": "*"}),
        changed(group="customer"),
    ]
    assert {parse_use_case(content, tmp_path / "loop.toml").fingerprint for content in same} == {
        fingerprint
    }
    assert (
        len(
            {parse_use_case(content, Path("loop.toml")).fingerprint for content in other}
            | {fingerprint}
        )
        == 6
    )


def test_a_file_that_kubernetes_mounts_keeps_its_name(tmp_path: Path) -> None:
    """The path of a use case outlives the folder that its link leads to when Kubernetes mounts it;
    any other link is followed, as ever."""
    (tmp_path / "..2026_11_29_09_30").mkdir()
    (tmp_path / "..2026_11_29_09_30" / "loop.toml").touch()
    (tmp_path / "..data").symlink_to("..2026_11_29_09_30")
    (tmp_path / "loop.toml").symlink_to("..data/loop.toml")
    assert parse_use_case(CONTENT, tmp_path / "loop.toml").path == tmp_path / "loop.toml"
    (tmp_path / "link").symlink_to(REPOSITORY / "data" / "iris")
    assert load_use_case(tmp_path / "link").path == REPOSITORY / "data" / "iris" / "loop.toml"


def test_the_default_use_case_is_streamflow() -> None:
    """The use case that runs by default exists."""
    assert load_use_case(REPOSITORY / DEFAULT_USE_CASE).name == "streamflow"


@pytest.mark.parametrize("folder", BUILT_IN, ids=lambda folder: folder.name)
def test_built_in_files_write_out_every_policy_number(folder: Path) -> None:
    """A newcomer finds each number that decides in the file, not in the code."""
    use_case = load_use_case(folder)
    assert {part: set(numbers) for part, numbers in use_case.content["policy"].items()} == {
        part: set(numbers) for part, numbers in asdict(Policy()).items()
    }
    assert set(use_case.content["training"]) == set(asdict(use_case.training))
    assert set(use_case.content["schedule"]) == set(asdict(use_case.schedule))
    assert set(use_case.content["card"]) == set(asdict(use_case.card))
    assert use_case.golden


@pytest.mark.parametrize("folder", BUILT_IN, ids=lambda folder: folder.name)
def test_built_in_data_keeps_its_contract(tmp_path: Path, folder: Path) -> None:
    """Generated, read and checked: all windows have all labels, and only month 5 is broken, in two
    columns."""
    use_case = load_use_case(folder)
    assert use_case.source.generator is not None
    written = write_generated(use_case, tmp_path, generate_windows(use_case.source.generator))
    source = open_source(use_case, tmp_path)
    assert source.windows() == written
    for window in written:
        raw = source.read(window)
        prepared = prepare(raw, use_case)
        broken = {found.column for found in check_contract(raw, prepared, use_case)}
        assert broken == (
            {"monthly_fee", "failed_payments_90d"} if window == "month_005" else set()
        )
        assert set(prepared[use_case.target.column]) == set(use_case.target.classes)


def test_golden_rows_are_within_the_contract() -> None:
    """A golden case that breaks the contract would prove nothing about rows that do not."""
    import pandas as pd

    for folder in BUILT_IN:
        use_case = load_use_case(folder)
        for case in use_case.golden:
            raw = pd.DataFrame([case.row])
            found = check_contract(raw, prepare(raw, use_case), use_case)
            assert {broken.rule for broken in found} <= {"null", "missing"}, case.name


def test_real_snapshots_keep_the_streamflow_contract() -> None:
    """Two real monthly snapshots pass the contract that was written for the generated months."""
    shared = Path(os.path.relpath(REPOSITORY.parent / "shared" / "data" / "streamflow"))
    if not shared.is_dir():
        pytest.skip(
            "the real snapshots are not on this machine: "
            "wanted ../shared/data/streamflow beside the repository"
        )
    use_case = load_use_case(REPOSITORY / "data" / "streamflow")
    source = open_source(use_case, shared)
    assert source.windows() == ("month_000", "month_001")
    for window in source.windows():
        raw = source.read(window)
        assert len(raw) == 7043
        assert check_contract(raw, prepare(raw, use_case), use_case) == ()
