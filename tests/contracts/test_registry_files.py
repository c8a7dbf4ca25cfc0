"""What the registry promises about runs and model files, held against an embedded MLflow and a real
server."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from closedloop.bundle.files import model_digest
from closedloop.bundle.frames import score_frame
from closedloop.bundle.skops_model import SELF_TEST_TOLERANCE
from closedloop.errors import ModelError, RegistryError
from closedloop.registry.live import ProductionReader
from closedloop.registry.search_runs import SearchRuns
from tests.contracts.backends import FACTS, Backend, crashing, fit_pipeline, log, rows


def test_a_logged_model_comes_back_and_answers_alike(backend: Backend, folder: Path) -> None:
    """The bundle that another process loads repeats the answers of the fitted pipeline; its run
    shows metrics, data and files."""
    registry = backend.new()
    version = registry.register("a key", run := log(registry, folder), {"window": "month 1"})
    bundle = backend.open(registry.name).load(version)
    assert bundle.measure_self_test() <= SELF_TEST_TOLERANCE
    expected = fit_pipeline().predict_proba(rows(9))
    assert np.allclose(score_frame(bundle.scorer, rows(9)), expected, atol=1e-9)
    assert bundle.facts == FACTS
    assert len(bundle.reference()) == 30
    assert registry.read_file(version, "evidence.json") == "{}"
    shown = registry._client.get_run(run)
    assert (shown.info.status, shown.data.metrics, shown.data.params) == (
        "FINISHED",
        {"val_auc": 0.75},
        {"seed": "7"},
    )
    assert [
        (given.dataset.name, given.dataset.digest) for given in shown.inputs.dataset_inputs
    ] == [("month 1", ("ab" * 32)[:36])]
    assert run in registry.run_link(run, "http://127.0.0.1:5000")


def test_what_mlflow_notes_of_a_fit_lies_in_its_run(backend: Backend, tmp_path: Path) -> None:
    """Settings of every step, scores on training rows and plots join what is logged; whoever begins
    the run again fills the same one, and after the block nothing is noted any more."""
    name = backend.new().name
    runs = SearchRuns(name, backend.uri, artifacts=backend.home / "artifacts", tried=tmp_path)
    run = runs.begin("a trial", "trial 1", {"recipe": "lightgbm"}, {"w0": "a" * 64})
    with runs.observing(run):
        fit_pipeline()
    fit_pipeline()
    runs.end(run, metrics={"val_auc": 0.75})
    assert runs.begin("a trial", "trial 1", {"recipe": "lightgbm"}, {"w0": "a" * 64}) == run
    runs.end(run)
    [shown] = runs._client.search_runs([runs._experiment()])
    assert shown.info.status == "FINISHED"
    assert shown.data.params.items() >= {"recipe": "lightgbm", "model__num_leaves": "15"}.items()
    assert shown.data.metrics["val_auc"] == 0.75
    assert shown.data.metrics["training_roc_auc"] > 0.9
    files = {found.path for found in runs._client.list_artifacts(run)}
    assert {"estimator.html", "training_confusion_matrix.png"} <= files


def test_any_mlflow_client_can_use_production(
    backend: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`models:/NAME@production` is a model that plain pyfunc loads and asks, without a line of
    ours."""
    import mlflow.pyfunc

    registry = backend.new()
    version = registry.register("a key", log(registry, folder), {})
    registry.promote(version, instead_of=None, reason="first")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", backend.uri)
    answered = mlflow.pyfunc.load_model(f"models:/{registry.name}@production").predict(rows(9))
    assert np.allclose(answered, fit_pipeline().predict_proba(rows(9)), atol=1e-9)


