"""The loop in the running stack, turned as people and programs turn it: `make up`, then `make
smoke`.

Each test goes on where the one before it ended; var/smoke keeps what was seen.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from closedloop.settings import Settings
from closedloop.turn.open import open_loop
from closedloop.windows.synthetic import generate_windows, write_generated
from tests.stack.pages import Browser, find_browser
from tests.stack.running_stack import ROOT, Stack

pytestmark = pytest.mark.stack
SEEN = ROOT / "var" / "smoke"
NAME = "streamflow"


@pytest.fixture(scope="module")
def stack() -> Stack:
    running = Stack()
    SEEN.mkdir(parents=True, exist_ok=True)
    assert running.env_file.exists(), "no stack is running here: make up"
    return running


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Rows of the month that comes next, with their labels: what clients will ask about."""
    folder = tmp_path_factory.mktemp("rows")
    loop = open_loop(
        ROOT / "data" / NAME, settings=Settings(home=folder / "home", data=folder / "windows")
    )
    write_generated(loop.use_case, folder / "windows", generate_windows(NAME, 3))
    frame = loop.source.read("month_002").head(200)
    read: list[dict[str, Any]] = json.loads(frame.to_json(orient="records"))
    return read


def keep(name: str, content: Any) -> None:
    (SEEN / name).write_text(
        content if isinstance(content, str) else json.dumps(content, indent=1), encoding="utf-8"
    )


def test_months_are_loaded(stack: Stack) -> None:
    """The data of three months comes into the stack, and Prefect's form offers them after the next
    look."""
    stack.closedloop("generate", "--months", "3")
    stack.compose("run", "--rm", "--no-TTY", "deploy")
    schema = stack.ask_prefect(f"/deployments/name/monitor/{NAME}").json()[
        "parameter_openapi_schema"
    ]
    assert "month_002" in json.dumps(schema["properties"]["window"])


def test_the_loop_turns_when_prefect_is_asked(stack: Stack) -> None:
    """A monitor run that is asked for as Prefect's page does it starts a training run of its own in
    the other pool, and the API answers with what it promoted."""
    live = live_version(stack)
    run = stack.complete(f"monitor/{NAME}", window="month_000")
    trained = stack.children(run["id"])
    if live is None:
        assert [(child["work_pool_name"], child["state_type"]) for child in trained] == [
            ("closedloop-training", "COMPLETED")
        ]
        stack.wait_for_version(1)
    stack.complete(f"monitor/{NAME}", window="month_001")
    stack.complete(f"monitor/{NAME}", window="month_002")
    status = json.loads(stack.closedloop("status", "--json"))
    keep("status.json", status)
    assert status["production"] == 2
    stack.wait_for_version(2)


def live_version(stack: Stack) -> int | None:
    version = json.loads(stack.closedloop("status", "--json"))["production"]
    return None if version is None else int(version)


def test_answers_are_recorded_and_labelled(stack: Stack, rows: list[dict[str, Any]]) -> None:
    """What clients are told stands in PostgreSQL, under the version that told it, and takes labels;
    without a key nobody is answered."""
    before = int(stack.sql("select coalesce(sum(rows), 0) from answers"))
    asked = [{name: value for name, value in row.items() if name != "churn_label"} for row in rows]
    answer = stack.ask("/predict", {"rows": asked})
    assert answer.status == 200, answer.body[:500]
    keep("predictions.json", answer.json())
    told = answer.json()["predictions"]
    assert int(stack.sql("select sum(rows) from answers")) == before + len(rows)
    labels = [
        {"id": answer["id"], "label": row["churn_label"]}
        for answer, row in zip(told, rows, strict=True)
    ]
    assert stack.ask("/labels", {"labels": labels}).json() == {"recorded": len(rows)}
    assert stack.ask("/predict", {"rows": asked}, key="no key").status == 401


def test_the_report_is_in_the_bucket_and_the_reason_in_the_journal(stack: Stack) -> None:
    """Evidently's page lies in the S3 store, and PostgreSQL holds every decision with its
    outcome."""
    listed = stack.compose(
        "run", "--rm", "--no-TTY", "s3-init", "python", "/app/jobs/bucket.py", "list"
    ).stdout
    keep("bucket.txt", listed)
    assert "drift_report.html" in listed
    decisions = stack.sql(
        "select d.kind, d.action, o.outcome "
        "from decisions d join outcomes o on o.decision = d.id order by d.id"
    )
    keep("decisions.txt", decisions)
    assert "promotion|promote|done" in decisions


