"""`make bench-serving`: the serving API beside MLflow's own server, the usual code, and its own
ceiling, in one run on one machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from closedloop.errors import ClosedLoopError
from tests.bench.figures import HEADINGS, ratio_sentences, report, table_rows, write_block
from tests.bench.load import CONNECTIONS, THREADS, find_wrk
from tests.bench.measuring import Measurement, measure
from tests.bench.servers import OURS, ROOT, list_servers
from tests.bench.subject import register_subject

VERSIONS = ("mlflow", "scikit-learn", "onnxruntime", "fastapi", "uvicorn", "pandas")
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; exits with a sentence when they cannot be obeyed."""
    parser = argparse.ArgumentParser(prog="bench-serving", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=10, help="how long each run of wrk takes (default 10)"
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=3,
        help="how often every server is started and measured (default 3)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="SERVER",
        help=f"measure only this server and {OURS!r}, do not change the document; repeatable",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "var" / "bench" / "serving.json",
        help="where the figures go",
    )
    parser.add_argument(
        "--docs",
        type=Path,
        default=ROOT / "docs" / "benchmarks.md",
        help="the document whose figures are replaced",
    )
    parser.add_argument("--keep-docs", action="store_true", help="leave the document as it is")
    options = parser.parse_args(arguments)
    if options.seconds < 1 or options.repetitions < 1:
        parser.error("--seconds and --repetitions must be at least 1")
    return options


def describe_machine() -> dict[str, Any]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo")
    names = (
        [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if info.exists()
        else []
    )
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {name: version(name) for name in VERSIONS},
    }


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure everything and return the content of serving.json; the repetitions go round, so that
    a busy minute hits all servers."""
    find_wrk()
    machine, began = describe_machine(), datetime.now(UTC)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the figures and not under /tmp, which may lie in memory: what is recorded has to reach
    # a disk.
    with tempfile.TemporaryDirectory(dir=options.out.parent, prefix="run-") as temporary:
        folder = Path(temporary).resolve()
        with console.status("training the model ..."):
            subject = register_subject(folder / "home")
        servers = [
            server
            for server in list_servers(subject)
            if not options.only or server.name in (OURS, *options.only)
        ]
        found: dict[str, list[Measurement]] = {server.name: [] for server in servers}
        for repetition in range(1, options.repetitions + 1):
            for server in servers:
                with console.status(f"{server.name}, {repetition} of {options.repetitions} ..."):
                    measured = measure(server, subject, options.seconds, folder / "server")
                found[server.name].append(measured)
                console.print(
                    f"{server.name}: {measured.single.requests_per_second:,.0f} requests/s, "
                    f"p99 {measured.single.p99_ms:.2f} ms"
                )
    circumstances = {
        "date": f"{began:%Y-%m-%d}",
        "seconds": options.seconds,
        "repetitions": options.repetitions,
        "connections": CONNECTIONS,
        "threads": THREADS,
        "rows_a_large_request": len(subject.rows),
        "machine": machine,
    }
    return report(found, len(subject.rows), circumstances)


def show(content: dict[str, Any], console: Console) -> None:
    """The table and what it says."""
    table = Table(
        title=f"{content['seconds']} s a run, median of {content['repetitions']}", box=SIMPLE_HEAD
    )
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if place else "left", no_wrap=not place)
    for cells in table_rows(content["servers"]):
        table.add_row(*cells)
    console.print(table)
    for sentence in ratio_sentences(content):
        console.print(f"- {sentence}")


def main(arguments: Sequence[str]) -> int:
    """Measure, show, write; 1 with one sentence when something was wrong, and then nothing is
    written."""
    options, console = parse(arguments), Console()
    # A server that was started ends with us also when somebody ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Read by MLflow when it is imported here; the servers get an environment of their own.
    os.environ.update(QUIET)
    try:
        content = {
            **run(options, console),
            "command": shlex.join(["python", "-m", "tests.bench.serving", *arguments]),
        }
    except ClosedLoopError as error:
        sys.stderr.write(f"bench-serving: {error}\n")
        return 1
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if not (options.keep_docs or options.only):
        options.docs.write_text(
            write_block(options.docs.read_text(encoding="utf-8"), content), encoding="utf-8"
        )
    show(content, console)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