def test_mlflow_reads_the_whole_numbers_of_a_csv_file(
    backend: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A column without a fraction is int64 to `pandas.read_csv`; it is a number like any other. A
    category stays a text."""
    import mlflow.pyfunc

    registry = backend.new()
    registry.register("a key", log(registry, folder), {})
    table = rows(9).assign(spend=lambda frame: frame["spend"].round())
    table.astype({"spend": "int64"}).to_csv(tmp_path / "shop.csv", index=False)
    given = pd.read_csv(tmp_path / "shop.csv")
    assert given["spend"].dtype == "int64"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", backend.uri)
    model = mlflow.pyfunc.load_model(f"models:/{registry.name}/1")
    assert np.allclose(model.predict(given), fit_pipeline().predict_proba(table), atol=1e-9)
    with pytest.raises(MlflowException, match="plan"):
        model.predict(given.assign(plan=1))


def find_model_file(backend: Backend, run: str) -> Path:
    (found,) = (path for path in backend.files.rglob("facts.json") if run in str(path))
    return found


def test_reading_production_with_mlflow_leaves_it_loadable(
    backend: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow notes `registered_model_meta` beside the model it loads from a local folder; that, and
    whatever else lies there, is ignored by every reader, and can be listed."""
    import mlflow.sklearn

    registry = backend.new()
    version = registry.register("a key", run := log(registry, folder), {})
    registry.promote(version, instead_of=None, reason="first")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", backend.uri)
    mlflow.sklearn.load_model(f"models:/{registry.name}@production")
    stored = find_model_file(backend, run)
    for name in ("registered_model_meta", ".DS_Store", "__pycache__/x.pyc"):
        (stored.parent / name).parent.mkdir(exist_ok=True)
        (stored.parent / name).write_text("by others", encoding="utf-8")
    assert registry.load(version).facts == FACTS
    reader = ProductionReader(
        registry.name,
        backend.uri,
        artifacts=backend.home / "artifacts",
        downloads=backend.home / registry.name,
    )
    served = reader.download(version)
    (served / "left.bak").touch()
    assert reader.download(version) == served
    reader.remember(version)
    assert reader.last_good() == version
    beside = registry.extra_files()
    if backend.files.is_relative_to(backend.home):  # what a server has beside them is not fetched
        assert {".DS_Store", "__pycache__/x.pyc", "registered_model_meta"} <= {*beside[version]}
    else:
        assert beside == {}


@pytest.mark.parametrize(
    ("harm", "got"),
    [
        (lambda path: path.write_bytes(path.read_bytes() + b" "), "facts.json changed"),
        (Path.unlink, "facts.json missing"),
        (lambda path: path.with_name("manifest.json").unlink(), r"sha256 \w{12}"),
    ],
)
def test_files_changed_after_registration_are_refused(
    backend: Backend, folder: Path, harm: Callable[[Path], object], got: str
) -> None:
    """A byte more or a registered file less in MLflow's store: the version is not loaded, and the
    file is named."""
    registry = backend.new()
    version = registry.register("a key", run := log(registry, folder), {})
    harm(find_model_file(backend, run))
    with pytest.raises(
        ModelError,
        match=rf"version 1: wanted files with sha256 \w{{12}}, got {got}: the files were changed",
    ):
        backend.open(registry.name).load(version)


def test_files_changed_before_registration_are_refused(backend: Backend, folder: Path) -> None:
    """The digest is that of what was logged, not of what lies in the store when the version is
    made."""
    registry = backend.new()
    run = log(registry, folder)
    find_model_file(backend, run).write_text("{}")
    with pytest.raises(ModelError, match="changed after registration"):
        registry.load(registry.register("a key", run, {}))


def test_a_version_that_somebody_else_registered_is_not_loaded(
    backend: Backend, folder: Path
) -> None:
    """Without the sha256 that we note at registration nothing is known of its files."""
    registry = backend.new()
    run = log(registry, folder)
    registry._client.create_registered_model(registry.name)
    source = f"{registry._client.get_run(run).info.artifact_uri}/model"
    registry._client.create_model_version(registry.name, source=source, run_id=run)
    assert registry.version(1).status == "unknown"
    with pytest.raises(RegistryError, match="whose sha256 was noted at registration"):
        registry.load(1)


def test_a_downloaded_bundle_is_kept_and_mended(server: Backend, folder: Path) -> None:
    """A bundle is downloaded once; a copy that was damaged or cut short is downloaded again."""
    registry = server.new()
    version = registry.register("a key", log(registry, folder), {})
    kept = registry.download(version)
    assert kept.is_relative_to(server.home)
    before = (kept / "facts.json").stat().st_ino
    assert registry.download(version) == kept
    assert (kept / "facts.json").stat().st_ino == before
    for harm in (
        lambda: (kept / "facts.json").write_text("{"),
        lambda: (kept / "stale").touch(),
        lambda: shutil.rmtree(kept),
    ):
        harm()
        assert registry.load(version).measure_self_test() <= SELF_TEST_TOLERANCE
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_two_may_download_the_same_version_at_once(server: Backend, folder: Path) -> None:
    """Neither reads what the other has half written."""
    registry = server.new()
    version = registry.register("a key", log(registry, folder), {})
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: server.open(registry.name).download(version), range(4)))
    assert {model_digest(downloaded) for downloaded in folders} == {model_digest(folder)}


