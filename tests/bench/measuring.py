"""One server, started alone with empty records: asked, loaded, weighed, stopped, and its records
counted."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from closedloop.errors import ClosedLoopError
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from tests.bench.load import Load, put_load, write_script
from tests.bench.processes import Memory, Running, ask, free_port, running, weigh_workers
from tests.bench.servers import Server, server_environment, store_url
from tests.bench.subject import NAME, Subject

MOST_WARM_UP_SECONDS = 3
# Single precision, in which ONNX answers, and what a model may differ from its pipeline to be
# served so.
SAME_ANSWER = 1e-5


@dataclass(frozen=True)
class Measurement:
    """What one start of a server showed.

    `single`: requests of one row. `many`: requests of 1,000 rows, None for a server that does not
    read them. `workers` were weighed after the requests of one row,
    `workers_after_many` after those of many. `recorded` rows: None for a server that keeps none.
    """

    start_seconds: float
    single: Load
    many: Load | None
    workers: list[Memory]
    workers_after_many: list[Memory]
    answered_rows: int
    recorded: int | None


def measure(server: Server, subject: Subject, seconds: int, folder: Path) -> Measurement:
    """Start, warm up, load with one row a request and then with all rows, stop. `folder` is made
    for it and removed.

    Raises ClosedLoopError when a request fails, when the answers are not the pipeline's, or when an
    answered row was not recorded.
    """
    folder.mkdir()
    port, one_row, all_rows = (
        free_port(),
        server.write(subject.rows[:1]),
        server.write(subject.rows),
    )
    with running(
        server.command(port),
        port,
        server.path,
        one_row,
        folder=folder,
        environment=server_environment(server, subject.home, folder),
    ) as live:
        loads = [_put(server, live, one_row, seconds, folder)]
        answered, workers = 1 + sum(load.answered for load in loads[0]), weigh_workers(live.pid)
        if server.read is not None:
            _check_answers(server, live, subject, all_rows)
            loads.append(_put(server, live, all_rows, seconds, folder))
            answered += len(subject.rows) * (1 + sum(load.answered for load in loads[1]))
        after = weigh_workers(live.pid)
    recorded = _count_records(server, folder, answered) if server.records else None
    shutil.rmtree(folder)
    return Measurement(
        live.start_seconds,
        loads[0][1],
        loads[1][1] if len(loads) > 1 else None,
        workers,
        after,
        answered,
        recorded,
    )


def _put(
    server: Server, live: Running, body: str | bytes, seconds: int, folder: Path
) -> tuple[Load, Load]:
    """The warm-up and the run that counts."""
    script = folder / "load.lua"
    script.write_text(write_script(server.path, body), encoding="utf-8")
    # Of several workers one answers first; until the others have the model, too, they rightly say
    # 503.
    warm_up = put_load(
        live.address,
        script,
        min(seconds, MOST_WARM_UP_SECONDS),
        f"warm-up of {server.name}",
        may_refuse=server.workers > 1,
    )
    return warm_up, put_load(live.address, script, seconds, server.name)


def _check_answers(server: Server, live: Running, subject: Subject, body: str | bytes) -> None:
    """Who answers fast and wrong is not measured."""
    assert server.read is not None
    status, content = ask(live.port, server.path, body)
    told = content if isinstance(body, bytes) else json.loads(content)
    got = server.read(told) if status == 200 else []
    furthest = max(
        (abs(answer - wanted) for answer, wanted in zip(got, subject.answers, strict=False)),
        default=1.0,
    )
    if len(got) != len(subject.answers) or not furthest <= SAME_ANSWER:
        raise ClosedLoopError(
            where=server.name,
            wanted=f"the pipeline's answers to {len(subject.answers)} rows, within {SAME_ANSWER:g}",
            got=f"status {status}, {len(got)} answers, {furthest:.2g} off",
            then="servers of different models cannot be compared",
        )


def _count_records(server: Server, folder: Path, answered: int) -> int:
    engine = open_engine(store_url(folder))
    try:
        recorded = Records(engine).count(NAME).predictions
    finally:
        engine.dispose()
    if recorded < answered:
        raise ClosedLoopError(
            where=server.name,
            wanted=f"a record for each of the {answered} rows that were answered",
            got=f"{recorded} records",
            then="find out which answers were not recorded",
        )
    return recorded