def test_clients_of_mlflow_and_prefect_come_in_with_a_login_only(
    stack: Stack, tmp_path: Path
) -> None:
    """MLflow's own client, outside of the stack and with the documented settings, loads the
    production model and its report as the user that may only look, and is refused a move of
    production; without a login both servers refuse."""
    script = (
        "import mlflow, sys; name, folder = sys.argv[1:]; "
        "model = mlflow.pyfunc.load_model(f'models:/{name}@production'); "
        "version = mlflow.MlflowClient().get_model_version_by_alias(name, 'production'); "
        "mlflow.artifacts.download_artifacts("
        "run_id=version.run_id, artifact_path='evidence.json', dst_path=folder)"
    )
    environment = {
        "MLFLOW_TRACKING_URI": stack.mlflow,
        "MLFLOW_TRACKING_USERNAME": "reader",
        "MLFLOW_TRACKING_PASSWORD": stack.secrets["MLFLOW_READER_PASSWORD"],
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, NAME, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "evidence.json").stat().st_size > 100
    move = (
        "import mlflow, sys; client = mlflow.MlflowClient(); "
        "client.set_registered_model_alias(sys.argv[1], 'production', '1')"
    )
    forbidden = subprocess.run(
        [sys.executable, "-c", move, NAME],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert forbidden.returncode != 0
    assert "403" in forbidden.stderr
    refused = subprocess.run(
        [sys.executable, "-c", script, NAME, str(tmp_path)],
        env={
            **environment,
            "MLFLOW_TRACKING_PASSWORD": "wrong",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        },
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert refused.returncode != 0
    assert "401" in refused.stderr
    assert stack.ask_prefect("/flows/filter", {}).status == 200
    assert stack.ask_prefect("/flows/filter", {}, login="").status == 401
    assert stack.ask_prefect("/flows/filter", {}, login="admin:wrong").status == 401


def test_nothing_listens_beyond_this_machine(stack: Stack) -> None:
    """Every published port is one of the loopback address, and PostgreSQL and the store publish
    none."""
    shown = stack.compose("ps", "--format", "json").stdout
    services = (
        [json.loads(line) for line in shown.splitlines()]
        if not shown.startswith("[")
        else json.loads(shown)
    )
    published = {
        (service["Service"], port["URL"])
        for service in services
        for port in service.get("Publishers") or []
        if port["PublishedPort"]
    }
    assert {service for service, _ in published} == {"api", "mlflow", "page", "prefect-server"}
    assert {url for _, url in published} == {"127.0.0.1"}


def test_an_image_lists_what_it_is_made_of_and_installs_nothing(stack: Stack) -> None:
    """The API's bill of materials has its packages; there is no pip to add others with."""
    written = stack.compose("exec", "--no-TTY", "api", "cat", "/opt/closedloop/sbom.json").stdout
    keep("sbom.json", written)
    names = {component["name"] for component in json.loads(written)["components"]}
    assert {"closedloop", "fastapi", "python", "libgomp1"} <= names
    assert not names & {"pip", "setuptools", "mlflow", "prefect"}
    for python in ("/opt/closedloop/bin/python", "/usr/local/bin/python"):
        tried = stack.compose(
            "exec", "--no-TTY", "api", "sh", "-c", f"! {python} -m pip --version", check=False
        )
        assert "No module named pip" in tried.stderr


def test_people_see_it_in_prefects_pages(stack: Stack, browser: Browser) -> None:
    """Headless Chromium finds the deployments with their schedule, the form with its choice of
    windows, and the runs with their decisions; the pictures are kept."""
    browser.log_in(stack.prefect, stack.secrets["PREFECT_AUTH_STRING"])
    seen = browser.picture(
        f"{stack.prefect}/deployments", SEEN / "deployments.png", until="train-and-compare"
    )
    assert {"monitor", "answer", "rollback", "prune", "probation"} <= set(seen.split())
    monitor = stack.ask_prefect(f"/deployments/name/monitor/{NAME}").json()["id"]
    assert "06:00" in browser.picture(
        f"{stack.prefect}/deployments/deployment/{monitor}", SEEN / "monitor.png", until="Schedule"
    )
    browser.picture(
        f"{stack.prefect}/deployments/deployment/{monitor}/run", SEEN / "form.png", until="Window"
    )
    browser.picture(f"{stack.prefect}/runs", SEEN / "runs.png", until="month_002")
    artifact = stack.ask_prefect(
        "/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["turn-decision"]}}}
    ).json()[0]
    browser.picture(
        f"{stack.prefect}/artifacts/artifact/{artifact['latest_id']}",
        SEEN / "decision.png",
        until="drift report",
    )


@pytest.fixture
def browser() -> Iterator[Browser]:
    if not find_browser():
        pytest.skip("neither chromium nor google-chrome with its driver is installed")
    with Browser() as opened:
        yield opened


def test_a_rollback_is_asked_for_and_served(stack: Stack) -> None:
    """The rollback that somebody starts on Prefect's page moves production, and the API follows;
    promoting goes forward again."""
    stack.complete(f"rollback/{NAME}")
    stack.wait_for_version(1)
    stack.closedloop("promote", "2")
    stack.wait_for_version(2)


def test_everything_is_in_agreement(stack: Stack) -> None:
    """`closedloop doctor` finds nothing wrong where the flows run."""
    keep("doctor.txt", stack.closedloop("doctor"))
    keep("history.json", stack.closedloop("history", "--json"))
