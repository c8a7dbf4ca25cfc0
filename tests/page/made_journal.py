"""A journal and runs as years of turns leave them, written without taking a turn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from closedloop.decisions.checks import Action, Decision, Kind, Numbers, Role, make_check
from closedloop.decisions.drift_report import ColumnDrift, DriftReport
from closedloop.decisions.evidence import LoopState, RetrainingEvidence, Window
from closedloop.storage.details import (
    DriftFacts,
    RealisedFacts,
    RunFacts,
    TurnDetails,
    WindowFacts,
)
from closedloop.turn.distributions import DISTRIBUTIONS_FILE, summarise, write_distributions
from closedloop.turn.kept_evidence import TURN_EVIDENCE_FILE
from closedloop.turn.open import Loop


def write_turns(
    loop: Loop,
    windows: Sequence[str],
    columns: Sequence[str],
    *,
    kept: int,
    value: str = "a",
    reference: str | None = None,
) -> None:
    """A decision about each window; the newest `kept` of them have a run with every column.

    Columns are numbers and categories in turn; `value` is a category that is new in each window,
    `reference` the window that all were compared with.
    """
    for place, window in enumerate(windows):
        facts = RunFacts()
        if place >= len(windows) - kept:
            facts = RunFacts(_log(loop, window, columns, value))
        checks = [
            make_check(
                f"{window} claims {number}",
                number % 2 == 0,
                Role.GUARD,
                "at most 0.3",
                "0.2",
                numbers=Numbers(0.2, 0.3, 0.1, 0.25),
            )
            for number in range(10)
        ]
        loop.journal.write(
            f"{place}/{window[:50]}",
            loop.use_case.name,
            Decision(Kind.RETRAINING, Action.KEEP, window, tuple(checks), 1),
            details=TurnDetails(
                1,
                WindowFacts(1000, 900, "d" * 64),
                DriftFacts(0.2, tuple(columns[:20]), False, False, reference),
                RealisedFacts(window, 0.8, None, None, 0.78, 0.82, 900),
                run=facts,
            ),
        )


def _log(loop: Loop, window: str, columns: Sequence[str], value: str) -> str:
    drift = DriftReport(
        "version 1",
        window,
        1000,
        1000,
        tuple(ColumnDrift(name, "wasserstein", 0.1, 0.1) for name in columns),
    )
    evidence = RetrainingEvidence(Window(window, 0, 1000, 900, (), "d"), LoopState(), drift=drift)
    draw, old = np.random.default_rng(1), [f"c{each}" for each in range(30)]
    sides = [
        pd.DataFrame(
            {
                name: draw.normal(size=200) if number % 2 else draw.choice(names, 200)
                for number, name in enumerate(columns)
            }
        )
        for names in (old, [*old, value])
    ]
    numeric = [name for number, name in enumerate(columns) if number % 2]
    found = summarise(sides[0], sides[1], columns, numeric, ("version 1", window))
    return loop.registry.log_run(
        f"made/{window[:50]}",
        "monitor",
        metrics={},
        parameters={},
        tags={},
        files={
            TURN_EVIDENCE_FILE: json.dumps(asdict(evidence)),
            DISTRIBUTIONS_FILE: write_distributions(found),
        },
    )
