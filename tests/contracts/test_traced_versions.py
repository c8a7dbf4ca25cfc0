"""From a production version back to the decision that promoted it and to the rows it has learnt
from, by its tags in MLflow alone: embedded on SQLite, and through a real server over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from closedloop.decisions.checks import Action, Kind
from closedloop.turn.origin import describe_platform
from closedloop.windows.prepare import digest, prepare
from tests.turned_loop import write_loop


@pytest.mark.parametrize("where", ["embedded", "server"])
def test_tags_lead_from_production_to_its_decision_and_its_rows(
    where: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_mlflow_tables: Callable[[Path], None],
) -> None:
    """Every window that the tags name has, read again, the digest of the tags; the decision is the
    one that promoted this version; recipe, seed, contract and revision are those of the
    training."""
    turned = write_loop(tmp_path / "shop", 2)
    if where == "server":
        turned = replace(turned, mlflow_url=request.getfixturevalue("server").uri)
    make_mlflow_tables(turned.settings.home_folder)
    for month in ("2026-01", "2026-02"):
        turned.train(month)
    loop = turned.open()
    live = loop.registry.production()
    assert live is not None
    tags = loop.registry._client.get_model_version("shop", str(live)).tags

    entry = loop.journal.entry(int(tags["closedloop.decision"]))
    assert (entry.decision.kind, entry.decision.action) == (Kind.PROMOTION, Action.PROMOTE)
    assert (entry.decision.version, entry.outcome) == (live, "done")
    assert (entry.key, entry.bundle) == (tags["closedloop.key"], tags["closedloop.sha256"])

    use_case, data = loop.use_case, json.loads(tags["closedloop.data"])
    assert (live, list(data)) == (2, ["2026-01", "2026-02"])
    for window, written in data.items():
        assert digest(prepare(loop.source.read(window), use_case), use_case)[:12] == written
    assert tags["closedloop.recipe"] == "logistic/recent"
    assert tags["closedloop.seed"] == "7"
    assert tags["closedloop.contract"] == use_case.fingerprint
    assert tags["closedloop.revision"] == "abc"
    assert tags["closedloop.platform"] == describe_platform()
