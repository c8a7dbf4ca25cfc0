"""The servers that are measured: how each is started and how it is asked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.ipc

from closedloop.bundle.files import MODEL_FILE

if TYPE_CHECKING:
    from tests.bench.subject import Subject

ROOT = Path(__file__).resolve().parents[2]
MLFLOW, PLAIN, OURS, TWO_WORKERS, CEILING = (
    "mlflow models serve",
    "plain FastAPI",
    "closedloop",
    "closedloop, 2 workers",
    "ceiling",
)
SWITCHED, ARROW = "closedloop /invocations", "closedloop, Arrow"

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Server:
    """One way to serve the model. `write` makes a request body of rows, `read` finds the
    probability of the second class in the answer, one a row; None where an answer says nothing of
    the rows."""

    name: str
    command: Callable[[int], list[str]]
    path: str
    write: Callable[[Rows], str | bytes]
    read: Callable[[Any], list[float]] | None
    records: bool = False
    workers: int = 1
    environment: dict[str, str] = field(default_factory=dict)


def list_servers(subject: Subject) -> list[Server]:
    """All of them, ours with two workers only when the command line can start them."""
    python = sys.executable
    options = ["--use-case", str(subject.use_case.path), "--host", "127.0.0.1", "--port"]
    model = [
        "--model-uri",
        str(subject.folder),
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
        "--port",
    ]
    plain = [
        python,
        "-m",
        "uvicorn",
        "--factory",
        "tests.bench.plain_app:create_app",
        "--no-access-log",
        "--log-level",
        "warning",
        "--port",
    ]

    def ours(name: str, workers: int, **asked: Any) -> Server:
        more = ["--workers", str(workers)] if workers > 1 else []
        command = [python, "-m", "closedloop", "serve", *more, *options]
        asked = {"path": "/predict", "write": _write_rows, "read": _read_ours, **asked}
        return Server(
            name, lambda port: [*command, str(port)], records=True, workers=workers, **asked
        )

    mlflow = [python, "-m", "mlflow", "models", "serve", *model]
    pipeline = {"BENCH_PIPELINE": str(subject.folder / MODEL_FILE)}
    found = [
        Server(
            MLFLOW, lambda port: [*mlflow, str(port)], "/invocations", _write_split, _read_mlflow
        ),
        Server(
            PLAIN,
            lambda port: [*plain, str(port)],
            "/predict",
            _write_rows,
            _read_plain,
            environment=pipeline,
        ),
        ours(OURS, 1),
        ours(SWITCHED, 1, path="/invocations", write=_write_split, read=_read_mlflow),
        ours(ARROW, 1, write=_write_arrow, read=_read_arrow),
    ]
    if has_workers_option():
        found.append(ours(TWO_WORKERS, 2))
    ceiling = [python, "-m", "tests.bench.ceiling_app", *options]
    return [
        *found,
        Server(CEILING, lambda port: [*ceiling, str(port)], "/constant", _write_rows, None),
    ]


def has_workers_option() -> bool:
    """Does `closedloop serve` take --workers?"""
    from typer.main import get_command

    from closedloop.cli.app import build_app
    from closedloop.cli.session import Session

    serve = get_command(build_app(Session({}))).commands["serve"]  # type: ignore[attr-defined]
    return any("--workers" in option.opts for option in serve.params)


def server_environment(server: Server, home: Path, state: Path) -> dict[str, str]:
    """What a server finds in its environment: the home of the registry, a new database under
    `state`, nothing of the caller's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOSEDLOOP_", "MLFLOW_", "PREFECT_", "UVICORN_"))
    }
    # MLflow starts the program uvicorn, which lies beside the Python that runs this.
    first = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    ours = {
        "CLOSEDLOOP_HOME": str(home),
        "CLOSEDLOOP_DATABASE_URL": store_url(state),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    if not server.records and server.name != CEILING:
        ours = {"MLFLOW_DISABLE_TELEMETRY": "true"}
    return {**kept, **first, **ours, "DO_NOT_TRACK": "true", **server.environment}


def store_url(state: Path) -> str:
    """Where one of our servers records."""
    return f"sqlite:///{state / 'closedloop.db'}"


def _write_rows(rows: Rows) -> str:
    return json.dumps({"rows": list(rows)})


def _write_split(rows: Rows) -> str:
    # Of MLflow's formats for frames the one that it reads fastest: each name is said once.
    columns = list(rows[0])
    return json.dumps(
        {
            "dataframe_split": {
                "columns": columns,
                "data": [[row[name] for name in columns] for row in rows],
            }
        }
    )


def _write_arrow(rows: Rows) -> bytes:
    sink, table = pa.BufferOutputStream(), pa.Table.from_pylist(list(rows))
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def _read_arrow(answer: bytes) -> list[float]:
    shares = pa.ipc.open_stream(answer).read_all().column("probabilities")
    return [share["True"] for share in shares.to_pylist()]


def _read_ours(answer: Any) -> list[float]:
    return [prediction["probabilities"]["True"] for prediction in answer["predictions"]]


def _read_mlflow(answer: Any) -> list[float]:
    return [row[1] for row in answer["predictions"]]


def _read_plain(answer: Any) -> list[float]:
    return [row[1] for row in answer["probabilities"]]
