"""`closedloop monitor --all` as it is typed: a folder of months, one of them empty."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from closedloop.settings import Settings
from tests.e2e.newcomer import MONTHS, closedloop, customers

pytestmark = pytest.mark.slow


@pytest.fixture
def months(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A use case whose second month is a file of no bytes."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    rows = customers()
    for month in MONTHS:
        chosen = rows[rows["month"] == month].drop(columns=["month"])
        chosen.to_csv(tmp_path / f"{month}.csv", index=False)
    monkeypatch.setenv("CLOSEDLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLOSEDLOOP_USE_CASE", "loop.toml")
    assert closedloop("init", "2026-01.csv", "--target", "left").code == 0
    text = Path("loop.toml").read_text(encoding="utf-8")
    Path("loop.toml").write_text(text.replace("2026-01.csv", "2026-*.csv"), encoding="utf-8")
    Path("2026-02.csv").write_bytes(b"")
    os.environ.update(Settings().library_environment())
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.nightly
def test_all_months_are_looked_at_in_one_command(months: Path) -> None:
    """The first month makes the first model, the empty one escalates, the third is kept; what
    was looked at is not looked at again, and --from begins later."""
    from flows.deployment.embedded_server import embedded_prefect, using

    with embedded_prefect(months) as server, using(server):
        third = closedloop("monitor", "--from", "2026-02", "--json").json
        assert [turn["window"] for turn in third["turns"]] == ["2026-02", "2026-03"]
        assert [turn["action"] for turn in third["turns"]] == ["escalate", "retrain"]
        told = closedloop("monitor", "--all")
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines()[0].startswith("2026-01  keep: ")
    assert told.out.splitlines()[1:] == ["looked at 1 window: 1 keep; 2 windows looked at before"]
