"""`make bench-explaining`: what it costs to explain a row, and how much longer /predict
takes while rows are explained without a pause."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline

from closedloop.bundle.contributions import Explainer
from closedloop.bundle.frames import pack_frame
from closedloop.bundle.loaded import LoadedVersion, load_with_pipeline
from closedloop.bundle.skops_model import PipelineScorer
from closedloop.training.recipes import fit
from tests.bench.load import put_load, write_script
from tests.bench.processes import ask, free_port, running
from tests.bench.servers import OURS, list_servers, server_environment
from tests.bench.serving import QUIET, describe_machine
from tests.bench.subject import ROWS, SEED, Subject, make_labels, make_rows, register_subject

LEARNERS, TREES, SAMPLED = ("logistic", "lightgbm", "baseline"), 100, "baseline"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="explaining", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="default 5")
    parser.add_argument(
        "--seconds", type=int, default=8, help="of each run of wrk (default 8); 0 for none"
    )
    return parser.parse_args(arguments)


def fit_versions(subject: Subject) -> Iterator[tuple[str, LoadedVersion]]:
    """The subject's version with pipelines of other learners, on the same rows."""
    use_case, version = subject.use_case, load_with_pipeline(subject.folder)
    table = make_rows(use_case, ROWS, SEED)
    labels = make_labels(table, use_case, SEED)
    sides = use_case.numeric, use_case.categorical
    for learner in LEARNERS:
        pipeline = fit(learner, table, labels, numeric=sides[0], categorical=sides[1], seed=SEED)
        yield learner, replace(version, scorer=PipelineScorer(pipeline, *sides))
    forest = RandomForestClassifier(TREES, max_depth=10, random_state=SEED)
    forest.fit(pipeline[0].transform(table), labels)
    scorer = PipelineScorer(make_pipeline(pipeline[0], forest), *sides)
    yield f"a forest of {TREES} trees", replace(version, scorer=scorer)


def show_times(subject: Subject, repetitions: int) -> None:
    """Milliseconds of processor a row, alone and among a hundred."""
    print("| learner | method | rows scored for one | ms a row, alone | ms a row, of 100 |")
    print("|---|---|--:|--:|--:|")
    asked = make_rows(subject.use_case, 100, SEED + 2)
    for name, version in fit_versions(subject):
        explainer, figures = Explainer(version), []
        for rows in (1, 100):
            packed = pack_frame(
                asked.head(rows), subject.use_case.numeric, subject.use_case.categorical
            )
            took = []
            for _ in range(repetitions):
                began = process_time()
                explainer.explain(*packed)
                took.append(1000 * (process_time() - began) / rows)
            figures.append(f"{median(took):.2f}")
        cells = (name, explainer.method, f"{explainer.evaluations:,}", *figures)
        print("|", " | ".join(cells), "|", flush=True)


@contextmanager
def explaining(port: int, body: str, answers: list[int]) -> Iterator[None]:
    """Rows are explained without a pause for the duration of the block."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            answers.append(ask(port, "/explain", body)[0])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def show_waiting(subject: Subject, recipe: str, folder: Path, seconds: int) -> None:
    """/predict in quiet and while ten rows a request are explained, twice in turn."""
    server = next(server for server in list_servers(subject) if server.name == OURS)
    folder.mkdir()
    environment = server_environment(server, subject.home, folder)
    port, body = free_port(), server.write(subject.rows[:1])
    script = folder / "load.lua"
    script.write_text(write_script(server.path, body), encoding="utf-8")
    found: dict[str, list[Any]] = {"in quiet": [], "while rows are explained": []}
    answers: list[int] = []
    with running(
        server.command(port), port, server.path, body, folder=folder, environment=environment
    ) as live:
        ten = json.dumps({"rows": subject.rows[:10]})
        began = perf_counter()
        assert ask(port, "/explain", ten)[0] == 200
        first = perf_counter() - began
        put_load(live.address, script, max(1, seconds // 2), "warm-up")
        for _ in range(2):
            found["in quiet"].append(put_load(live.address, script, seconds, "quiet"))
            with explaining(port, ten, answers):
                busy = put_load(live.address, script, seconds, "busy")
            found["while rows are explained"].append(busy)
    assert set(answers) == {200}, answers
    print(f"\n{recipe}: the first request took {first:.1f} s; {len(answers)} more meanwhile")
    print("\n| /predict | requests/s | p50 ms | p99 ms |\n|---|--:|--:|--:|")
    for what, loads in found.items():
        figures = (
            median(getattr(load, name) for load in loads)
            for name in ("requests_per_second", "p50_ms", "p99_ms")
        )
        print(f"| {what} |", " | ".join(f"{figure:,.2f}" for figure in figures), "|", flush=True)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    os.environ.update(QUIET)
    machine = describe_machine()
    print(
        f"{machine['processor']}, {machine['processors']} processors, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f}\n"
    )
    with tempfile.TemporaryDirectory() as temporary:
        for recipe in ("logistic", SAMPLED):
            subject = register_subject(Path(temporary) / recipe, recipe=recipe)
            if recipe == "logistic":
                show_times(subject, options.repetitions)
            if options.seconds:
                show_waiting(subject, recipe, Path(temporary) / f"{recipe} served", options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
