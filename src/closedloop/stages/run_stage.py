"""`prepare`, `train`, `evaluate` and `deploy`, on the functions that the flows use.

The first three see no registry and no journal, so that each gives the same files everywhere. Only
`deploy` does: there production is on the other side of the comparison.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from closedloop.backtest.memory_registry import MemoryRegistry
from closedloop.stages.evaluation import write_evaluation
from closedloop.stages.kept_fits import KeptFits
from closedloop.stages.prepared_rows import (
    WINDOWS_FILE,
    PreparedCompute,
    PreparedRows,
    Use,
    write_rows,
)
from closedloop.storage.engine import open_engine
from closedloop.storage.entry import Entry
from closedloop.storage.journal import Journal
from closedloop.training.candidates import split_windows
from closedloop.turn.begin_anew import open_training
from closedloop.turn.candidate import fit_candidate
from closedloop.turn.card import carry_out_with_card
from closedloop.turn.compute import Compute
from closedloop.turn.history import History
from closedloop.turn.open import Loop
from closedloop.turn.register import propose_candidate
from closedloop.turn.take_turn import retrain, write_request
from closedloop.use_case.contract import UseCase
from closedloop.windows.sources import NoWindows, WindowSource
from closedloop.windows.synthetic import generate_windows, write_generated

ROWS, MODELS, DEPLOYED = "rows", "models", "deploy.json"


@dataclass(frozen=True)
class Alone:
    """A use case without a past (`turn.ports.Parts`)."""

    use_case: UseCase
    source: WindowSource
    journal: Journal
    registry: MemoryRegistry
    compute: Compute

    def served(self, production: int | None, previous: int | None) -> tuple[None, None]:
        """Nothing is served."""
        return None, None


def prepare_rows(loop: Loop, folder: Path) -> None:
    """Read every window, check its contract and write its rows; built-in data is generated first.

    Raises SourceError as the source does.
    """
    try:
        loop.source.windows()
    except NoWindows:
        if (generator := loop.use_case.source.generator) is None:
            raise
        write_generated(loop.use_case, loop.settings.data, generate_windows(generator))
    with _alone(loop, loop.source, loop.compute) as history:
        reads = [history.read(name) for name in history.names]
        teaching = tuple(
            read.labelled
            for read in reads
            if read.facts.name in history.due and read.facts.labelled_rows and not read.violations
        )
        uses: dict[str, Use] = {window.name: "training" for window in teaching}
        for judge in split_windows(teaching, loop.use_case).judges if teaching else ():
            uses[judge.name] = "evaluation" if len(teaching) > 1 else "training and evaluation"
        write_rows(reads, uses, loop.use_case, folder / ROWS)


def train_recipes(loop: Loop, folder: Path) -> None:
    """Fit every recipe as a training would, and keep the pipelines."""
    (folder / MODELS).mkdir(parents=True, exist_ok=True)
    with _prepared(loop, folder, keeps=True) as history:
        fit_candidate(history)


def evaluate_twins(loop: Loop, folder: Path) -> None:
    """Score the twins, and describe the chosen one."""
    with _prepared(loop, folder) as history:
        write_evaluation(fit_candidate(history), loop.use_case, folder)


def deploy_candidate(loop: Loop, folder: Path) -> Entry:
    """Train as `closedloop train` does, with the pipelines at hand: the gate decides.

    What was decided on the same data before stays, and is returned. The file that is written says
    which windows were put before the gate, not what came of it: so it is the same everywhere.
    """
    with_fits = replace(loop, compute=KeptFits(folder / MODELS))
    with loop.training_lock("deploy"):
        with loop.lock("deploy"):
            history = open_training(with_fits, None, by_person=True).look()
        entry = retrain(
            history,
            write_request(history),
            propose=propose_candidate,
            act=carry_out_with_card,
            lock=partial(loop.lock, "deploy"),
        )
    shutil.copyfile(folder / ROWS / WINDOWS_FILE, folder / DEPLOYED)
    return entry


@contextmanager
def _prepared(loop: Loop, folder: Path, *, keeps: bool = False) -> Iterator[History[Alone]]:
    compute = PreparedCompute(folder / MODELS, keeps=keeps)
    with _alone(loop, PreparedRows(folder / ROWS), compute) as history:
        yield history


@contextmanager
def _alone(loop: Loop, source: WindowSource, compute: Compute) -> Iterator[History[Alone]]:
    engine, name = open_engine("sqlite://"), loop.use_case.name
    try:
        parts = Alone(loop.use_case, source, Journal(engine), MemoryRegistry(name), compute)
        yield History(parts)
    finally:
        engine.dispose()


STAGES: Mapping[str, Callable[[Loop, Path], Entry | None]] = {
    "prepare": prepare_rows,
    "train": train_recipes,
    "evaluate": evaluate_twins,
    "deploy": deploy_candidate,
}
