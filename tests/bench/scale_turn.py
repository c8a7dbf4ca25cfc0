"""The parts `contract`, `turn` and `drift` of `make bench-scale`: a large window counted, a
training with large windows, and drift beside Evidently's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

from closedloop.decisions.drift_policy import DriftPolicy
from closedloop.metrics.drift import measure_drift
from closedloop.use_case.loop_toml import load_use_case
from closedloop.windows.contract_check import judge_contract
from closedloop.windows.large_window import count_and_sample
from closedloop.windows.open_source import open_source
from tests.bench.servers import ROOT
from tests.bench.used import Used, run

MEMORY = "2GiB"
WINDOWS = 3
_NOT_ASKED = ("ordered_at", "month")


def measure_turn(table: Path, folder: Path) -> dict[str, Used]:
    """A first training on two windows, each as large as the table, and one against production on a
    third, with `memory` in [compute]."""
    place, windows = folder / "turn", folder / "turn" / "windows"
    windows.mkdir(parents=True)
    alone = [sys.executable, "-m", "tests.bench.scale_turn"]
    # By a process of its own: a child's peak of memory begins with that of its parent.
    for number in range(1, WINDOWS + 1):
        run([*alone, str(table), str(number), str(windows)], place, ROOT)
    command = [sys.executable, "-m", "closedloop"]
    run([*command, "init", str(windows), "--target", "returned", "--out", "loop.toml"], place)
    with (place / "loop.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[compute]\nmemory = "{MEMORY}"\n')
    train = [*command, "train", "--use-case", "loop.toml", "--window"]
    return {
        "first training": run([*train, "month_2"], place),
        "turn with retraining": run([*train, f"month_{WINDOWS}"], place),
    }


def _write_window(table: Path, folder: Path, number: int) -> None:
    """The rows of the table with keys and labels of their own, which are less sure every window."""
    window = folder / f"month_{number}.parquet"
    draw, batches = np.random.default_rng(number), _read(table)
    first = next(batches)
    with pyarrow.parquet.ParquetWriter(str(window), first.schema) as writer:
        for batch in (first, *batches):
            keys = pa.compute.binary_join_element_wise(str(number), batch["order_id"], "-")
            large = batch["amount_0"].to_numpy() > 30
            share = 0.05 + (0.7 - 0.1 * number) * large
            labels = pa.array(np.where(draw.random(len(large)) < share, "yes", "no"))
            for name, column in (("order_id", keys), ("returned", labels)):
                batch = batch.set_column(batch.schema.get_field_index(name), name, column)
            writer.write_table(batch)


def _read(table: Path) -> Iterator[pa.Table]:
    dataset = pa.dataset.dataset(table, format=table.suffix.removeprefix("."))
    names = [name for name in dataset.schema.names if name not in _NOT_ASKED]
    for batch in dataset.to_batches(columns=names, batch_size=100_000):
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


def measure_contract(table: Path, folder: Path) -> dict[str, Used]:
    """A window as large as the table read, counted, digested and judged by the contract, with the
    start of Python."""
    windows = folder / "windows"
    windows.mkdir()
    alone = [sys.executable, "-m", "tests.bench.scale_turn"]
    run([*alone, str(table), "1", str(windows)], folder, ROOT)
    init = [sys.executable, "-m", "closedloop", "init", str(windows), "--target", "returned"]
    run([*init, "--out", "loop.toml"], folder)
    return {"contract": run([*alone, str(folder / "loop.toml"), "count"], folder, ROOT)}


def _count(loop_toml: Path) -> None:
    use_case = load_use_case(loop_toml)
    source = open_source(use_case)
    counted = count_and_sample(source, source.windows()[0], use_case)
    judge_contract(counted.counts, counted.prepared)


def measure_drift_alone(table: Path, folder: Path) -> dict[str, Used]:
    """Two halves of the rows of the table twice: our limits and distances, and the default preset
    of Evidently, each in a process that reads the same frames; and reading them alone."""
    command = [sys.executable, "-m", "tests.bench.scale_turn", str(table)]
    return {
        f"drift, {how}": run([*command, how], folder, ROOT) for how in ("read", "ours", "evidently")
    }


def _compare(table: Path, how: str) -> None:
    current = pa.concat_tables(list(_read(table))).drop_columns(["order_id"]).to_pandas()
    reference = current.sample(frac=1.0, random_state=1).reset_index(drop=True)
    numeric = [str(name) for name in current.select_dtypes("number")]
    texts = [str(name) for name in current if name not in numeric]
    for frame in (current, reference):
        frame[texts] = frame[texts].astype(str)
    if how == "ours":
        measure_drift(
            reference,
            current,
            numeric=numeric,
            categorical=texts,
            policy=DriftPolicy(),
            reference_name="reference",
            current_name="current",
            seed=1,
        )
    elif how == "evidently":
        _ask_evidently(reference, current, numeric, texts)


def _ask_evidently(
    reference: pd.DataFrame, current: pd.DataFrame, numeric: list[str], texts: list[str]
) -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=numeric, categorical_columns=texts)
    sides = [
        Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference)
    ]
    Report([DataDriftPreset()]).run(*sides).dict()


if __name__ == "__main__":
    if sys.argv[2].isdecimal():
        _write_window(Path(sys.argv[1]), Path(sys.argv[3]), int(sys.argv[2]))
    elif sys.argv[2] == "count":
        _count(Path(sys.argv[1]))
    else:
        _compare(Path(sys.argv[1]), sys.argv[2])
