"""What a command loads: the heavy libraries are seconds, so each waits until it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

# Training, packaging, drawing and serving need these; reading and comparing a window does not.
OF_OTHER_STEPS = [
    *("evidently", "plotly", "nltk", "litestar"),
    *("lightgbm", "matplotlib", "mlflow.sklearn", "mlflow.pyfunc"),
    *("onnx", "onnxruntime", "skl2onnx", "optuna", "apprise", "uvicorn", "prefect.server"),
]
# A turn needs these too, but whoever only asks what is live does not.
OF_A_TURN = ["prefect", "sklearn", "skops", *OF_OTHER_STEPS]


def run_command(
    home: Path, use_case: Path, watched: list[str], *arguments: str
) -> tuple[str, list[str]]:
    """Run a command in a new Python: what it printed, and which of `watched` it loaded."""
    script = (
        "import json, os, sys\n"
        "from closedloop.cli.app import main\n"
        "code = main(sys.argv[1:], os.environ)\n"
        f"print(json.dumps([name for name in {watched!r} if name in sys.modules]))\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--use-case", str(use_case)],
        env={**os.environ, "CLOSEDLOOP_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    printed, _, loaded = done.stdout.rstrip("\n").rpartition("\n")
    return printed, json.loads(loaded)


@pytest.mark.nightly
def test_a_quiet_turn_loads_nothing_that_only_other_turns_need(
    make_place: Callable[..., Any], turn: Callable[..., Any]
) -> None:
    """A window like the one before, with labels: it is compared and judged without the libraries
    that train, draw or serve. `status` loads neither Prefect nor scikit-learn."""
    place = make_place(0, 0, changes={"gain_trigger = true": "gain_trigger = false"})
    turn(place, "month_000")
    home = place.settings.home
    asked = ["monitor", "--window", "month_001", "--json"]
    printed, loaded = run_command(home, place.path, OF_OTHER_STEPS, *asked)
    found = json.loads(printed)
    assert (found["action"], found["summary"]["drifted_columns"]) == ("keep", [])
    assert found["summary"]["realised_auc"] is not None
    assert loaded == [], "import it inside the function that uses it"
    printed, loaded = run_command(home, place.path, OF_A_TURN, "status", "--json")
    assert json.loads(printed)["production"] is not None
    assert loaded == [], "import it inside the function that uses it"
