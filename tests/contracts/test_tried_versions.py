"""What a service and a command do with versions that could end them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from closedloop.bundle import trial
from closedloop.cli.service import build_service
from closedloop.errors import ModelError
from closedloop.registry.registry import Registry
from closedloop.settings import Settings
from closedloop.use_case.loop_toml import parse_use_case
from tests.contracts.backends import CONTENT, Backend, log
from tests.contracts.test_production_reading import promoted, read


def test_a_version_that_was_made_elsewhere_is_tried_by_whoever_loads_it(
    embedded: Backend, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn, `doctor`, `predict` and the service try it first, in a process of its own, and go on
    when that fails. Where it was made, nobody does."""
    registry = promoted(embedded, folder)
    refusal = ModelError(where="trial", wanted="answers", got="none", then="do not serve it")

    def fail(_folder: Path, _what: str) -> None:
        raise refusal

    monkeypatch.setattr(trial, "_try", fail)
    assert registry.load(1).facts == registry.load_proved(1).facts
    loop_toml = {**CONTENT, "name": registry.name}
    settings = Settings(home=tmp_path / "home", mlflow_url=embedded.uri, follow_seconds=3600)
    elsewhere = Registry(
        registry.name,
        embedded.uri,
        artifacts=embedded.home / "artifacts",
        downloads=tmp_path,
        tried=settings.tried_folder,
    )
    for load in (elsewhere.load, elsewhere.load_proved):
        with pytest.raises(ModelError, match="trial: wanted answers"):
            load(1)
    use_case = parse_use_case(loop_toml, tmp_path / "loop.toml")
    with TestClient(build_service(use_case, settings, "127.0.0.1", "here", "now")) as client:
        assert "trial: wanted answers" in client.get("/ready").json()["reason"]


def test_a_version_that_ends_its_processes_is_left_out_while_there_is_another(
    embedded: Backend, folder: Path, tmp_path: Path
) -> None:
    """The one before it is then the last good one. Without one before, or when that has ended its
    processes too, nothing is left out; after an hour nothing is."""
    registry = promoted(embedded, folder)
    reader = read(embedded, registry, tmp_path)
    assert not reader.leave_out("nothing answers yet")
    reader.download(1)
    reader.remember(1)
    assert not reader.leave_out("there is no other")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "facts.json").write_text((folder / "facts.json").read_text() + "\n")
    registry.register("key 2", log(registry, other, "key 2"), {"window": "w8"})
    reader.download(2)
    reader.remember(2)
    assert reader.last_good() == 2
    assert reader.leave_out("3 processes ended")
    again = read(embedded, registry, tmp_path)
    assert again.last_good() == 1
    with pytest.raises(ModelError, match="3 processes ended"):
        again.download(2)
    again.download(1)
    again.remember(1)
    assert not again.leave_out("this one, too")
    assert again.last_good() == 1
    note = tmp_path / registry.name / "left_out.json"
    long_ago = note.stat().st_mtime - 3601
    os.utime(note, (long_ago, long_ago))
    again.download(2)
