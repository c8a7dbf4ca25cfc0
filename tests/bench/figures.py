"""Measurements -> medians, ratios, and how they are shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench.servers import ARROW, CEILING, MLFLOW, OURS, PLAIN, SWITCHED, TWO_WORKERS

if TYPE_CHECKING:
    from tests.bench.load import Load
    from tests.bench.measuring import Measurement
    from tests.bench.processes import Memory

BEGIN, END = "<!-- figures: written by make bench-serving -->", "<!-- end of figures -->"
HEADINGS = ("server", "req/s", "p50 ms", "p99 ms", "batch rows/s", "start s", "worker MB")

Figures = dict[str, float | None]


def summarise(measurements: Sequence[Measurement], rows: int) -> Figures:
    """Medians over the repetitions; `rows` is how many the large requests had. None for what was
    not measured."""
    many = [run.many for run in measurements if run.many is not None]
    return {
        "requests_per_second": median(run.single.requests_per_second for run in measurements),
        "p50_ms": median(run.single.p50_ms for run in measurements),
        "p99_ms": median(run.single.p99_ms for run in measurements),
        "batch_rows_per_second": median(load.requests_per_second * rows for load in many)
        if many
        else None,
        "batch_p50_ms": median(load.p50_ms for load in many) if many else None,
        "batch_p99_ms": median(load.p99_ms for load in many) if many else None,
        "start_seconds": median(run.start_seconds for run in measurements),
        "worker_mb": _typical_mb(run.workers for run in measurements),
        "worker_mb_after_batch": _typical_mb(run.workers_after_many for run in measurements),
    }


def _typical_mb(weighed: Iterable[Sequence[Memory]]) -> float | None:
    weights = [
        worker.rss if worker.pss is None else worker.pss
        for workers in weighed
        for worker in workers
    ]
    return median(weights) if weights else None


def compare(found: Mapping[str, Figures]) -> Figures:
    """The ratios by which versions are compared; None where one side was not measured."""

    def ratio(ours: str, theirs: str, figure: str) -> float | None:
        upper, lower = (found.get(name, {}).get(figure) for name in (ours, theirs))
        return upper / lower if upper is not None and lower else None

    return {
        "ratio_vs_mlflow": ratio(OURS, MLFLOW, "requests_per_second"),
        "ratio_vs_plain": ratio(OURS, PLAIN, "requests_per_second"),
        "ratio_vs_ceiling": ratio(OURS, CEILING, "requests_per_second"),
        "ratio_two_workers": ratio(TWO_WORKERS, OURS, "requests_per_second"),
        "p99_ratio_vs_mlflow": ratio(OURS, MLFLOW, "p99_ms"),
        "batch_rows_ratio_vs_mlflow": ratio(OURS, MLFLOW, "batch_rows_per_second"),
        "arrow_rows_ratio_vs_mlflow": ratio(ARROW, MLFLOW, "batch_rows_per_second"),
        "batch_rows_ratio_two_workers": ratio(TWO_WORKERS, MLFLOW, "batch_rows_per_second"),
        "invocations_ratio_vs_mlflow": ratio(SWITCHED, MLFLOW, "requests_per_second"),
        "invocations_rows_ratio_vs_mlflow": ratio(SWITCHED, MLFLOW, "batch_rows_per_second"),
    }


def report(
    measurements: Mapping[str, Sequence[Measurement]], rows: int, circumstances: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of serving.json: ratios first, then how and where they were measured, then every
    figure."""
    found = {name: summarise(runs, rows) for name, runs in measurements.items()}
    ours = {name: found[name] for name in (OURS, TWO_WORKERS) if name in found}
    return {
        **compare(found),
        "start_seconds": found[OURS]["start_seconds"],
        "worker_mb": {
            name: [asdict(worker) for worker in measurements[name][-1].workers] for name in ours
        },
        **circumstances,
        "servers": {
            name: {**found[name], "runs": [_describe_run(run, rows) for run in runs]}
            for name, runs in measurements.items()
        },
    }


def _describe_run(run: Measurement, rows: int) -> dict[str, Any]:
    many = (
        None
        if run.many is None
        else {**_describe_load(run.many), "rows_per_second": run.many.requests_per_second * rows}
    )
    described = asdict(run)
    del described["single"]
    return {**described, "one": _describe_load(run.single), "many": many}


def _describe_load(load: Load) -> dict[str, Any]:
    return {**asdict(load), "requests_per_second": load.requests_per_second}


def table_rows(servers: Mapping[str, Figures]) -> list[tuple[str, ...]]:
    """Cells under HEADINGS, a line a server."""
    return [
        (
            name,
            _say(figures["requests_per_second"], 0),
            _say(figures["p50_ms"], 2),
            _say(figures["p99_ms"], 2),
            _say(figures["batch_rows_per_second"], 0),
            _say(figures["start_seconds"], 1),
            _say(figures["worker_mb"], 0),
        )
        for name, figures in servers.items()
    ]


def ratio_sentences(content: Mapping[str, Any]) -> list[str]:
    """What the ratios say, a sentence each; none for what was not measured."""
    sentences = {
        "ratio_vs_mlflow": "{:.1f} times the requests a second of `mlflow models serve`",
        "p99_ratio_vs_mlflow": "{:.2f} times its p99",
        "batch_rows_ratio_vs_mlflow": "{:.1f} times its rows a second in requests of 1,000 rows",
        "arrow_rows_ratio_vs_mlflow": "{:.1f} times where they are Arrow streams",
        "batch_rows_ratio_two_workers": "{:.1f} times with two workers",
        "invocations_ratio_vs_mlflow": (
            "{:.1f} times its requests a second for a client of it that changes only the URL"
        ),
        "invocations_rows_ratio_vs_mlflow": "{:.1f} times its rows a second for such a client",
        "ratio_vs_plain": "{:.1f} times the requests a second of the plain FastAPI route",
        "ratio_vs_ceiling": "{:.2f} of what the same server does when it answers a constant",
        "ratio_two_workers": "with two workers {:.2f} times one",
    }
    return [
        sentence.format(content[name])
        for name, sentence in sentences.items()
        if content.get(name) is not None
    ]


def write_block(document: str, content: Mapping[str, Any]) -> str:
    """The document with the figures between its marks. Raises ValueError when it has no marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the figures: wanted the lines {BEGIN!r} and {END!r}")
    machine = content["machine"]
    lines = [
        "| " + " | ".join(HEADINGS) + " |",
        "|---" + "|--:" * (len(HEADINGS) - 1) + "|",
        *("| " + " | ".join(cells) + " |" for cells in table_rows(content["servers"])),
        "",
        *(f"- {sentence}" for sentence in ratio_sentences(content)),
        "",
        f"{content['date']}, {machine['processor']}, {machine['processors']} processors, "
        f"Python {machine['python']}, load before the start {machine['load_before']}; "
        f"{content['seconds']} s a run, median of {content['repetitions']}; "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        + ".",
    ]
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def _say(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