@pytest.mark.parametrize(
    "key",
    ["shop/month_001/promotion/ab", "shop/it's spring/promotion/ab", 'shop/"quoted"/promotion/ab'],
)
def test_one_key_gives_one_run(backend: Backend, key: str) -> None:
    """Logging again under a key, whatever signs a window's name brings into it, returns the
    finished run unchanged."""
    registry = backend.new()
    run = log(registry, None, key)
    assert log(backend.open(registry.name), None, key, metrics={"val_auc": 0.1}) == run
    assert registry._client.get_run(run).data.metrics == {"val_auc": 0.75}


def test_logging_prints_nothing(backend: Backend, capfd: pytest.CaptureFixture[str]) -> None:
    """With a server MLflow's client would print the address of each run into the output that a
    program reads."""
    log(backend.new(), None)
    assert capfd.readouterr().out == ""


def test_a_run_and_a_version_after_a_crash_anywhere(backend: Backend, folder: Path) -> None:
    """For every call to MLflow while a model is logged and registered: the repeated command leaves
    one finished run and one version; what was half written is marked killed."""
    registry = backend.new()
    log(registry, None, "makes the experiment")
    killed = 0
    for calls in count():
        key = f"key {calls}"
        try:
            cut = crashing(backend, registry.name, calls)
            cut.register(key, log(cut, folder, key), {})
        except RegistryError:
            after = backend.open(registry.name)
            after.register(key, log(after, folder, key), {})
        else:
            break
        runs = [run.info.status for run in registry._runs(key)]
        assert runs.count("FINISHED") == 1
        assert set(runs) <= {"FINISHED", "KILLED"}
        killed += runs.count("KILLED")
    versions = registry.versions()
    assert [version.key for version in versions] == [f"key {number}" for number in range(calls + 1)]
    assert killed > 2
    assert calls > 8


def test_a_file_of_a_run_is_found_where_it_lies(embedded: Backend, server: Backend) -> None:
    """On this machine its path is known; behind a server it is not, and a file that was not logged
    is in neither."""
    for backend, known in ((embedded, True), (server, False)):
        registry = backend.new()
        run = log(registry, None)
        found = registry.local_file(run, "evidence.json")
        assert (found is not None) is known
        if found is not None:
            assert found.read_text() == "{}"
        assert registry.local_file(run, "nothing.html") is None


def test_files_of_a_finished_run_are_replaced_and_others_stay(
    backend: Backend, folder: Path
) -> None:
    """A card is written again when more is known; a file that is not there is told by its name."""
    registry = backend.new()
    run = log(registry, folder)
    for card in ("first", "second ä"):
        registry.put_files(run, {"card.md": card})
    names = ["card.md", "evidence.json", "nothing.html"]
    assert registry.read_run_files(run, names) == {"card.md": "second ä", "evidence.json": "{}"}
    assert registry._client.get_run(run).info.status == "FINISHED"
    with pytest.raises(RegistryError, match=r"wanted its file nothing.html, got no such file"):
        registry.read_run_file(run, "nothing.html")
