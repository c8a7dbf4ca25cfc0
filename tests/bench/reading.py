"""`make bench-reading`: how long /predict takes while a window of two million records is monitored
and ten thousand labels are written, beside how long it takes in quiet."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from closedloop.errors import ClosedLoopError
from closedloop.records.request import AnsweredRequest, to_json
from closedloop.records.store import Records
from closedloop.storage.engine import open_engine
from tests.bench.load import Load, find_wrk, put_load, write_script
from tests.bench.processes import ask, free_port, running
from tests.bench.servers import OURS, ROOT, list_servers, server_environment, store_url
from tests.bench.serving import QUIET, describe_machine
from tests.bench.subject import NAME, Subject, register_subject

_COMMAND = (sys.executable, "-m", "closedloop")
KEY, LABELS, MOST_TIMES = "customer", 10_000, 5.0
BEGIN, END = "<!-- figures: written by make bench-reading -->", "<!-- end of these figures -->"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="bench-reading", description=__doc__)
    parser.add_argument("--records", type=int, default=2_000_000, help="default 2,000,000")
    parser.add_argument(
        "--seconds", type=int, default=10, help="how long each run of wrk takes (default 10)"
    )
    parser.add_argument(
        "--runs", type=int, default=12, help="stop `monitor` after so many runs (default 12)"
    )
    parser.add_argument(
        "--pause",
        type=float,
        default=5.0,
        help="seconds between two requests of labels (default 5)",
    )
    parser.add_argument(
        "--database", help="a PostgreSQL to record in, empty; default a SQLite of its own"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench" / "reading.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--keep-docs", action="store_true", help="leave the document as it is")
    return parser.parse_args(arguments)


def fill(url: str, subject: Subject, records: int) -> None:
    """Answers of yesterday in the tables of the records: one row a request, each with a key."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    columns = [to_json({name: [value] for name, value in row.items()}) for row in subject.rows]
    answer, step = to_json({"False": [0.2], "True": [0.8]}), timedelta(days=1) / records
    engine = open_engine(url)
    store = Records(engine)
    made = (
        AnsweredRequest(
            f"{number:012x}{number:020x}",
            NAME,
            1,
            1,
            columns[number % len(columns)],
            answer,
            (f"k{number}",),
            day + number * step,
        )
        for number in range(records)
    )
    while some := list(itertools.islice(made, 4_000)):
        store.append(some)
    store.close()
    engine.dispose()


