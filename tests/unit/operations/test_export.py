"""`closedloop export`: a folder that answers as the API does, in a process without closedloop."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest

from api.model.answer import LoadedModel
from closedloop.bundle.frames import score_frame
from closedloop.cli.app import main
from closedloop.errors import RegistryError, UseCaseError
from closedloop.operations.export import _describe_facts, export_version
from closedloop.turn.open import Loop
from closedloop.windows.prepare import prepare
from tests.turned_loop import write_loop

pytestmark = pytest.mark.slow

# Values that the API takes: null, unseen, booleans, other spellings, an optional column left out.
ROWS: list[dict[str, Any]] = [
    {"spend": 12.5, "plan": "gold", "active": True, "visits": 2},
    {"spend": None, "plan": None, "active": None, "visits": None},
    {"spend": 80, "plan": "never seen", "active": False, "visits": 0.5},
    {"spend": "1,234.50", "plan": " GOLD ", "active": "True", "visits": 1},
    {"spend": -1e30, "plan": "n/a", "active": 1.0},
    {"spend": 3, "plan": "", "active": "Ünïcode", "visits": 7},
]


def make_loop(folder: Path, make_mlflow_tables: Callable[[Path], None], difference: float) -> Loop:
    """A loop with one version, which is served by ONNX when its proof allows a difference."""
    turned = write_loop(folder, 2, recipe="lightgbm", history="all", difference=difference)
    with (folder / "loop.toml").open("a", encoding="utf-8") as file:
        file.write("[decision]\nthreshold = 0.03\n")
    make_mlflow_tables(folder / "home")
    turned.train("2026-02")
    return turned.open()


@pytest.fixture(scope="module")
def loop(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> Loop:
    """ONNX answers."""
    return make_loop(tmp_path_factory.mktemp("shop"), make_mlflow_tables, 1e-5)


@pytest.fixture(scope="module")
def pipeline_loop(
    tmp_path_factory: pytest.TempPathFactory, make_mlflow_tables: Callable[[Path], None]
) -> Loop:
    """The pipeline answers."""
    return make_loop(tmp_path_factory.mktemp("shop"), make_mlflow_tables, 0.0)


# Every row given to one process, which then imports its libraries once.
RUN = """
import json, runpy, sys
path, *rows = sys.argv[1:]
sys.path.insert(0, path.removesuffix("score.py"))
for row in rows:
    sys.argv = [path, row]
    runpy.run_path(path, run_name="__main__")
"""


def score(
    folder: Path, rows: list[Any], tmp_path: Path, *, on_stdin: bool = False
) -> list[dict[str, Any]]:
    """What score.py prints in a process where closedloop cannot be imported."""
    stub = tmp_path / "stub"
    stub.mkdir(exist_ok=True)
    (stub / "closedloop.py").write_text("raise ImportError('closedloop is not here')")
    script, texts = str(folder / "score.py"), [json.dumps(row) for row in rows]
    command = [script] if on_stdin else ["-c", RUN, script, *texts]
    done = subprocess.run(
        [sys.executable, *command],
        input=texts[0] if on_stdin else "",
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(stub)},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("served_by", ["onnx", "pipeline"])
def test_the_folder_scores_as_the_api_does_without_closedloop(
    request: pytest.FixtureRequest, tmp_path: Path, served_by: str
) -> None:
    """The same probabilities, to the last digit, for nulls, unseen categories, booleans and other
    spellings; the folder's name has blanks, and no row of a customer is in it."""
    loop: Loop = request.getfixturevalue("loop" if served_by == "onnx" else "pipeline_loop")
    out = tmp_path / "a model of ours" / "version 1"
    loaded = export_version(loop, 1, out)
    assert loaded.scorer.served_by == served_by
    model = LoadedModel(1, loaded, datetime.now(UTC))
    answered = model.answer(model.reader.read(json.dumps({"rows": ROWS}).encode(), 100))
    assert len({*zip(*answered.shares, strict=True)}) > 3
    scored = score(out, ROWS, tmp_path)
    assert [[*found["probabilities"].values()] for found in scored] == [
        list(row) for row in zip(*answered.shares, strict=True)
    ]
    assert {tuple(found["probabilities"]) for found in scored} == {("no", "yes")}
    likeliest = [max(found["probabilities"], key=found["probabilities"].get) for found in scored]
    assert [found["prediction"] for found in scored] != likeliest
    assert [found["prediction"] for found in scored] == [
        ["no", "yes"][best] for best in answered.best
    ]
    names = {path.name for path in out.rglob("*") if path.is_file()}
    assert names >= {"score.py", "contract.json", "facts.json", "requirements.txt", "MLmodel"}
    assert ("model.onnx" in names) == (served_by == "onnx")
    assert not names & {"reference.parquet", "self_test.json"}
    pinned = (out / "requirements.txt").read_text().split()
    assert all("==" in line for line in pinned)
    assert ("onnxruntime" in {line.partition("==")[0] for line in pinned}) == (served_by == "onnx")


