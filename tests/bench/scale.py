"""`make bench-scale`: seconds and memory that closedloop takes for a table of millions of rows."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from closedloop.errors import ClosedLoopError
from tests.bench.scale_records import measure_records
from tests.bench.scale_turn import measure_contract, measure_drift_alone, measure_turn
from tests.bench.servers import ROOT
from tests.bench.serving import describe_machine
from tests.bench.used import Used, run

ENDINGS = ("csv", "parquet")
_SEED, _CHUNK = 7, 100_000
_FIRST, _STEP = np.datetime64("2024-01-01T00:00:00"), 20 * 30 * 86_400
_CITIES = np.array([f"city {number:03d}" for number in range(300)], dtype=object)
_CHANNELS = np.array(["web", "shop", "phone", "app", "partner"], dtype=object)


@dataclass(frozen=True)
class Figure:
    """What one command took: `peak_mb` is the largest resident memory of its process.

    `cpu_seconds` are those of all its threads, which a busy machine changes less than `seconds`.
    """

    part: str
    rows: int
    ending: str
    seconds: float
    cpu_seconds: float
    peak_mb: float


def make_rows(rows: int) -> Iterator[pa.Table]:
    """A table of orders of 20 months with 20 columns, some at a time: a key, a time, a month, a
    target, numbers of which some are null, whole numbers, categories."""
    for first in range(0, rows, _CHUNK):
        number = np.arange(first, min(rows, first + _CHUNK))
        draw, many = np.random.default_rng((_SEED, first)), len(number)
        times = _FIRST + (number * _STEP // rows).astype("timedelta64[s]")
        floats = {f"amount_{place}": draw.lognormal(3, 1, many).round(2) for place in range(9)}
        returned = draw.random(many) < 0.05 + 0.2 * (floats["amount_0"] > 30)
        nulls = {"amount_3": 0.02, "amount_5": 0.3}
        yield pa.table(
            {
                "order_id": pa.array([f"o{place:09d}" for place in number]),
                "ordered_at": pa.array(np.datetime_as_string(times).tolist()),
                "month": pa.array(np.datetime_as_string(times, unit="M").tolist()),
                "returned": pa.array(np.where(returned, "yes", "no")),
                **{
                    name: pa.array(values, mask=draw.random(many) < nulls.get(name, 0))
                    for name, values in floats.items()
                },
                "items": pa.array(draw.poisson(3, many)),
                "visits": pa.array(draw.integers(0, 5_000, many)),
                "age": pa.array(draw.integers(18, 90, many)),
                "city": pa.array(_CITIES[draw.integers(0, 300, many)]),
                "channel": pa.array(_CHANNELS[draw.integers(0, 5, many)]),
                "loyal": pa.array(draw.random(many) < 0.4),
                "product": pa.array([f"p{place}" for place in draw.integers(0, 40_000, many)]),
            }
        )


def write_table(path: Path, rows: int) -> None:
    """A CSV or Parquet file of `make_rows`."""
    parts = make_rows(rows)
    first = next(parts)
    kind = pyarrow.csv.CSVWriter if path.suffix == ".csv" else pyarrow.parquet.ParquetWriter
    with kind(str(path), first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def measure_init(table: Path, folder: Path) -> dict[str, Used]:
    """`closedloop init` with the windows in a column, and cut by the time of a row."""
    command = [sys.executable, "-m", "closedloop", "init", str(table), "--target", "returned"]
    cut = {"init": ["--window-column", "month"], "init by time": ["--time-column", "ordered_at"]}
    return {
        name: run([*command, *options, "--out", str(folder / "loop.toml"), "--force"], folder)
        for name, options in cut.items()
    }


# A part runs commands on a table, in a folder: what each used, by its name.
PARTS: Mapping[str, Callable[[Path, Path], dict[str, Used]]] = {
    "init": measure_init,
    "records": measure_records,
    "contract": measure_contract,
    "turn": measure_turn,
    "drift": measure_drift_alone,
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="bench-scale", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, 3_000_000])
    parser.add_argument("--endings", nargs="+", choices=ENDINGS, default=list(ENDINGS))
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench" / "scale.json")
    return parser.parse_args(arguments)


def measure(
    options: argparse.Namespace, folder: Path, say: Callable[[str], object]
) -> list[Figure]:
    """All parts on tables of all sizes. Raises ClosedLoopError when a command fails."""
    figures = []
    for rows in options.rows:
        for ending in options.endings:
            table = folder / f"orders.{ending}"
            write_table(table, rows)
            for part in options.parts:
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    found = PARTS[part](table, Path(own))
                for name, (seconds, busy, peak) in found.items():
                    figures.append(
                        Figure(name, rows, ending, round(seconds, 1), round(busy, 1), round(peak))
                    )
                    say(
                        f"{name}, {rows:,} rows of {ending}: {seconds:.1f} s, of the processors "
                        f"{busy:.1f} s, {peak:,.0f} MB"
                    )
            table.unlink()
    return figures


def summarise(figures: Sequence[Figure]) -> dict[str, dict[int, float]]:
    """By rows a window: what a turn takes, and our share of the processors' time of Evidently.

    Both drift checks without reading the rows, from the last kind of file that was measured.
    """
    of = {(figure.part, figure.rows): figure for figure in figures}
    turns = {rows: figure for (part, rows), figure in of.items() if part == "turn with retraining"}
    busy = {
        how: {
            rows: figure.cpu_seconds - of["drift, read", rows].cpu_seconds
            for (part, rows), figure in of.items()
            if part == f"drift, {how}"
        }
        for how in ("ours", "evidently")
    }
    return {
        "turn_seconds": {rows: figure.seconds for rows, figure in turns.items()},
        "turn_peak_mb": {rows: figure.peak_mb for rows, figure in turns.items()},
        "drift_ratio_vs_evidently": {
            rows: round(max(0.0, busy["ours"][rows]) / seconds, 3)
            for rows, seconds in busy["evidently"].items()
        },
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, show, write; 1 with one sentence when a command fails."""
    options = parse(arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    machine, began = describe_machine(), datetime.now(UTC)
    try:
        with tempfile.TemporaryDirectory(dir=options.out.parent, prefix="run-") as temporary:
            figures = measure(options, Path(temporary).resolve(), print)
    except ClosedLoopError as error:
        sys.stderr.write(f"bench-scale: {error}\n")
        return 1
    content: dict[str, Any] = {
        "figures": [asdict(figure) for figure in figures],
        **summarise(figures),
        "date": f"{began:%Y-%m-%d}",
        "machine": machine,
        "command": shlex.join(["python", "-m", "tests.bench.scale", *arguments]),
    }
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