class Busy:
    """Labels that are sent again and again, and how large SQLite's log becomes."""

    def __init__(self, port: int, records: int, pause: float, log: Path) -> None:
        self._port, self._records, self._pause, self._log = port, records, pause, log
        self._over = threading.Event()
        self.label_seconds: list[float] = []
        self.log_bytes = 0
        self.fault: str | None = None

    def label(self) -> None:
        """Send 10,000 labels by key, wait, send the next."""
        draw = random.Random(7)
        while not self._over.is_set():
            keys = draw.sample(range(self._records), min(LABELS, self._records))
            labels = [{"key": f"k{key}", "label": str(key % 2 == 0)} for key in keys]
            body, began = json.dumps({"labels": labels}), time.perf_counter()
            status, content = ask(self._port, "/labels", body)
            if status != 200:
                self.fault = f"status {status}: {content[:300].decode(errors='replace')}"
                return
            self.label_seconds.append(time.perf_counter() - began)
            self._over.wait(self._pause)

    def watch_log(self) -> None:
        """Note the largest size of the log."""
        while not self._over.wait(0.1):
            if self._log.exists():
                self.log_bytes = max(self.log_bytes, self._log.stat().st_size)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Both, in threads, for the duration of the block."""
        threads = [threading.Thread(target=work) for work in (self.label, self.watch_log)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()


def measure(
    options: argparse.Namespace, subject: Subject, folder: Path, say: Callable[[str], object]
) -> dict[str, Any]:
    """/predict in quiet, then while labels are written and a window is monitored, in one start.

    Raises ClosedLoopError when a request fails.
    """
    server = next(server for server in list_servers(subject) if server.name == OURS)
    folder.mkdir()
    environment = server_environment(server, subject.home, folder)
    url = options.database or store_url(folder)
    environment["CLOSEDLOOP_DATABASE_URL"] = url
    say(f"making {options.records:,} records")
    fill(url, subject, options.records)
    # A turn goes on only from a production that the journal knows.
    subprocess.run(
        [*_COMMAND, "promote", "1", "--use-case", str(subject.use_case.path)],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    port, body = free_port(), server.write(subject.rows[:1])
    script = folder / "load.lua"
    script.write_text(write_script(server.path, body), encoding="utf-8")
    with running(
        server.command(port), port, server.path, body, folder=folder, environment=environment
    ) as live:

        def load(what: str) -> Load:
            found = put_load(live.address, script, options.seconds, what)
            say(
                f"{what}: {found.requests_per_second:,.0f} requests/s, p50 {found.p50_ms:.2f}, "
                f"p99 {found.p99_ms:.2f}, slowest {found.max_ms:.1f} ms"
            )
            return found

        load("warm-up")
        quiet = [load("in quiet") for _ in range(3)]
        busy = Busy(port, options.records, options.pause, folder / "closedloop.db-wal")
        with busy.running():
            loads = _monitor(subject, environment, folder, options.runs, lambda: load("meanwhile"))
        if busy.fault:
            raise ClosedLoopError("/labels", "labels that are recorded", busy.fault, "look there")
    described = {
        "quiet": [vars(found) for found in quiet],
        "busy": [vars(found) for found in loads],
    }
    return {
        "times": _worst(described["busy"])[0] / _worst(described["quiet"])[0],
        "records": options.records,
        **described,
        "label_requests": len(busy.label_seconds),
        "slowest_labels_seconds": max(busy.label_seconds),
        "log_mb": busy.log_bytes / 1e6,
    }


def _monitor(
    subject: Subject,
    environment: dict[str, str],
    folder: Path,
    most_runs: int,
    load: Callable[[], Load],
) -> list[Load]:
    """The loads while `closedloop monitor --source records` ran; then it is stopped."""
    command = [*_COMMAND, "monitor", "--source", "records"]
    printed, loads = folder / "monitor", []
    with open(printed, "wb") as output:
        monitor = subprocess.Popen(
            [*command, "--use-case", str(subject.use_case.path)],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            while monitor.poll() is None and len(loads) < most_runs:
                loads.append(load())
            ended = monitor.poll()
        finally:
            monitor.terminate()
            monitor.wait()
    if ended:
        raise ClosedLoopError(
            where="closedloop monitor",
            wanted="a window that is monitored",
            got=printed.read_text(encoding="utf-8", errors="replace")[-2_000:],
            then="run it by hand",
        )
    return loads


def table(content: dict[str, Any]) -> list[str]:
    """The figures as lines of a document."""
    machine = content["machine"]
    lines = ["| /predict | p50 ms | p99 ms | slowest ms |", "|---|--:|--:|--:|"]
    for what, loads in (("in quiet", content["quiet"]), ("meanwhile", content["busy"])):
        figures = (median(load["p50_ms"] for load in loads), *_worst(loads))
        lines.append(f"| {what} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")
    log = f"SQLite's log grew to {content['log_mb']:,.0f} MB" if content["log_mb"] else "PostgreSQL"
    return [
        *lines,
        "",
        f"- {content['times']:.1f} times the p99 in quiet; wanted: at most {MOST_TIMES:g} times",
        f"- {content['label_requests']} requests of {LABELS:,} labels by key, the slowest in "
        f"{content['slowest_labels_seconds']:.1f} s; {log}",
        "",
        f"{content['date']}, {machine['processor']}, {machine['processors']} processors, Python "
        f"{machine['python']}, load before the start {machine['load_before']}; "
        f"{content['records']:,} records, {content['seconds']} s a run, "
        f"{len(content['busy'])} runs while `monitor` worked, the worst p99 of each kind.",
    ]


def _worst(loads: Sequence[dict[str, Any]]) -> tuple[float, float]:
    return max(load["p99_ms"] for load in loads), max(load["max_ms"] for load in loads)


def write_block(document: str, lines: Sequence[str]) -> str:
    """The document with the lines between its marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the figures: wanted the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """Measure, show, write; 1 with one sentence when something was wrong or too slow."""
    options, console = parse(arguments), Console(highlight=False)
    # A server that was started ends with us also when somebody ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.update(QUIET)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        find_wrk()
        machine, began = describe_machine(), datetime.now(UTC)
        # Not under /tmp, which may lie in memory: what is recorded has to reach a disk.
        with tempfile.TemporaryDirectory(dir=options.out.parent, prefix="run-") as temporary:
            folder = Path(temporary).resolve()
            subject = register_subject(folder / "home", KEY)
            measured = measure(options, subject, folder / "server", console.print)
    except ClosedLoopError as error:
        sys.stderr.write(f"bench-reading: {error}\n")
        return 1
    content = {
        **measured,
        "date": f"{began:%Y-%m-%d}",
        "seconds": options.seconds,
        "machine": machine,
        "command": shlex.join(["python", "-m", "tests.bench.reading", *arguments]),
    }
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if not options.keep_docs:
        document = options.docs.read_text(encoding="utf-8")
        options.docs.write_text(write_block(document, table(content)), encoding="utf-8")
    console.print("\n".join(table(content)))
    return 0 if content["times"] <= MOST_TIMES else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