def test_mlflow_loads_what_was_exported(pipeline_loop: Loop, tmp_path: Path) -> None:
    """`model/` is a model in MLflow's format that gives the pipeline's probabilities."""
    export_version(pipeline_loop, 1, tmp_path / "out")
    rows = prepare(pd.DataFrame(ROWS), pipeline_loop.use_case)
    exported = mlflow.pyfunc.load_model(str(tmp_path / "out" / "model"))
    expected = score_frame(pipeline_loop.registry.load(1).scorer, rows)
    assert exported.predict(rows).tolist() == expected.tolist()


def test_the_script_reads_stdin_and_names_a_missing_column(loop: Loop, tmp_path: Path) -> None:
    """A row on stdin is scored as one that is an argument; without a column that is not optional
    it gets no score, as from the API."""
    export_version(loop, 1, tmp_path / "out")
    [first] = score(tmp_path / "out", ROWS[:1], tmp_path, on_stdin=True)
    assert [first] == score(tmp_path / "out", ROWS[:1], tmp_path)
    with pytest.raises(AssertionError, match="for every column, got none for plan, active"):
        score(tmp_path / "out", [{"spend": 1}], tmp_path)


@pytest.mark.parametrize("kept", ["folder", "file"])
def test_nothing_is_written_over(loop: Loop, tmp_path: Path, kept: str) -> None:
    """A folder that holds something, or a file, stays as it is; an empty folder is filled."""
    out, held = tmp_path / "out", tmp_path / "out" / "kept.txt"
    (out.mkdir(), held.write_text("mine")) if kept == "folder" else out.write_text("mine")
    with pytest.raises(UseCaseError, match="wanted a folder that is new or empty"):
        export_version(loop, 1, out)
    assert (held if kept == "folder" else out).read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]
    (tmp_path / "empty").mkdir()
    export_version(loop, 1, tmp_path / "empty")
    assert (tmp_path / "empty" / "score.py").exists()


def test_an_unknown_version_is_named(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says which versions there are, and writes nothing."""
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(loop.settings.home))
    given = ["export", "7", str(tmp_path / "out"), "--use-case", str(loop.use_case.path)]
    assert main(given, dict(os.environ)) == RegistryError.exit_code
    assert "wanted version 7, got versions 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_address_of_a_database_leaves_with_the_facts(loop: Loop, tmp_path: Path) -> None:
    """It may hold a password; everything else that is known of the version is there."""
    facts = export_version(loop, 1, tmp_path / "out").facts
    written = json.loads((tmp_path / "out" / "facts.json").read_text())
    assert written == json.loads(json.dumps(asdict(facts)))
    source = {"kind": "sql", "url": "postgresql://us:secret@db/shop"}
    shown = _describe_facts(replace(facts, use_case={**facts.use_case, "source": source}))
    assert shown["use_case"]["source"] == {"kind": "sql"}
    assert source["url"]


def test_an_export_that_fails_leaves_nothing(loop: Loop, tmp_path: Path) -> None:
    """A file that cannot be written, in the middle of copying: no half of a folder is left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    loop.registry.load_proved(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with pytest.raises(UseCaseError, match="got File too large"):
            export_version(loop, 1, tmp_path / "deep" / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_pruned_version_is_refused(loop: Loop, tmp_path: Path) -> None:
    """The last test of this loop: its files are deleted."""
    if "production" in loop.registry.version(1).aliases:
        loop.registry._client.delete_registered_model_alias("shop", "production")
    loop.registry.prune(1)
    with pytest.raises(RegistryError, match="its files were pruned"):
        export_version(loop, 1, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
