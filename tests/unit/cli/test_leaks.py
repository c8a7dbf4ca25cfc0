"""A column that alone tells the target: what `init` and `doctor` say about it, and a first
promotion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closedloop.cli.draft.write_use_case import Asked, write_use_case
from closedloop.cli.examine.leaks import describe_single_columns
from closedloop.decisions.checks import Action
from closedloop.decisions.promotion import decide_promotion
from closedloop.errors import ClosedLoopError
from closedloop.settings import Settings
from closedloop.turn.candidate import fit_candidate, make_evidence
from closedloop.turn.history import History
from closedloop.turn.open import Loop, open_loop
from closedloop.use_case.contract import UseCase

pytestmark = pytest.mark.slow

FOUND = "refund alone tells the target, by where it is null (AUC 1.000 on 400 rows)"
ADVICE = (
    "remove [columns.refund] if it is written after the target is known, otherwise write "
    "known_before_target = true under it"
)


def orders() -> pd.DataFrame:
    """Orders of which half come back; a refund is paid for those."""
    draw = np.random.default_rng(2)
    returned = draw.permutation(np.repeat([0, 1], 200))
    return pd.DataFrame(
        {
            "amount": draw.lognormal(3, 1, 400).round(2) + returned,
            "refund": np.where(returned, draw.lognormal(3, 1, 400).round(2), np.nan),
            "returned": np.where(returned, "yes", "no"),
        }
    )


@pytest.fixture
def written(tmp_path: Path) -> tuple[UseCase, tuple[str, ...], str]:
    """What `init` makes of a table with a leak: the use case, its notes and the file."""
    orders().to_csv(tmp_path / "orders.csv", index=False)
    use_case, notes = write_use_case(
        [tmp_path / "orders.csv"], Asked("returned", tmp_path / "loop.toml")
    )
    return use_case, notes, (tmp_path / "loop.toml").read_text()


def open_with(folder: Path, line: str = "") -> Loop:
    """The use case, with a line written under [columns.refund]."""
    path = folder / "loop.toml"
    path.write_text(path.read_text().replace("[columns.refund]\n", f"[columns.refund]\n{line}\n"))
    return open_loop(path, settings=Settings(home=folder, data=None))


def test_init_names_a_column_that_tells_the_target(written: Any) -> None:
    """A note with the number and the line to change, and the same above the column only."""
    use_case, notes, text = written
    assert f"{FOUND}: {ADVICE}" in notes
    assert list(use_case.columns) == ["amount", "refund"]
    above = text.partition("[columns.refund]")[0].rpartition("\n\n")[2]
    assert above.startswith("# refund alone tells the target, by where it is null (AUC 1.000")
    assert text.count("alone tells the target") == 1


def test_doctor_names_a_column_that_tells_the_target(written: Any, tmp_path: Path) -> None:
    """It fails with the number and the line to write, and is content once it stands there."""
    with pytest.raises(ClosedLoopError) as found:
        describe_single_columns(open_with(tmp_path))
    assert (found.value.got, found.value.then) == (FOUND, ADVICE)
    told = describe_single_columns(open_with(tmp_path, "known_before_target = true"))
    assert told == "refund reaches an AUC of 1.000 alone, on orders"


def test_a_first_model_with_a_leak_is_not_promoted(written: Any, tmp_path: Path) -> None:
    """A person is asked, with the same sentence; the line under the column lets it pass."""
    for line, action in (("", Action.ESCALATE), ("known_before_target = true", Action.PROMOTE)):
        loop = open_with(tmp_path, line)
        history = History(loop, "orders")
        history.__dict__["_versions"] = ()  # nothing is registered
        candidate = fit_candidate(history)
        evidence = make_evidence(history, candidate, candidate.scorer, 0.0)
        decision = decide_promotion(evidence, loop.use_case.policy)
        assert decision.action is action, decision.reason
        assert (f"{FOUND}: {ADVICE}" in decision.reason) == (action is Action.ESCALATE)
