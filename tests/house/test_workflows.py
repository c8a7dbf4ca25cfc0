"""What GitHub runs: valid, pinned, with few rights, and by the commands that people run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.tree import ROOT, make_targets

GITHUB = ROOT / ".github"
PATHS = sorted((GITHUB / "workflows").iterdir())
WORKFLOWS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in PATHS
}
JOBS = [
    (f"{name}/{job}", WORKFLOWS[name]["jobs"][job])
    for name in WORKFLOWS
    for job in WORKFLOWS[name]["jobs"]
]
# Steps of ci.yml that no person has a target for, each with what it is for.
ONLY_IN_CI = {
    "Compose has no complaint about its file": "people see the warnings of make up",
    "Keep the logs of the containers": "people call make logs, which prints them",
    "Every job succeeded": "one check for branch protection to name",
}


def _tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment that the tests run in."""
    command = [str(Path(sys.executable).parent / name), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def _bash(script: str, **environment: str) -> int:
    """The exit code of a step, run as GitHub runs one with `shell: bash`."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, timeout=60
    ).returncode


def _step(workflow: str, job: str, name: str) -> dict[str, Any]:
    """The one step of a job that has this name."""
    (found,) = [
        step for step in WORKFLOWS[workflow]["jobs"][job]["steps"] if step.get("name") == name
    ]
    return dict(found)


def _made(step: dict[str, Any]) -> list[str]:
    """The targets that a step makes, in order."""
    return re.findall(r"\bmake (?:--[a-z-]+ )*([a-z][a-z-]*)", step.get("run", ""))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_workflow_is_valid(path: Path) -> None:
    """GitHub would read the file: it fits the schema of workflows."""
    done = _tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(path))
    assert done.returncode == 0, done.stdout


def test_dependabot_would_read_its_file() -> None:
    """dependabot.yml fits its schema: GitHub says nothing about a wrong one but in a corner of its
    pages."""
    done = _tool(
        "check-jsonschema", "--builtin-schema", "vendor.dependabot", str(GITHUB / "dependabot.yml")
    )
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing() -> None:
    """No workflow has a weakness or a bad smell that zizmor knows; an exception would stand in
    .github/zizmor.yml with its reason."""
    done = _tool(
        "zizmor",
        "--offline",
        "--persona=pedantic",
        "--strict-collection",
        "--no-progress",
        str(GITHUB),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(
        f"completed {path}" in done.stderr or f"completed {path.relative_to(ROOT)}" in done.stderr
        for path in PATHS
    )


def test_every_action_is_pinned_by_its_commit() -> None:
    """Each `uses` is a full hash with its version beside it, the same one everywhere: a tag can be
    moved to other code, a hash cannot."""
    lines = [
        line.strip()
        for path in PATHS
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    used = [step["uses"] for _, job in JOBS for step in job["steps"] if "uses" in step]
    assert len(lines) == len(used) > 0
    for line in lines:
        assert re.fullmatch(r"(- )?uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    pins = {line.partition("uses: ")[2] for line in lines}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


@pytest.mark.parametrize(("name", "job"), JOBS, ids=[name for name, _ in JOBS])
def test_a_job_may_read_the_repository_at_most(name: str, job: dict[str, Any]) -> None:
    """A job that checks out may read the contents, any other nothing, and none leaves its token in
    the tree."""
    assert WORKFLOWS[name.split("/")[0]]["permissions"] == {}
    checkouts = [step for step in job["steps"] if "/checkout@" in step.get("uses", "")]
    assert job["permissions"] == ({"contents": "read"} if checkouts else {})
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize(("name", "job"), JOBS, ids=[name for name, _ in JOBS])
def test_a_job_ends_by_itself(name: str, job: dict[str, Any]) -> None:
    """A job has a limit below GitHub's six hours, and the limits of its steps fit into it, so that
    the last ones still run."""
    limits = [step.get("timeout-minutes", 0) for step in job["steps"]]
    assert sum(limits) < job["timeout-minutes"] <= 300, name


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_text_of_others_becomes_a_command(name: str) -> None:
    """Values reach a script as variables, never as a part of it, and no trigger gives a stranger's
    code the rights of main."""
    workflow = WORKFLOWS[name]
    # YAML reads the bare word `on` as true.
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(workflow[True])
    assert workflow["defaults"]["run"]["shell"] == "bash"
    assert "concurrency" in workflow
    assert not [
        step
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "${{" in step.get("run", "")
    ]


def test_packages_are_cached_by_their_lock() -> None:
    """Where Python is set up, pip's cache is kept under the hash of the lock that is installed
    from, which exists."""
    steps = [
        step for _, job in JOBS for step in job["steps"] if "/setup-python@" in step.get("uses", "")
    ]
    assert {step["with"]["cache"] for step in steps} == {"pip"}
    locks = {step["with"]["cache-dependency-path"] for step in steps}
    assert locks == {"requirements.lock", ".github/scanning/requirements.txt"}
    assert all((ROOT / lock).is_file() for lock in locks)


@pytest.mark.parametrize(
    "target", sorted({target for _, job in JOBS for step in job["steps"] for target in _made(step)})
)
def test_every_target_that_a_workflow_makes_exists(target: str) -> None:
    """What a workflow makes is a target of the Makefile."""
    assert target in make_targets()


def test_ci_runs_the_commands_that_people_run() -> None:
    """Each step of ci.yml that runs something makes a target and nothing else, but for those named
    above."""
    steps = [
        step for job in WORKFLOWS["ci"]["jobs"].values() for step in job["steps"] if "run" in step
    ]
    others = {
        step.get("name", step["run"])
        for step in steps
        if not re.fullmatch(r"make [a-z-]+", step["run"].strip())
    }
    assert others == set(ONLY_IN_CI)
    assert {"lint", "unit", "test", "up", "smoke", "logs", "down"} == {
        target for step in steps for target in _made(step)
    }


def test_ci_tries_every_python_that_is_promised() -> None:
    """The matrix is the range of pyproject.toml, 3.11 to 3.13, and each is handed to the
    Makefile."""
    unit = WORKFLOWS["ci"]["jobs"]["unit"]
    assert unit["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert unit["env"]["PYTHON"] == "python${{ matrix.python }}"
    assert 'requires-python = ">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text(
        encoding="utf-8"
    )
    assert re.search(
        r"^PYTHON \?=", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE
    )


def test_one_check_joins_all_jobs() -> None:
    """The job `ci` waits for every other one, runs whatever became of them, and no job is skipped
    on pull requests or on main."""
    jobs = WORKFLOWS["ci"]["jobs"]
    assert sorted(jobs["ci"]["needs"]) == sorted(set(jobs) - {"ci"})
    assert jobs["ci"]["if"] == "always()"
    assert jobs["ci"]["name"] == "ci"
    assert not [name for name, job in jobs.items() if "if" in job and name != "ci"]
    assert not [
        name
        for name, job in jobs.items()
        for step in [job, *job["steps"]]
        if "continue-on-error" in step
    ]
    assert set(WORKFLOWS["ci"][True]) == {"pull_request", "push"}
    assert WORKFLOWS["ci"][True]["pull_request"] is None


@pytest.mark.parametrize(
    ("results", "passes"),
    [
        ("success success", True),
        ("success failure", False),
        ("skipped success", False),
        ("success cancelled", False),
        ("failure success", False),
        ("", False),
    ],
)
def test_the_joining_check_wants_success_of_every_job(results: str, passes: bool) -> None:
    """A failed, a skipped and a cancelled job fail the check, wherever they stand, and so does no
    result at all."""
    step = _step("ci", "ci", "Every job succeeded")
    assert step["env"]["RESULTS"] == "${{ join(needs.*.result, ' ') }}"
    assert (_bash(step["run"], RESULTS=results) == 0) is passes


@pytest.mark.parametrize(
    ("docker", "passes"),
    [
        ("exit 0", True),
        ("echo 'the variable is not set' >&2", False),
        ("exit 15", False),
        ("echo no >&2; exit 1", False),
    ],
)
def test_a_complaint_of_compose_fails_the_check(docker: str, passes: bool, tmp_path: Path) -> None:
    """The step fails when `docker compose config` fails and when it merely warns; it asks after
    `make up`, which writes .env."""
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n", encoding="utf-8")
    (tmp_path / "docker").chmod(0o755)
    step = _step("ci", "compose-smoke", "Compose has no complaint about its file")
    assert (_bash(step["run"], PATH=f"{tmp_path}:/usr/bin:/bin") == 0) is passes
    steps = WORKFLOWS["ci"]["jobs"]["compose-smoke"]["steps"]
    assert "docker compose --profile '*' config --quiet" in step["run"]
    assert steps.index(step) > steps.index(next(made for made in steps if _made(made) == ["up"]))


@pytest.mark.parametrize(
    ("workflow", "job", "folder"),
    [("ci", "compose-smoke", "var/smoke"), ("nightly", "nightly", "var/nightly")],
)
def test_what_the_stack_left_behind_is_always_kept(workflow: str, job: str, folder: str) -> None:
    """After a failure, too, the logs of the containers are written and uploaded with the results
    before the stack goes down."""
    steps = WORKFLOWS[workflow]["jobs"][job]["steps"]
    logs = next(place for place, step in enumerate(steps) if _made(step) == ["logs"])
    upload = next(
        place for place, step in enumerate(steps) if "/upload-artifact@" in step.get("uses", "")
    )
    down = next(place for place, step in enumerate(steps) if _made(step) == ["down"])
    assert logs < upload < down
    assert all(steps[place]["if"] == "always()" for place in (logs, upload, down))
    assert f"> {folder}/" in steps[logs]["run"]
    assert f"{folder}/" in steps[upload]["with"]["path"].split()
