"""Evidence that is read back from a registered version."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from closedloop.decisions.deciding_measure import Measured
from closedloop.turn.register import read_evidence
from tests.spec.examples import promotion, scores


def test_evidence_comes_back_and_that_of_older_versions_too() -> None:
    """All facts are as they were written; where an older version wrote no history, the recipe's
    name says which it was."""
    measured = Measured("log_loss", -0.3, 0.01)
    evidence = promotion(
        {
            "recipe": "logistic/recent",
            "history": "recent",
            "candidate": replace(scores(0.7), measured=measured),
        },
        expected=measured,
    )
    content = asdict(evidence)
    assert read_evidence(json.dumps(content)) == evidence
    evidence = promotion({"recipe": "logistic/recent", "history": "recent"})
    content = asdict(evidence)
    del content["expected"], content["comparison"]["candidate"]["measured"]
    del content["comparison"]["history"]
    assert read_evidence(json.dumps(content)) == evidence
    assert read_evidence(json.dumps({**content, "comparison": None})).comparison is None
